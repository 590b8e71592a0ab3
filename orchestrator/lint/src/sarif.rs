//! Findings as code hosts read them: SARIF 2.1.0 (OASIS, 27 March 2020, with errata 01). Only the part of the format that says which
//! rule found what, where.

use serde::Serialize;

use crate::finding::Finding;
use crate::rule::{About, Rule};
use crate::severity::Severity;
use crate::text::subject;

/// Where the schema of the format is.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A log of one run.
#[derive(Debug, Serialize)]
pub struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    column_kind: &'static str,
    invocations: [Invocation; 1],
    results: Vec<Found>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_execution_notifications: Vec<Notification>,
}

#[derive(Debug, Serialize)]
struct Notification {
    level: Severity,
    message: Message,
}

#[derive(Debug, Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: Vec<Descriptor>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: &'static str,
    short_description: Message,
    full_description: Message,
    help: Message,
    default_configuration: Configuration,
}

#[derive(Debug, Serialize)]
struct Configuration {
    level: Severity,
}

#[derive(Debug, Serialize)]
struct Message {
    text: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    rule_id: &'static str,
    rule_index: usize,
    level: Severity,
    message: Message,
    locations: [Location; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Physical,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logical_locations: Vec<Logical>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Debug, Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    start_column: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Logical {
    fully_qualified_name: String,
}

/// The findings of files; each file as the code host knows it, relative to the root of the repository, and `-` for standard input.
/// `unread`: what is said of files that could not be read. A log with such a one is of a run that failed.
pub fn sarif(files: &[(&str, &[Finding])], unread: &[String]) -> Log {
    let rules = Rule::ALL.iter().map(|rule| descriptor(rule.about())).collect();
    let driver = Driver { name: "rayfleet-lint", version: env!("CARGO_PKG_VERSION"), rules };
    let results =
        files.iter().flat_map(|(file, findings)| findings.iter().map(|it| found(file, it))).collect();
    let invocation = Invocation {
        execution_successful: unread.is_empty(),
        tool_execution_notifications: unread
            .iter()
            .map(|problem| Notification { level: Severity::Error, message: message(problem) })
            .collect(),
    };
    let run =
        Run { tool: Tool { driver }, column_kind: "unicodeCodePoints", invocations: [invocation], results };
    Log { schema: SCHEMA, version: "2.1.0", runs: [run] }
}

fn message(text: impl Into<String>) -> Message {
    Message { text: text.into() }
}

fn descriptor(about: About) -> Descriptor {
    Descriptor {
        id: about.id,
        short_description: message(about.finds),
        full_description: message(about.why),
        help: message(format!("{} Source: {}.", about.why, about.source)),
        default_configuration: Configuration { level: about.severity },
    }
}

fn found(file: &str, finding: &Finding) -> Found {
    let place = finding.place;
    let region =
        (place.line > 0).then(|| Region { start_line: place.line, start_column: place.column.max(1) });
    let named = Some(finding.field.clone()).filter(|field| !field.is_empty());
    Found {
        rule_id: finding.rule.id(),
        rule_index: Rule::ALL.iter().position(|rule| *rule == finding.rule).unwrap_or_default(),
        level: finding.severity,
        message: message(format!("{}{}\ncure: {}", subject(finding), finding.what, finding.cure)),
        locations: [Location {
            physical_location: Physical { artifact_location: Artifact { uri: uri(file) }, region },
            logical_locations: named.map(|name| Logical { fully_qualified_name: name }).into_iter().collect(),
        }],
    }
}

/// A path as a reference of RFC 3986, in which a colon or a space would mean something else; an absolute one as a URI of RFC 8089.
fn uri(file: &str) -> String {
    if file == "-" {
        return "stdin".to_owned();
    }
    let scheme = if file.starts_with('/') { "file://" } else { "" };
    let kept = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=@".contains(byte);
    let encoded = |byte: u8| if kept(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    scheme.to_owned() + &file.bytes().map(encoded).collect::<String>()
}
