//! Where the engine answers that a template starts by itself: AIBrix's label, AIBrix's default, and the way to
//! say that there is none. Not whether it answers.

use std::collections::BTreeMap;

use kube::ResourceExt;
use ray_bridge_model::field_error::{FieldError, invalid};
use serde_json::Value;

use crate::names;
use crate::spec::RayClusterFleet;

/// The port that AIBrix's gateway asks when no label names one.
const DEFAULT: u16 = 8000;

/// Value of [`names::ANNOTATION_ENGINE_PORT`] of a template that starts no HTTP server.
const NONE: &str = "none";

/// Port of the engine that the template starts itself; `None` if it says that there is no such engine, or if its
/// head starts Ray and nothing else.
///
/// The annotation counts before the label, and of several places the one that is nearest to the pod: AIBrix's
/// gateway reads the head pod's labels alone. A label that is no port is none, as there.
pub(super) fn own_engine_port(fleet: &RayClusterFleet, problems: &mut Vec<FieldError>) -> Option<u16> {
    let template = &fleet.spec.template;
    let head = &template.spec["headGroupSpec"]["template"]["metadata"];
    let of_head = |kind: &str, key: &str| head[kind][key].as_str().map(str::to_owned);
    let of = |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned();
    let metadata = template.metadata.as_ref();

    let key = names::ANNOTATION_ENGINE_PORT;
    let said = of_head("annotations", key)
        .or_else(|| metadata.and_then(|metadata| of(&metadata.annotations, key)))
        .or_else(|| of(fleet.annotations(), key));
    if let Some(said) = said {
        if said == NONE {
            return None;
        }
        if let Some(port) = port(&said) {
            return Some(port);
        }
        let problem = format!(
            "`{said}` is no port: write the engine's port, or \"{NONE}\" if the pods start no HTTP server"
        );
        problems.push(invalid(&format!("metadata.annotations[{key}]"), problem));
    }

    let key = names::LABEL_MODEL_PORT;
    let number = head["labels"][key].as_u64().map(|number| number.to_string());
    of_head("labels", key)
        .or(number)
        .or_else(|| metadata.and_then(|metadata| of(&metadata.labels, key)))
        .or_else(|| of(fleet.labels(), key))
        .and_then(|label| port(&label))
        .or_else(|| may_serve(&template.spec["headGroupSpec"]["template"]["spec"]).then_some(DEFAULT))
}

/// Without a command of its own KubeRay starts Ray in the head's container, whatever its image would start.
fn may_serve(head: &Value) -> bool {
    let containers = head["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let bare =
        |container: &Value| ["command", "args", "lifecycle"].iter().all(|field| empty(&container[field]));
    !matches!(containers, [only] if bare(only))
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A fleet with metadata of its own, of its template, and of its head's pods.
    fn of(own: &Value, template: &Value, head: &Value) -> (Option<u16>, Vec<FieldError>) {
        let mut own = own.clone();
        own["name"] = json!("f");
        let fleet = serde_json::from_value(json!({
            "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet", "metadata": own,
            "spec": {
                "selector": {"matchLabels": {"app": "f"}},
                "template": {"metadata": template, "spec": {"headGroupSpec": {"template": {"metadata": head}}}}
            }
        }));
        let mut problems = Vec::new();
        (own_engine_port(&fleet.unwrap(), &mut problems), problems)
    }

    #[test]
    fn a_head_that_starts_ray_alone_has_no_engine() {
        let serving = json!([{"name": "ray", "args": ["vllm serve m"]}]);
        let port = |containers: &Value, label: Option<&str>| {
            let fleet = serde_json::from_value(json!({
                "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet", "metadata": {"name": "f"},
                "spec": {
                    "selector": {"matchLabels": {"app": "f"}},
                    "template": {"spec": {"headGroupSpec": {"template": {
                        "metadata": {"labels": {"model.aibrix.ai/port": label}}, "spec": {"containers": containers}
                    }}}}
                }
            }));
            own_engine_port(&fleet.unwrap(), &mut Vec::new())
        };
        let bare = json!([{"name": "ray", "image": "i", "args": [], "ports": [{"containerPort": 8265}]}]);
        assert_eq!((port(&bare, None), port(&bare, Some("9000"))), (None, Some(9000)));
        assert_eq!(port(&serving, None), Some(8000));
        assert_eq!(port(&json!([{"name": "ray"}, {"name": "engine"}]), None), Some(8000));
        let hooked = json!([{"name": "ray", "lifecycle": {"postStart": {"exec": {"command": ["serve"]}}}}]);
        assert_eq!(port(&hooked, None), Some(8000));
    }

    fn label(port: &str) -> Value {
        json!({"labels": {"model.aibrix.ai/port": port}})
    }

    fn annotation(port: &str) -> Value {
        json!({"annotations": {"rayfleet.io/engine-port": port}})
    }

    #[test]
    fn a_port_that_no_label_names_is_the_one_that_aibrix_asks() {
        let nothing = json!({});
        assert_eq!(of(&nothing, &nothing, &Value::Null), (Some(8000), vec![]));
        // Its gateway does the same with a label that it cannot read.
        for odd in ["http", "0", "65536", ""] {
            assert_eq!(of(&nothing, &nothing, &label(odd)), (Some(8000), vec![]), "{odd:?}");
        }
    }

    #[test]
    fn the_head_pods_label_comes_first_then_the_templates_then_the_fleets() {
        let nothing = json!({});
        assert_eq!(of(&label("1"), &label("2"), &label("3")).0, Some(3));
        assert_eq!(of(&label("1"), &label("2"), &nothing).0, Some(2));
        assert_eq!(of(&label("1"), &nothing, &nothing).0, Some(1));
    }

    #[test]
    fn a_template_without_a_server_says_so() {
        let nothing = json!({});
        for place in 0..3 {
            let mut of_place = [nothing.clone(), nothing.clone(), label("9000")];
            of_place[place]["annotations"] = annotation("none")["annotations"].clone();
            let [own, template, head] = &of_place;
            assert_eq!(of(own, template, head), (None, vec![]), "{place}");
        }
        assert_eq!(of(&annotation("none"), &annotation("9000"), &nothing).0, Some(9000));
    }

    #[test]
    fn an_annotation_that_is_no_port_is_refused_by_name() {
        for odd in ["None", "70000", "0", ""] {
            let (_, problems) = of(&annotation(odd), &json!({}), &json!({}));
            let problem = problems.first().unwrap().to_string();
            assert!(problem.contains("rayfleet.io/engine-port"), "{problem}");
            assert!(problem.contains("or \"none\""), "{problem}");
        }
    }
}
