//! Conversion of Events: events.k8s.io renames fields of the core group's Event, which is the stored form.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Kind, fields};

/// Field name in the core group, field name in events.k8s.io.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Converts an object to its stored form.
pub(super) fn inward(kind: &Kind, mut object: Value) -> Value {
    if *kind == Kind::EVENTS_K8S {
        rename(&mut object, |(core, new)| (new, core));
    }
    typed(&kind.stored(), object)
}

/// Converts a stored object to the form of `kind`.
pub(super) fn outward<'a>(kind: &Kind, object: &'a Value) -> Cow<'a, Value> {
    if *kind != Kind::EVENTS_K8S {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    rename(&mut object, |(core, new)| (core, new));
    Cow::Owned(typed(kind, object))
}

/// As [`outward`], for a shared object.
pub(super) fn shown(kind: &Kind, object: &Arc<Value>) -> Arc<Value> {
    match outward(kind, object) {
        Cow::Borrowed(_) => object.clone(),
        Cow::Owned(object) => Arc::new(object),
    }
}

fn rename(
    object: &mut Value,
    from_to: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let members = fields::members(object);
    for names in NAMES {
        let (from, to) = from_to(names);
        if let Some(value) = members.remove(from) {
            members.insert(to.to_owned(), value);
        }
    }
}

fn typed(kind: &Kind, mut object: Value) -> Value {
    let members = fields::members(&mut object);
    members.insert("apiVersion".to_owned(), json!(kind.api_version()));
    members.insert("kind".to_owned(), json!(kind.kind));
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_the_same_in_both_groups() {
        let sent = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
            "regarding": {"kind": "RayCluster"}, "note": "hello", "reportingController": "me", "type": "Warning",
        });
        let stored = inward(&Kind::EVENTS_K8S, sent.clone());
        assert_eq!(
            (&stored["message"], &stored["involvedObject"]["kind"]),
            (&json!("hello"), &json!("RayCluster"))
        );
        assert_eq!(stored["apiVersion"], "v1");
        assert_eq!(outward(&Kind::EVENTS_K8S, &stored).into_owned(), sent);
    }
}
