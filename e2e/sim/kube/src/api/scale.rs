//! The scale subresource of a `RayClusterFleet`, as `kubectl scale` and autoscalers see it.

use serde_json::{Value, json};

use super::fields::{put, text};

pub(super) fn of(fleet: &Value) -> Value {
    let field = |pointer: &str| fleet.pointer(pointer).filter(|value| !value.is_null()).cloned();
    let mut metadata = serde_json::Map::new();
    for name in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        put(&mut metadata, name, field(&format!("/metadata/{name}")));
    }
    let mut status = json!({"replicas": field("/status/replicas").unwrap_or_else(|| json!(0))});
    let mut spec = serde_json::Map::new();
    // Scale omits a field whose value is 0.
    put(&mut spec, "replicas", field("/spec/replicas").filter(|count| *count != json!(0)));
    let selector = text(fleet, "/status/scalingTargetSelector");
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": spec, "status": status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_has_the_desired_and_the_observed_replicas() {
        let fleet = json!({
            "metadata": {"name": "f", "namespace": "n", "labels": {"a": "b"}}, "spec": {"replicas": 3},
            "status": {"replicas": 2, "scalingTargetSelector": "a=b"},
        });
        let scale = of(&fleet);
        assert_eq!(scale["metadata"], json!({"name": "f", "namespace": "n"}));
        assert_eq!(scale["spec"], json!({"replicas": 3}));
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b"}));
    }
}
