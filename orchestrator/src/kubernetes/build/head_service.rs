//! The Service by which Ray finds a group's head. It must lead there before the head is ready: the serving gate opens only
//! after the workers have joined, and they join through this Service.
//!
//! KubeRay (1.6 and 1.7, `BuildServiceForHeadPod`) publishes addresses that are not ready in one case only: no `headService`,
//! `serviceType` empty or `ClusterIP`, and its operator without `ENABLE_RAY_HEAD_CLUSTER_IP_SERVICE`, which nobody sees on a
//! RayCluster. A `headService` it takes as given but for name, selector and its own ports, and it never writes the Service
//! again (`reconcileHeadService`). So each group says what it needs in `headService`, whatever the operator is set to.

use serde_json::{Value, json};

use super::object_at;

/// Makes the head's Service publish the head before it is ready. What the template says of it stays, but for
/// `publishNotReadyAddresses`; where it says nothing, the Service is headless, as it is by KubeRay's own default.
pub(super) fn publish_unready(head: &mut Value) {
    let Some(fields) = head.as_object_mut() else { return };
    let own_address = fields.get("serviceType").and_then(Value::as_str).unwrap_or_default();
    let headless = matches!(own_address, "" | "ClusterIP");
    if fields.get("headService").is_none_or(Value::is_null) {
        let spec = if headless { json!({ "clusterIP": "None" }) } else { json!({}) };
        fields.insert("headService".to_owned(), json!({ "spec": spec }));
    }
    if let Some(spec) = object_at(head, &["headService", "spec"]) {
        spec.insert("publishNotReadyAddresses".to_owned(), json!(true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(mut head: Value) -> Value {
        publish_unready(&mut head);
        head["headService"].take()
    }

    #[test]
    fn whatever_the_head_service_is_workers_find_a_head_that_is_not_ready() {
        for (head, expected) in [
            (json!({}), json!({"spec": {"clusterIP": "None", "publishNotReadyAddresses": true}})),
            (
                json!({"serviceType": "ClusterIP", "headService": null}),
                json!({"spec": {"clusterIP": "None", "publishNotReadyAddresses": true}}),
            ),
            (json!({"serviceType": "NodePort"}), json!({"spec": {"publishNotReadyAddresses": true}})),
            (json!({"serviceType": "LoadBalancer"}), json!({"spec": {"publishNotReadyAddresses": true}})),
            (
                json!({"headService": {"metadata": {"annotations": {"a": "b"}}}}),
                json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"publishNotReadyAddresses": true}}),
            ),
            (
                json!({"headService": {"spec": {"type": "NodePort", "publishNotReadyAddresses": false}}}),
                json!({"spec": {"type": "NodePort", "publishNotReadyAddresses": true}}),
            ),
        ] {
            assert_eq!(service(head.clone()), expected, "{head}");
        }
        assert_eq!(service(Value::Null), Value::Null);
    }
}
