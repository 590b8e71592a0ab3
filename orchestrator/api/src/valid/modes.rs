//! Fields of the RayCluster by which somebody else than Rayfleet would decide how many pods a group has, or where.

use ray_bridge_model::field_error::{FieldError, invalid};
use serde_json::Value;

/// Checks who may decide about a group's pods; `placed`: Rayfleet places an engine on them (`spec.model`).
pub(super) fn check_modes(template: &Value, placed: bool, problems: &mut Vec<FieldError>) {
    if placed && template["enableInTreeAutoscaling"] == true {
        problems.push(invalid(
            "spec.template.spec.enableInTreeAutoscaling",
            "must be false or left out with spec.model: the engine's ranks are placed on a fixed set of pods, and Ray's autoscaler \
             would take idle-looking ones away; scale the fleet with spec.replicas",
        ));
    }
    if let Some(manager) =
        template["managedBy"].as_str().filter(|manager| *manager != "ray.io/kuberay-operator")
    {
        problems.push(invalid(
            "spec.template.spec.managedBy",
            format!(
                "must be ray.io/kuberay-operator or left out: with `{manager}` KubeRay makes no pods in this cluster, so no group \
                 would ever be ready"
            ),
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(template: &Value, placed: bool) -> Vec<String> {
        let mut problems = Vec::new();
        check_modes(template, placed, &mut problems);
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn rays_autoscaler_is_for_templates_that_start_their_own_engine() {
        let template = json!({"enableInTreeAutoscaling": true});
        assert_eq!(fields(&template, true), ["spec.template.spec.enableInTreeAutoscaling"]);
        assert!(fields(&template, false).is_empty());
        assert!(fields(&json!({"enableInTreeAutoscaling": false}), true).is_empty());
    }

    #[test]
    fn a_cluster_whose_pods_are_made_elsewhere_is_refused() {
        assert_eq!(
            fields(&json!({"managedBy": "kueue.x-k8s.io/multikueue"}), false),
            ["spec.template.spec.managedBy"]
        );
        assert!(fields(&json!({"managedBy": "ray.io/kuberay-operator"}), true).is_empty());
        assert!(fields(&json!({"managedBy": null}), true).is_empty());
    }
}
