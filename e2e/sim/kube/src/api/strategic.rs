//! Strategic merge patch for built-in kinds: lists with a merge key are merged by it. Pure functions.

use serde_json::{Map, Value};

use super::fields::members;

/// Applies a patch.
pub(super) fn merge(base: &mut Value, patch: &Value) {
    into(base, patch, "");
}

fn into(base: &mut Value, patch: &Value, within: &str) {
    let Value::Object(patch) = patch else {
        *base = patch.clone();
        return;
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *base = Value::Object(plain(patch));
            return;
        }
        Some("delete") => {
            *base = Value::Object(Map::new());
            return;
        }
        _ => {}
    }
    let base = members(base);
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(left) = base.get_mut(list).and_then(Value::as_array_mut) {
                left.retain(|item| !gone.contains(item));
            }
            continue;
        }
        match value {
            _ if name.starts_with('$') => {}
            Value::Null => {
                base.remove(name);
            }
            Value::Object(_) => into(base.entry(name.as_str()).or_insert_with(empty), value, name),
            Value::Array(items) => list(base, name, items, within),
            other => {
                base.insert(name.clone(), other.clone());
            }
        }
    }
}

fn list(base: &mut Map<String, Value>, name: &str, items: &[Value], within: &str) {
    let merge = merged_by(name, within);
    if matches!(merge, Merge::Atomic) {
        base.insert(name.to_owned(), Value::Array(items.to_vec()));
        return;
    }
    let same = |one: &Value, other: &Value| match merge {
        Merge::By(key) => one.get(key).is_some_and(|wanted| other.get(key) == Some(wanted)),
        Merge::Atomic | Merge::Set => one == other,
    };
    let directive = |item: &Value| item.get("$patch").and_then(Value::as_str).map(str::to_owned);
    let mut before = std::mem::take(array(base, name));
    if items.iter().any(|item| directive(item).as_deref() == Some("replace")) {
        before.clear();
    }
    let mut patched: Vec<Value> = Vec::new();
    for item in items {
        match directive(item).as_deref() {
            Some("delete") => before.retain(|other| !same(item, other)),
            Some("replace") => {}
            _ => {
                let mut merged = before.iter().find(|other| same(item, other)).cloned().unwrap_or_else(empty);
                into(&mut merged, item, name);
                patched.retain(|other| !same(&merged, other));
                patched.push(merged);
            }
        }
    }
    let kept = before.iter().filter(|other| !patched.iter().any(|item| same(item, other))).cloned().collect();
    *array(base, name) = interleaved(kept, patched, |item| before.iter().position(|other| same(item, other)));
}

/// Merges the items that the patch does not mention with those that it does, each in their order. An
/// untouched item precedes a patched one only if both existed before in that order.
fn interleaved(left: Vec<Value>, right: Vec<Value>, place: impl Fn(&Value) -> Option<usize>) -> Vec<Value> {
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    let mut all = Vec::new();
    loop {
        let from_left = match (left.peek(), right.peek()) {
            (Some(one), Some(other)) => place(one).zip(place(other)).is_some_and(|(one, other)| one < other),
            (one, _) => one.is_some(),
        };
        match if from_left { left.next() } else { right.next() } {
            Some(item) => all.push(item),
            None => return all,
        }
    }
}

enum Merge {
    /// The list is replaced as a whole.
    Atomic,
    /// A set of values.
    Set,
    /// Items are identified by this field.
    By(&'static str),
}

/// How the list `name` in the field `within` is merged.
fn merged_by(name: &str, within: &str) -> Merge {
    match (name, within) {
        ("finalizers", "metadata") => Merge::Set,
        ("ownerReferences", "metadata") => Merge::By("uid"),
        ("conditions" | "addresses", "status") => Merge::By("type"),
        (
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "imagePullSecrets"
            | "resourceClaims",
            "spec",
        )
        | ("env", "containers" | "initContainers") => Merge::By("name"),
        ("ports", "containers" | "initContainers") => Merge::By("containerPort"),
        ("ports", "spec") => Merge::By("port"),
        ("volumeMounts", "containers" | "initContainers") => Merge::By("mountPath"),
        ("hostAliases", "spec") | ("podIPs" | "hostIPs", "status") => Merge::By("ip"),
        ("topologySpreadConstraints", "spec") => Merge::By("topologyKey"),
        _ => Merge::Atomic,
    }
}

fn array<'a>(base: &'a mut Map<String, Value>, name: &str) -> &'a mut Vec<Value> {
    let value = base.entry(name).or_insert(Value::Null);
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(items) => items,
        // Made a list by the line above.
        _ => unreachable!("a value that was made a list"),
    }
}

fn plain(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(name, _)| !name.starts_with('$'))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn empty() -> Value {
    Value::Object(Map::new())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(mut base: Value, patch: &Value) -> Value {
        merge(&mut base, patch);
        base
    }

    #[test]
    fn a_condition_is_added_or_changed_by_its_type() {
        let base =
            json!({"status": {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}});
        let patch = json!({"status": {"conditions": [{"type": "Gate", "status": "False"}, {"type": "Ready", "status": "False"}]}});
        let wanted = json!({"status": {"conditions": [
            {"type": "Gate", "status": "False"}, {"type": "Ready", "status": "False"},
        ], "phase": "Running"}});
        assert_eq!(merged(base, &patch), wanted);
    }

    #[test]
    fn directives_delete_and_replace() {
        let base =
            json!({"metadata": {"finalizers": ["a", "b"], "ownerReferences": [{"uid": "1"}, {"uid": "2"}]}});
        let patch = json!({"metadata": {
            "$deleteFromPrimitiveList/finalizers": ["a"],
            "ownerReferences": [{"$patch": "delete", "uid": "1"}],
        }});
        let wanted = json!({"metadata": {"finalizers": ["b"], "ownerReferences": [{"uid": "2"}]}});
        assert_eq!(merged(base, &patch), wanted);
        let base = json!({"status": {"conditions": [{"type": "A"}]}});
        let patch = json!({"status": {"conditions": [{"$patch": "replace"}, {"type": "B"}]}});
        assert_eq!(merged(base, &patch), json!({"status": {"conditions": [{"type": "B"}]}}));
    }

    #[test]
    fn the_merge_key_of_ports_depends_on_the_parent_field() {
        let base = json!({"spec": {"ports": [{"port": 1, "name": "a"}], "containers": [{"name": "c", "ports": [{"containerPort": 5}]}]}});
        let patch = json!({"spec": {
            "ports": [{"port": 1, "name": "b"}],
            "containers": [{"name": "c", "ports": [{"containerPort": 6}], "image": "i"}],
        }});
        let wanted = json!({"spec": {"ports": [{"port": 1, "name": "b"}], "containers": [
            {"name": "c", "image": "i", "ports": [{"containerPort": 6}, {"containerPort": 5}]},
        ]}});
        assert_eq!(merged(base, &patch), wanted);
    }

    #[test]
    fn other_lists_are_replaced_and_null_removes_a_field() {
        let base = json!({"spec": {"tolerations": [{"key": "a"}], "nodeName": "n"}});
        let patch = json!({"spec": {"tolerations": [{"key": "b"}], "nodeName": null}});
        assert_eq!(merged(base, &patch), json!({"spec": {"tolerations": [{"key": "b"}]}}));
    }
}
