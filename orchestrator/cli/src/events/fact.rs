//! Something that an object says of its own times, before it is known whose it is. A field that cannot be read is left out. No call and
//! no clock.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::entry::{Entry, Object};

/// How long an object's first conditions may come after it.
const SETTLED: SignedDuration = SignedDuration::from_secs(5);

/// Something that an object says, before it is known whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    at: Timestamp,
    pub(super) warning: bool,
    reason: String,
    pub(super) message: String,
}

impl Fact {
    pub(super) fn new(
        at: Option<Timestamp>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Option<Self> {
        Some(Self { at: at?, warning: false, reason: reason.into(), message: message.into() })
    }

    pub(super) fn warn(self, warning: bool) -> Self {
        Self { warning, ..self }
    }

    pub(super) fn of(self, object: &Object, fleet: &str, groups: &[String]) -> Entry {
        Entry {
            first: self.at,
            last: self.at,
            count: 1,
            warning: self.warning,
            reason: self.reason,
            object: object.clone(),
            message: self.message,
            source: "status".to_owned(),
            fleet: fleet.to_owned(),
            groups: groups.to_vec(),
        }
    }
}

pub(super) fn life(value: &Value) -> Vec<Fact> {
    let metadata = &value["metadata"];
    let created = Fact::new(time(&metadata["creationTimestamp"]), "Created", "it was created");
    let deleted = Fact::new(time(&metadata["deletionTimestamp"]), "Deleting", "it is being deleted");
    created.into_iter().chain(deleted).collect()
}

/// Transitions of conditions; `bad` says of a type and a status whether somebody should look.
pub(super) fn conditions(object: &Value, bad: impl Fn(&str, &str) -> bool) -> Vec<Fact> {
    let created = time(&object["metadata"]["creationTimestamp"]);
    let all = object["status"]["conditions"].as_array().into_iter().flatten();
    let facts = all.filter_map(|condition| {
        let (kind, status) = (condition["type"].as_str()?, condition["status"].as_str()?);
        let words = format!("{kind} is {status}: {}", text(&condition["message"]));
        let reason = Some(text(&condition["reason"])).filter(|reason| !reason.is_empty());
        let moved = time(&condition["lastTransitionTime"]);
        let bad = bad(kind, status);
        // What has been so since the beginning, and is as it should be, is nothing that happened.
        let since_ever = created.zip(moved).is_some_and(|(created, moved)| moved <= created + SETTLED);
        if status != "True" && !bad && since_ever {
            return None;
        }
        let fact = Fact::new(
            time(&condition["lastUpdateTime"]).or(moved),
            reason.unwrap_or_else(|| kind.to_owned()),
            words.trim_end_matches(": "),
        )?;
        Some(fact.warn(bad))
    });
    facts.collect()
}

pub(super) fn object(kind: &str, value: &Value) -> Object {
    let metadata = &value["metadata"];
    Object { kind: kind.to_owned(), namespace: text(&metadata["namespace"]), name: text(&metadata["name"]) }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
