//! How much of a pod template may say where its pods go. Every rule is compared with nodes and pods, so room for a group whose rules are
//! endless could not be looked for in the time that a decision may take.

use ray_bridge_model::field_error::{FieldError, invalid};
use serde_json::{Map, Value};

use super::shape::groups;

/// Most of it for one pod, in bytes of JSON. A GPU pod with anti-affinity, node affinity and tolerations has half a kilobyte.
const LONGEST: usize = 8 << 10;
/// Parts of a pod spec that are about scheduling alone.
const RULES: [&str; 9] = [
    "affinity",
    "hostNetwork",
    "nodeSelector",
    "overhead",
    "priorityClassName",
    "resources",
    "schedulerName",
    "tolerations",
    "topologySpreadConstraints",
];

/// Checks the scheduling rules of the head and of each worker group.
pub(super) fn check_scheduling(template: &Value, problems: &mut Vec<FieldError>) {
    for (field, group) in groups(template) {
        let bytes = rules(&group["template"]["spec"]).to_string().len();
        if bytes > LONGEST {
            problems.push(invalid(
                &format!("{field}.template.spec"),
                format!(
                    "affinity, tolerations, topologySpreadConstraints, nodeSelector, resources and host ports take {} KiB of JSON, \
                     at most {} KiB are allowed: label the nodes, and select them by that label",
                    bytes.div_ceil(1 << 10),
                    LONGEST >> 10
                ),
            ));
        }
    }
}

/// The part of a pod spec that says where the pod may go and what it asks for.
pub(super) fn rules(spec: &Value) -> Value {
    let mut kept = Map::new();
    let mut keep = |field: &str, value: Value| kept.insert(field.to_owned(), value);
    for field in RULES {
        if let Some(value) = spec.get(field) {
            keep(field, value.clone());
        }
    }
    let on_host = spec["hostNetwork"] == true;
    for field in ["containers", "initContainers"] {
        if let Some(containers) = spec[field].as_array() {
            keep(field, containers.iter().map(|container| of_container(container, on_host)).collect());
        }
    }
    Value::Object(kept)
}

fn of_container(container: &Value, on_host: bool) -> Value {
    let mut kept = Map::new();
    for field in ["resources", "restartPolicy"] {
        if let Some(value) = container.get(field) {
            kept.insert(field.to_owned(), value.clone());
        }
    }
    if let Some(ports) = container["ports"].as_array() {
        let held = ports.iter().filter(|port| on_host || !port["hostPort"].is_null());
        kept.insert("ports".to_owned(), held.cloned().collect());
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reported(pod: &Value) -> Vec<String> {
        let template = json!({
            "headGroupSpec": {"template": {"spec": {"containers": [{}]}}},
            "workerGroupSpecs": [{"groupName": "w", "template": {"spec": pod}}],
        });
        let mut problems = Vec::new();
        check_scheduling(&template, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn scheduling_rules_without_end_are_refused_with_field_and_cure() {
        let terms: Vec<Value> =
            (0..5_000).map(|n| json!({"topologyKey": format!("a{n:04}"), "labelSelector": {}})).collect();
        let affinity = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
        assert_eq!(
            reported(&json!({"containers": [{}], "affinity": affinity})),
            [
                "spec.template.spec.workerGroupSpecs[0].template.spec: affinity, tolerations, topologySpreadConstraints, nodeSelector, \
              resources and host ports take 211 KiB of JSON, at most 8 KiB are allowed: label the nodes, and select them by that label"
            ]
        );
        let many = |name: &str| (0..700).map(|n| json!({name: n + 1, "protocol": "TCP"})).collect::<Vec<_>>();
        let amounts: serde_json::Map<String, Value> =
            (0..700).map(|n| (format!("example.com/{n}"), json!(1))).collect();
        for pod in [
            json!({"tolerations": many("key")}),
            json!({"topologySpreadConstraints": many("maxSkew")}),
            json!({"nodeSelector": amounts}),
            json!({"containers": [{"resources": {"limits": amounts}}]}),
            json!({"initContainers": [{"resources": {"requests": amounts}}]}),
            json!({"containers": [{"ports": many("hostPort")}]}),
            json!({"hostNetwork": true, "containers": [{"ports": many("containerPort")}]}),
        ] {
            assert_eq!(reported(&pod).len(), 1, "{pod}");
        }
    }

    #[test]
    fn large_fields_beside_scheduling_are_accepted() {
        let env: Vec<Value> = (0..2_000).map(|n| json!({"name": format!("N{n}"), "value": "v"})).collect();
        let ports: Vec<Value> = (0..700).map(|n| json!({"containerPort": n})).collect();
        assert_eq!(reported(&json!({"containers": [{"env": env, "ports": ports}]})), Vec::<String>::new());
        assert_eq!(reported(&Value::Null), Vec::<String>::new());
    }

    #[test]
    fn a_pod_keeps_the_fields_that_capacity_needs_and_no_others() {
        let pod = json!({
            "containers": [{
                "name": "ray", "env": [{"name": "A", "value": "b"}], "resources": {"limits": {"cpu": 1}},
                "ports": [{"containerPort": 1}, {"containerPort": 2, "hostPort": 2}]
            }],
            "initContainers": [{"restartPolicy": "Always", "command": ["sh"]}],
            "schedulerName": "s", "priorityClassName": "p", "volumes": [], "tolerations": [], "serviceAccountName": "a"
        });
        let kept = json!({
            "containers": [{"resources": {"limits": {"cpu": 1}}, "ports": [{"containerPort": 2, "hostPort": 2}]}],
            "initContainers": [{"restartPolicy": "Always"}],
            "schedulerName": "s", "priorityClassName": "p", "tolerations": []
        });
        assert_eq!(rules(&pod), kept);
        let mut on_host = pod;
        on_host["hostNetwork"] = json!(true);
        assert_eq!(rules(&on_host)["containers"][0]["ports"].as_array().map(Vec::len), Some(2));
    }
}
