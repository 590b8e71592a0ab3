//! Which pods the EndpointSlices list as ready. Pods are distinguished by UID: whoever takes the name of one does not take its place. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Key;
use super::objects::{Meta, Watched};

/// Whether each pod of a slice is listed as ready, by the pod's UID.
pub(crate) type Listed = BTreeMap<String, bool>;

/// An EndpointSlice.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(super) key: Key,
    pub(super) version: u64,
    pub(super) listed: Listed,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Meta,
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    conditions: Option<Conditions>,
    target_ref: Option<Target>,
}

#[derive(Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
}

#[derive(Deserialize)]
struct Target {
    kind: Option<String>,
    uid: Option<String>,
}

impl Watched for Slice {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let Object { metadata, endpoints } = serde_json::from_str(text)?;
        let (key, listed) = (metadata.key(), listed(endpoints.unwrap_or_default()));
        Ok(Some(Self { key, version: metadata.version(), listed }))
    }
}

/// What a slice says. KubeRay's own headless head service publishes addresses that are not ready, and its
/// endpoints carry that as `ready: true`; `serving` tells the truth there, so both must be true.
fn listed(endpoints: Vec<Endpoint>) -> Listed {
    let mut listed = Listed::new();
    for endpoint in endpoints {
        let pod = endpoint.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
        let Some(uid) = pod.and_then(|pod| pod.uid) else { continue };
        let conditions = endpoint.conditions.unwrap_or_default();
        let ready = conditions.ready.unwrap_or(true);
        let serving = conditions.serving.unwrap_or(ready);
        listed.insert(uid, ready && serving);
    }
    listed
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn listing(endpoints: &Value) -> Listed {
        let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": endpoints});
        Slice::read(&slice.to_string()).unwrap().unwrap().listed
    }

    fn endpoint(conditions: &Value) -> Value {
        json!({"addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": {"kind": "Pod", "name": "p", "uid": "p-1"}})
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
            assert_eq!(listing(&json!([endpoint(&conditions)])).get("p-1"), Some(&ready), "{conditions}");
        }
    }

    #[test]
    fn addresses_that_are_no_pods_are_left_out() {
        let endpoints = json!([
            {"addresses": ["10.0.0.1"]},
            {"addresses": ["10.0.0.2"], "targetRef": {"kind": "Node", "name": "a", "uid": "a-1"}},
            {"addresses": ["10.0.0.3"], "targetRef": {"kind": "Pod", "name": "p"}}
        ]);
        assert!(listing(&endpoints).is_empty());
        assert!(listing(&Value::Null).is_empty());
    }
}
