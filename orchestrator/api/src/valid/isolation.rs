//! Fields of the RayCluster by which groups would be cut off from the orchestrator and their users, or share what only one may write.

use ray_bridge_model::field_error::{FieldError, invalid};
use serde_json::Value;

/// Checks KubeRay's `NetworkPolicies` and its storage of Ray's control state.
pub(super) fn check_isolation(template: &Value, problems: &mut Vec<FieldError>) {
    check_network_policy(&template["networkPolicy"], problems);
    // KubeRay 1.7 (`GcsEmbeddedStorage`): it does not see to it that only one head writes there.
    if template.pointer("/gcsFaultToleranceOptions/storage/claimName").is_some_and(|claim| !claim.is_null()) {
        problems.push(invalid(
            "spec.template.spec.gcsFaultToleranceOptions.storage.claimName",
            "must be left out: the heads of all groups would write to one RocksDB store; KubeRay then makes a claim for each RayCluster",
        ));
    }
}

/// KubeRay 1.7 (`buildHeadNetworkPolicy`): both modes that deny ingress, one of which is the default, let only pods of the same
/// RayCluster reach its head, and what `head.ingressRules` adds.
fn check_network_policy(policy: &Value, problems: &mut Vec<FieldError>) {
    if !policy.is_object() || policy["mode"] == "DenyAllEgress" {
        return;
    }
    if policy.pointer("/head/ingressRules").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty()) {
        return;
    }
    problems.push(invalid(
        "spec.template.spec.networkPolicy.head.ingressRules",
        "must let the orchestrator and your clients in: without rules KubeRay's policy lets only pods of the same RayCluster reach the \
         head, so no group could be launched or asked anything. Allow namespace rayfleet-system the ports of the dashboard (8265) and \
         the engine, and your clients the engine's; or leave networkPolicy out and apply one of your own (docs/security.md)",
    ));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(template: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        check_isolation(template, &mut problems);
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn a_policy_that_lets_nobody_reach_the_head_is_refused() {
        let refused = ["spec.template.spec.networkPolicy.head.ingressRules"];
        for policy in [
            json!({}),
            json!({"mode": "DenyAll"}),
            json!({"mode": "DenyAllIngress", "head": {"ingressRules": []}}),
            json!({"mode": null, "worker": {"ingressRules": [{}]}}),
        ] {
            assert_eq!(fields(&json!({"networkPolicy": policy})), refused, "{policy}");
        }
        for policy in [
            json!(null),
            json!({"mode": "DenyAllEgress"}),
            json!({"mode": "DenyAll", "head": {"ingressRules": [{"ports": [{"port": 8265}]}]}}),
        ] {
            assert!(fields(&json!({"networkPolicy": policy})).is_empty(), "{policy}");
        }
    }

    #[test]
    fn one_volume_for_the_control_state_of_all_groups_is_refused() {
        let with =
            |storage: Value| json!({"gcsFaultToleranceOptions": {"backend": "rocksdb", "storage": storage}});
        assert_eq!(
            fields(&with(json!({"claimName": "gcs"}))),
            ["spec.template.spec.gcsFaultToleranceOptions.storage.claimName"]
        );
        for storage in [json!(null), json!({"size": "1Gi"}), json!({"claimName": null})] {
            assert!(fields(&with(storage)).is_empty());
        }
    }
}
