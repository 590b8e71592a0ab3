//! Findings as people read them in a terminal: two lines each, the first of which editors and CI systems know as
//! `file:line:column: severity[rule]: message`.

use std::fmt::Write as _;

use crate::finding::Finding;
use crate::plain::plain;
use crate::severity::Severity;

/// The findings, and their number. `file` is shown as it is.
pub fn text(file: &str, findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let Finding { rule, severity, place, what, cure, .. } = finding;
        let (file, what, cure) = (plain(file), plain(what), plain(cure));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{file}:{place}: {severity}[{}]: {}{what}", rule.id(), subject(finding));
        let _ = writeln!(text, "  cure: {cure}");
    }
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let parts = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")];
    let parts: Vec<String> = parts
        .into_iter()
        .map(|(severity, name)| (of(severity), name))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
        .collect();
    let sum = if parts.is_empty() { "nothing found".to_owned() } else { parts.join(", ") };
    let _ = writeln!(text, "{}: {sum}", plain(file));
    text
}

/// The object of a finding, where it has a kind.
pub(crate) fn subject(finding: &Finding) -> String {
    let Finding { kind, namespace, name, .. } = finding;
    let slash = if namespace.is_empty() { "" } else { "/" };
    match (kind.is_empty(), name.is_empty()) {
        (true, _) => String::new(),
        (false, true) => plain(&format!("{kind}: ")),
        (false, false) => plain(&format!("{kind} {namespace}{slash}{name}: ")),
    }
}
