//! Strategic merge patch, for kinds that are built into the server: lists of things with a key are merged by it. Pure.

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
    let replaced = items.iter().any(|item| item.get("$patch").is_some_and(|word| word == "replace"));
    let key = match merged_by(name, within) {
        Merge::Atomic => {
            base.insert(name.to_owned(), Value::Array(items.to_vec()));
            return;
        }
        Merge::Set => {
            let kept = array(base, name);
            for item in items {
                if !kept.contains(item) {
                    kept.push(item.clone());
                }
            }
            return;
        }
        Merge::By(key) => key,
    };
    let kept = array(base, name);
    if replaced {
        kept.clear();
    }
    for item in items {
        let same = |other: &Value| item.get(key).is_some_and(|wanted| other.get(key) == Some(wanted));
        match item.get("$patch").and_then(Value::as_str) {
            Some("delete") => kept.retain(|other| !same(other)),
            Some("replace") if item.get(key).is_none() => {}
            _ => match kept.iter_mut().find(|other| same(other)) {
                Some(other) => into(other, item, name),
                None => {
                    let mut fresh = empty();
                    into(&mut fresh, item, name);
                    kept.push(fresh);
                }
            },
        }
    }
}

enum Merge {
    /// The whole list is one value.
    Atomic,
    /// Values that are there once.
    Set,
    /// Things that this field tells apart.
    By(&'static str),
}

/// How the list `name` is merged; `within` is the field that it stands in.
fn merged_by(name: &str, within: &str) -> Merge {
    match (name, within) {
        ("finalizers", "metadata") => Merge::Set,
        ("ownerReferences", "metadata") => Merge::By("uid"),
        ("conditions", "status") | ("addresses", "status") => Merge::By("type"),
        (
            "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "imagePullSecrets",
            "spec",
        )
        | ("env", "containers" | "initContainers")
        | ("resourceClaims", "spec") => Merge::By("name"),
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
        // The line above has made it one.
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
            {"type": "Ready", "status": "False"}, {"type": "Gate", "status": "False"},
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
    fn ports_are_told_apart_by_what_they_are_in() {
        let base = json!({"spec": {"ports": [{"port": 1, "name": "a"}], "containers": [{"name": "c", "ports": [{"containerPort": 5}]}]}});
        let patch = json!({"spec": {
            "ports": [{"port": 1, "name": "b"}],
            "containers": [{"name": "c", "ports": [{"containerPort": 6}], "image": "i"}],
        }});
        let wanted = json!({"spec": {"ports": [{"port": 1, "name": "b"}], "containers": [
            {"name": "c", "image": "i", "ports": [{"containerPort": 5}, {"containerPort": 6}]},
        ]}});
        assert_eq!(merged(base, &patch), wanted);
    }

    #[test]
    fn other_lists_are_one_value_and_null_takes_away() {
        let base = json!({"spec": {"tolerations": [{"key": "a"}], "nodeName": "n"}});
        let patch = json!({"spec": {"tolerations": [{"key": "b"}], "nodeName": null}});
        assert_eq!(merged(base, &patch), json!({"spec": {"tolerations": [{"key": "b"}]}}));
    }
}
