//! Accessors for Kubernetes objects in plain JSON, and the condition updates that every controller makes.
//! Nothing here depends on a kind.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Namespace and name.
pub(super) type Key = (String, String);

/// Name of an object; empty where it has none.
pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Namespace of an object; empty if it is cluster-scoped.
pub(super) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

/// Namespace and name of an object.
pub(super) fn key(object: &Value) -> Key {
    (namespace(object).to_owned(), name(object).to_owned())
}

pub(super) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// A label of an object.
pub(super) fn label<'o>(object: &'o Value, key: &str) -> Option<&'o str> {
    object["metadata"]["labels"][key].as_str()
}

/// Whether the object's deletion was requested.
pub(super) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Elements of a list; empty if it is not a list.
pub(super) fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Entries of an object; empty if it is not an object.
pub(super) fn entries(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flat_map(Map::iter)
}

/// Whether a pod has ended for good.
pub(super) fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// Node that a pod is bound to.
pub(super) fn node_of(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty())
}

/// An owner reference as a controller sets it in the objects that it creates.
pub(super) fn controlled_by(owner: &Value, api_version: &str, kind: &str) -> Value {
    json!([{
        "apiVersion": api_version, "kind": kind, "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// A time as Kubernetes writes it, to the second.
pub(super) fn written(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// The condition of a type.
pub(super) fn condition<'o>(object: &'o Value, kind: &str) -> Option<&'o Value> {
    items(&object["status"]["conditions"]).iter().find(|condition| condition["type"] == kind)
}

/// Whether the condition of a type is True.
pub(super) fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == "True")
}

/// Sets a condition. `lastTransitionTime` is kept while its status stays the same.
pub(super) fn set_condition(conditions: &mut Vec<Value>, mut wanted: Value, now: Timestamp) {
    let before = conditions.iter_mut().find(|condition| condition["type"] == wanted["type"]);
    let since = before.as_ref().filter(|before| before["status"] == wanted["status"]);
    let since = since.map_or_else(|| json!(written(now)), |before| before["lastTransitionTime"].clone());
    if let Some(fields) = wanted.as_object_mut() {
        fields.insert("lastTransitionTime".to_owned(), since);
    }
    match before {
        Some(before) => *before = wanted,
        None => conditions.push(wanted),
    }
}

/// Whether labels satisfy a label selector. A missing or empty selector is left to the caller.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = entries(&selector["matchLabels"]).all(|(key, value)| labels[key] == *value);
    equal
        && items(&selector["matchExpressions"]).iter().all(|expression| {
            let key = expression["key"].as_str().unwrap_or_default();
            meets(expression, labels[key].as_str())
        })
}

/// Whether a value satisfies an expression of a label or node selector.
pub(super) fn meets(expression: &Value, actual: Option<&str>) -> bool {
    let mut values = items(&expression["values"]).iter().filter_map(Value::as_str);
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    match expression["operator"].as_str() {
        Some("In") => actual.is_some_and(|actual| values.any(|value| value == actual)),
        Some("NotIn") => actual.is_none_or(|actual| values.all(|value| value != actual)),
        Some("Exists") => actual.is_some(),
        Some("DoesNotExist") => actual.is_none(),
        Some("Gt") => number(actual).zip(number(values.next())).is_some_and(|(have, bound)| have > bound),
        Some("Lt") => number(actual).zip(number(values.next())).is_some_and(|(have, bound)| have < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_transition_time_while_its_status_stays() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut conditions = Vec::new();
        let ready = |status: &str, reason: &str| json!({"type": "Ready", "status": status, "reason": reason});
        set_condition(&mut conditions, ready("False", "Starting"), at(1));
        set_condition(&mut conditions, ready("False", "StillStarting"), at(2));
        assert_eq!(conditions[0]["lastTransitionTime"], "1970-01-01T00:00:01Z");
        assert_eq!(conditions[0]["reason"], "StillStarting");
        set_condition(&mut conditions, ready("True", ""), at(3));
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0]["lastTransitionTime"], "1970-01-01T00:00:03Z");
    }

    #[test]
    fn all_requirements_of_a_selector_must_be_met() {
        let labels = json!({"app": "a", "size": "3"});
        let expression = |key: &str, operator: &str, value: &str| json!({"matchExpressions": [{"key": key, "operator": operator, "values": [value]}]});
        for (selector, expected) in [
            (json!({"matchLabels": {"app": "a"}}), true),
            (json!({"matchLabels": {"app": "a", "size": "4"}}), false),
            (expression("app", "In", "b"), false),
            (expression("none", "NotIn", "b"), true),
            (expression("app", "NotIn", "a"), false),
            (expression("app", "Exists", ""), true),
            (expression("app", "DoesNotExist", ""), false),
            (expression("size", "Gt", "2"), true),
            (expression("size", "Lt", "3"), false),
            (expression("app", "Like", "a"), false),
        ] {
            assert_eq!(selects(&selector, &labels), expected, "{selector}");
        }
    }
}
