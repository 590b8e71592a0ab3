//! Which pods the EndpointSlices list as ready. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::EndpointSlice;

/// Whether each pod of a slice is listed as ready, by pod name.
pub(crate) type Listed = BTreeMap<String, bool>;

/// What a slice says. KubeRay's own headless head service publishes addresses that are not ready, and its
/// endpoints carry that as `ready: true`; `serving` tells the truth there, so both must be true.
pub(crate) fn listed(slice: &EndpointSlice) -> Listed {
    let mut listed = Listed::new();
    for endpoint in slice.endpoints.iter().flatten() {
        let Some(pod) = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))
        else {
            continue;
        };
        let Some(name) = &pod.name else { continue };
        let conditions = endpoint.conditions.as_ref();
        let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
        let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
        listed.insert(name.clone(), ready && serving);
    }
    listed
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn listing(endpoints: &Value) -> Listed {
        let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": endpoints});
        listed(&serde_json::from_value(slice).unwrap())
    }

    fn endpoint(conditions: &Value) -> Value {
        json!({"addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": {"kind": "Pod", "name": "p"}})
    }

    #[test]
    fn a_pod_is_listed_as_its_conditions_say() {
        for (conditions, ready) in [
            (json!({"ready": true, "serving": true, "terminating": false}), true),
            (json!({"ready": false, "serving": false, "terminating": false}), false),
            // It ends, and still answers: no new requests are sent to it.
            (json!({"ready": false, "serving": true, "terminating": true}), false),
            // KubeRay's head service publishes addresses that are not ready.
            (json!({"ready": true, "serving": false, "terminating": false}), false),
            // Kubernetes: not known is to be read as ready.
            (json!({}), true),
            (json!({"ready": true}), true),
        ] {
            assert_eq!(listing(&json!([endpoint(&conditions)])).get("p"), Some(&ready), "{conditions}");
        }
    }

    #[test]
    fn addresses_that_are_no_pods_are_left_out() {
        let endpoints = json!([
            {"addresses": ["10.0.0.1"]},
            {"addresses": ["10.0.0.2"], "targetRef": {"kind": "Node", "name": "a"}},
            {"addresses": ["10.0.0.3"], "targetRef": {"kind": "Pod"}}
        ]);
        assert!(listing(&endpoints).is_empty());
        assert!(listing(&Value::Null).is_empty());
    }
}
