//! What a template may not ask of Ray, because Rayfleet could not reach the group, or because KubeRay would refuse the
//! RayCluster: refused with the field and what helps, in place of a group that never comes up.

use ray_bridge_model::field_error::{FieldError, invalid};
use serde_json::Value;

use crate::kuberay;
use crate::spec::Model;

/// Where only the pod itself reaches it.
pub(crate) const LOCAL: [&str; 5] = ["127.0.0.1", "localhost", "::1", "[::1]", "ip6-localhost"];

pub(super) fn check_template(spec: &Value, problems: &mut Vec<FieldError>) {
    let below = "spec.template.spec";
    let head = &spec["headGroupSpec"];
    let parameter = |name: &str| kuberay::parameter(head, name);
    let mut refuse =
        |field: &str, problem: String| problems.push(invalid(&format!("{below}.{field}"), problem));
    if let Some(host) = parameter("dashboard-host").filter(|host| LOCAL.contains(host)) {
        refuse(
            "headGroupSpec.rayStartParams.dashboard-host",
            format!(
                "`{host}` keeps the dashboard from Rayfleet, which sees by it whether the group is up: leave it out, or write 0.0.0.0 (with IPv6 alone ::)"
            ),
        );
    }
    if parameter("include-dashboard").is_some_and(|include| include.eq_ignore_ascii_case("false")) {
        refuse(
            "headGroupSpec.rayStartParams.include-dashboard",
            "without its dashboard Rayfleet cannot see whether a group is up: leave it out".to_owned(),
        );
    }
    if spec["authOptions"]["enableK8sTokenAuth"] == true {
        refuse(
            "authOptions.enableK8sTokenAuth",
            "the dashboard would ask Kubernetes for every token, and Rayfleet has none that Kubernetes knows: leave it out; with `mode: token` KubeRay makes one that Rayfleet reads".to_owned(),
        );
    }
    both_resources("headGroupSpec", head, &mut refuse);
    for (index, group) in spec["workerGroupSpecs"].as_array().into_iter().flatten().enumerate() {
        let field = format!("workerGroupSpecs[{index}]");
        both_resources(&field, group, &mut refuse);
        let bound = |name: &str| group[name].as_i64();
        for name in ["minReplicas", "maxReplicas", "replicas"] {
            if bound(name).is_some_and(|bound| bound < 0) {
                refuse(&format!("{field}.{name}"), "must not be negative".to_owned());
            }
        }
        if let (Some(least), Some(most)) = (bound("minReplicas"), bound("maxReplicas"))
            && least > most
        {
            refuse(
                &format!("{field}.minReplicas"),
                format!(
                    "is {least}, above maxReplicas {most}: KubeRay refuses that; leave both out, so that they follow replicas"
                ),
            );
        }
    }
}

/// KubeRay takes what Ray is told of either from `resources` or from the parameters.
fn both_resources(field: &str, group: &Value, refuse: &mut impl FnMut(&str, String)) {
    let named = group["resources"].as_object().is_some_and(|resources| !resources.is_empty());
    let parameters = ["num-cpus", "num-gpus", "memory", "resources"];
    let given = |name: &&&str| group["rayStartParams"][**name].as_str().is_some_and(|text| !text.is_empty());
    if let Some(name) = parameters.iter().find(given).filter(|_| named) {
        refuse(
            &format!("{field}.resources"),
            format!("KubeRay refuses it beside rayStartParams.{name}: keep one of the two"),
        );
    }
}

/// The engine's port is on the head, beside Ray's own.
pub(super) fn check_port(model: &Model, port: u16, spec: &Value, problems: &mut Vec<FieldError>) {
    if let Some(who) = kuberay::taken(&spec["headGroupSpec"], port) {
        let field = if model.port.is_some() { "spec.model.port" } else { "spec.template.spec.headGroupSpec" };
        problems.push(invalid(
            field,
            format!("the engine cannot have port {port}: {who}; choose another for one of them"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(spec: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        check_template(spec, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_dashboard_that_cannot_be_reached_is_refused_by_its_field() {
        let head = |parameters: Value| json!({"headGroupSpec": {"rayStartParams": parameters}});
        for (parameters, field, words) in [
            (json!({"dashboard-host": "127.0.0.1"}), "dashboard-host", "write 0.0.0.0"),
            (json!({"dashboard-host": "'localhost'"}), "dashboard-host", "write 0.0.0.0"),
            (json!({"dashboard-host": "::1"}), "dashboard-host", "IPv6"),
            (json!({"include-dashboard": "False"}), "include-dashboard", "leave it out"),
        ] {
            let reported = refused(&head(parameters));
            assert_eq!(reported.len(), 1, "{reported:?}");
            let field = format!("spec.template.spec.headGroupSpec.rayStartParams.{field}: ");
            assert!(reported[0].starts_with(&field) && reported[0].contains(words), "{reported:?}");
        }
        for fine in [
            json!({}),
            json!({"dashboard-host": "0.0.0.0", "dashboard-port": "8266", "include-dashboard": "true", "block": "false"}),
            json!({"dashboard-host": "::"}),
        ] {
            assert_eq!(refused(&head(fine)), Vec::<String>::new());
        }
    }

    #[test]
    fn tokens_that_only_kubernetes_knows_are_refused() {
        let reported = refused(&json!({"authOptions": {"mode": "token", "enableK8sTokenAuth": true}}));
        assert!(
            reported[0].starts_with("spec.template.spec.authOptions.enableK8sTokenAuth: ")
                && reported[0].contains("leave it out")
        );
        assert_eq!(
            refused(&json!({"authOptions": {"mode": "token", "enableK8sTokenAuth": false}})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn sizes_that_kuberay_refuses_are_refused_with_the_cure() {
        let reported = refused(&json!({"workerGroupSpecs": [
            {"replicas": 1, "minReplicas": 1, "maxReplicas": 1},
            {"replicas": 1, "minReplicas": 2, "maxReplicas": 1},
            {"minReplicas": -1},
        ]}));
        assert_eq!(reported.len(), 2, "{reported:?}");
        assert!(
            reported[0]
                .starts_with("spec.template.spec.workerGroupSpecs[1].minReplicas: is 2, above maxReplicas 1")
        );
        assert!(
            reported[1]
                .starts_with("spec.template.spec.workerGroupSpecs[2].minReplicas: must not be negative")
        );
    }

    #[test]
    fn resources_and_parameters_that_contradict_each_other_are_refused() {
        let both = json!({"resources": {"GPU": "8"}, "rayStartParams": {"num-gpus": "8"}});
        let reported =
            refused(&json!({"headGroupSpec": both, "workerGroupSpecs": [both, {"resources": {"GPU": "8"}}]}));
        assert_eq!(reported.len(), 2, "{reported:?}");
        assert!(reported[1].starts_with("spec.template.spec.workerGroupSpecs[0].resources: KubeRay refuses it beside rayStartParams.num-gpus"));
    }
}
