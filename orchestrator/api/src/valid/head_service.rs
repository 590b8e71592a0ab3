//! `headGroupSpec.headService`: every group of a fleet gets such a Service from KubeRay, so it must say nothing that only one
//! Service of a namespace or cluster can have.

use ray_bridge_model::field_error::{FieldError, invalid};
use serde_json::Value;

const FIELD: &str = "spec.template.spec.headGroupSpec.headService";

/// Checks what a template says of the head's Service; `one_at_a_time`: no two groups of the fleet ever exist beside each other.
pub(super) fn check_head_service(template: &Value, one_at_a_time: bool, problems: &mut Vec<FieldError>) {
    let service = &template["headGroupSpec"]["headService"];
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" {
        problems.push(invalid(
            &format!("{FIELD}.spec.type"),
            "ExternalName leads to no pod, so workers would never find their head: write ClusterIP, NodePort or LoadBalancer",
        ));
    }
    if one_at_a_time {
        return;
    }
    for path in unique(service) {
        problems.push(invalid(
            &format!("{FIELD}.{path}"),
            "every group has a head Service of its own, and no two can share this: leave it out, or let groups exist one at a \
             time only (spec.replicas 1 with strategy.rollingUpdate.maxSurge 0 or strategy.type Recreate)",
        ));
    }
}

/// Fields that two Services cannot both have. KubeRay takes `metadata.name` for the address that workers join: those of a second
/// group would join the head of the first.
fn unique(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty() && text != "None");
    let mut found = Vec::new();
    if text(&service["metadata"]["name"]) {
        found.push("metadata.name".to_owned());
    }
    for field in ["clusterIP", "loadBalancerIP"] {
        if text(&spec[field]) {
            found.push(format!("spec.{field}"));
        }
    }
    if spec["clusterIPs"].as_array().is_some_and(|all| all.iter().any(text)) {
        found.push("spec.clusterIPs".to_owned());
    }
    let number = |value: &Value| value.as_u64().is_some_and(|number| number > 0);
    if number(&spec["healthCheckNodePort"]) {
        found.push("spec.healthCheckNodePort".to_owned());
    }
    let ports = spec["ports"].as_array().into_iter().flatten().enumerate();
    found.extend(
        ports
            .filter(|(_, port)| number(&port["nodePort"]))
            .map(|(index, _)| format!("spec.ports[{index}].nodePort")),
    );
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(service: &Value, one_at_a_time: bool) -> Vec<String> {
        let mut problems = Vec::new();
        let template = json!({"headGroupSpec": {"headService": service}});
        check_head_service(&template, one_at_a_time, &mut problems);
        problems
            .into_iter()
            .map(|problem| problem.field.trim_start_matches(FIELD).trim_start_matches('.').to_owned())
            .collect()
    }

    #[test]
    fn fields_that_two_head_services_cannot_share_are_refused_by_name() {
        for (service, refused) in [
            (json!({"metadata": {"name": "head"}}), "metadata.name"),
            (json!({"spec": {"clusterIP": "10.0.0.9"}}), "spec.clusterIP"),
            (json!({"spec": {"clusterIPs": ["10.0.0.9"]}}), "spec.clusterIPs"),
            (json!({"spec": {"loadBalancerIP": "192.0.2.1"}}), "spec.loadBalancerIP"),
            (json!({"spec": {"healthCheckNodePort": 30001}}), "spec.healthCheckNodePort"),
            (
                json!({"spec": {"ports": [{"port": 1}, {"port": 2, "nodePort": 30000}]}}),
                "spec.ports[1].nodePort",
            ),
        ] {
            assert_eq!(fields(&service, false), [refused], "{service}");
            assert!(fields(&service, true).is_empty(), "{service}");
        }
    }

    #[test]
    fn fields_that_every_head_service_may_have_are_accepted() {
        for service in [
            Value::Null,
            json!({"metadata": {"annotations": {"a": "b"}, "labels": {"c": "d"}, "name": ""}}),
            json!({"spec": {"type": "NodePort", "clusterIP": "None", "clusterIPs": ["None"], "ports": [{"port": 8000}]}}),
        ] {
            assert!(fields(&service, false).is_empty(), "{service}");
        }
    }

    #[test]
    fn a_head_service_that_leads_to_no_pod_is_refused_whatever_else_is_asked_for() {
        let service = json!({"spec": {"type": "ExternalName", "externalName": "elsewhere"}});
        assert_eq!(fields(&service, true), ["spec.type"]);
    }
}
