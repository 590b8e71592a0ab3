//! `manifest.json` of a bundle: what is in it, where, what was cut, and what could not be read and why. Of a stranger's bundle
//! nothing but what is named here is read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Its name in the bundle.
pub(super) const NAME: &str = "manifest.json";
/// The form of bundles that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

/// The manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// The moment that it shows: when its objects began to be read, by the API server's clock.
    pub(super) at: Timestamp,
    /// Program and version that made it.
    pub(super) made_by: String,
    pub(super) scope: Scope,
    /// The API server's `/version`.
    #[serde(default)]
    pub(super) server: Value,
    /// How far back logs go, in seconds, if that was limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since_seconds: Option<u64>,
    #[serde(default)]
    pub(super) entries: Vec<Entry>,
    /// What is not in it, in words.
    #[serde(default)]
    pub(super) left_out: Vec<String>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Scope {
    /// Of one fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fleet: Option<String>,
    /// Of one namespace; `None`: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    /// The namespace that is meant if none is named.
    #[serde(default)]
    pub(super) default_namespace: String,
}

impl Scope {
    /// As on a command line.
    pub(super) fn flags(&self) -> String {
        match (&self.fleet, &self.namespace) {
            (Some(fleet), Some(namespace)) => format!(" {fleet} -n {namespace}"),
            (_, Some(namespace)) => format!(" -n {namespace}"),
            (_, None) => " -A".to_owned(),
        }
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        match (&self.fleet, &self.namespace) {
            (Some(fleet), Some(namespace)) => format!("fleet {namespace}/{fleet}"),
            (_, Some(namespace)) => format!("namespace {namespace}"),
            (_, None) => "all namespaces".to_owned(),
        }
    }
}

/// One call, and where its answer is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// Path of the call.
    pub(super) path: String,
    /// What selected the answer, as in the call; for what is not a list without what only bounds it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) query: String,
    pub(super) what: What,
    /// Its file; none if there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    /// When it was answered, where that counts: of two answers to one call the rates come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answered: Option<Timestamp>,
    /// Objects of a list, or bytes of a text.
    #[serde(default)]
    pub(super) size: u64,
    /// What is missing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cut: Option<String>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<Fault>,
}

/// Kind of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum What {
    /// Objects of a kind.
    List,
    /// All objects of a kind, of each only what takes room on nodes: stands for the whole list alone.
    Room,
    /// One object.
    Object,
    /// Log of a container, with the time in front of each line.
    Log,
    /// What a pod answered through the API server's proxy.
    #[default]
    Answer,
}

/// Why there is no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fault {
    /// HTTP code; 0: there was none.
    #[serde(default)]
    pub(super) code: u16,
    #[serde(default)]
    pub(super) reason: String,
    pub(super) message: String,
}

impl Fault {
    /// Without an answer.
    pub(super) fn silent(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// No answer in time.
    pub(super) fn late(message: impl Into<String>) -> Self {
        Self { reason: "Timeout".to_owned(), ..Self::silent(message) }
    }

    /// Whether whoever asked may not read it.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.code, 401 | 403)
    }

    /// Whether the answer did not come in time.
    pub(super) fn is_late(&self) -> bool {
        matches!(self.code, 408 | 504) || self.reason == "Timeout"
    }

    /// Whether nothing is missing: there is no such object, or no such kind.
    pub(super) fn is_absence(&self) -> bool {
        self.code == 404
    }
}

impl Entry {
    /// As a person reads it, if something is missing.
    pub(super) fn missing(&self) -> Option<String> {
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        match (&self.fault, &self.cut) {
            (Some(fault), _) if !fault.is_absence() => {
                Some(format!("{}{query}: {}", self.path, fault.message))
            }
            (None, Some(cut)) => Some(format!("{}{query}: {cut}", self.path)),
            _ => None,
        }
    }
}
