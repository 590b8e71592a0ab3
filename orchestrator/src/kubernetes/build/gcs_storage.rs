//! Where Ray keeps its control state outside the head (GCS fault tolerance). Two heads in one storage namespace read each other's nodes,
//! jobs and placement groups, and when the first of their RayClusters is deleted, KubeRay's clean-up wipes what the other lives on. So a
//! namespace that a template names is one for each group. A template that names none is left alone: KubeRay takes the RayCluster's UID.
//!
//! KubeRay 1.6.2 (`configureGCSFaultTolerance`) takes it from the option, else from the annotation, and a variable of the head's
//! first container beats both.

use std::collections::BTreeMap;

use serde_json::{Value, json};

const ANNOTATION: &str = "ray.io/external-storage-namespace";
const VARIABLE: &str = "RAY_external_storage_namespace";

/// Puts the group's name behind each storage namespace that the template names.
pub(super) fn separate(spec: &mut Value, annotations: &mut BTreeMap<String, String>, group: &str) {
    if let Some(name) = spec.pointer_mut("/gcsFaultToleranceOptions/externalStorageNamespace") {
        suffix(name, group);
    }
    if let Some(name) = annotations.get_mut(ANNOTATION).filter(|name| !name.is_empty()) {
        *name = format!("{name}-{group}");
    }
    let variables =
        spec.pointer_mut("/headGroupSpec/template/spec/containers/0/env").and_then(Value::as_array_mut);
    for variable in variables.into_iter().flatten().filter(|variable| variable["name"] == VARIABLE) {
        if let Some(name) = variable.get_mut("value") {
            suffix(name, group);
        }
    }
}

fn suffix(name: &mut Value, group: &str) {
    if let Some(text) = name.as_str().filter(|text| !text.is_empty()) {
        *name = json!(format!("{text}-{group}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_a_storage_namespace_of_its_own_wherever_it_is_named() {
        let mut spec = json!({
            "gcsFaultToleranceOptions": {"redisAddress": "redis:6379", "externalStorageNamespace": "llama"},
            "headGroupSpec": {"template": {"spec": {"containers": [
                {"name": "ray", "env": [{"name": VARIABLE, "value": "llama"}, {"name": "A", "value": "llama"}]},
                {"name": "other", "env": [{"name": VARIABLE, "value": "llama"}]},
            ]}}}
        });
        let mut annotations = BTreeMap::from([(ANNOTATION.to_owned(), "llama".to_owned())]);
        separate(&mut spec, &mut annotations, "llama-abc-0");
        assert_eq!(spec["gcsFaultToleranceOptions"]["externalStorageNamespace"], "llama-llama-abc-0");
        assert_eq!(annotations[ANNOTATION], "llama-llama-abc-0");
        let values = |container: usize| {
            let env = spec["headGroupSpec"]["template"]["spec"]["containers"][container]["env"].as_array();
            env.unwrap().iter().map(|env| env["value"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(values(0), ["llama-llama-abc-0", "llama"]);
        assert_eq!(values(1), ["llama"], "KubeRay reads that of the first container");
    }

    #[test]
    fn a_template_that_names_none_is_left_alone() {
        for spec in [
            json!({}),
            json!({"gcsFaultToleranceOptions": {"redisAddress": "redis:6379"}}),
            json!({"gcsFaultToleranceOptions": {"externalStorageNamespace": ""}}),
            json!({"gcsFaultToleranceOptions": {"externalStorageNamespace": null}}),
            json!({"headGroupSpec": {"template": {"spec": {"containers": [{"env": [{"name": VARIABLE, "valueFrom": {}}]}]}}}}),
        ] {
            let (mut after, mut annotations) = (spec.clone(), BTreeMap::new());
            separate(&mut after, &mut annotations, "g");
            assert_eq!((after, annotations), (spec, BTreeMap::new()));
        }
    }
}
