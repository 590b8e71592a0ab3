//! The schema of `spec.template.spec`, a RayClusterSpec of the KubeRay that is installed: only what the rules read is typed, everything
//! else is kept as it is. Rules stand at the lowest object that they read, so that one that was stored before does not stand in
//! the way of other changes.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::rules;

/// A RayClusterSpec: only what the rules read is typed, everything else is kept as it is.
pub(crate) fn ray_cluster_spec(_: &mut SchemaGenerator) -> Schema {
    let text_or_number =
        json!({ "x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}] });
    let limits = json!({ "type": "object", "maxProperties": 32, "additionalProperties": text_or_number });
    let claims = json!({ "type": "array", "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    let resources = open(&[], json!({ "limits": limits, "claims": claims }));
    let container = open(&[], json!({ "resources": resources }));
    let containers = json!({ "type": "array", "minItems": 1, "maxItems": 16, "items": container });
    let pod_template =
        open(&["spec"], json!({ "spec": open(&["containers"], json!({ "containers": containers })) }));
    let texts =
        json!({ "type": "object", "maxProperties": 64, "additionalProperties": { "type": "string" } });
    let mut head_params = texts.clone();
    head_params["x-kubernetes-validations"] = rules::head_parameters();
    let number = json!({ "type": "integer", "format": "int32", "minimum": 0 });
    let worker_group = open(
        &["groupName", "template"],
        json!({
            "groupName": { "type": "string", "maxLength": 63 },
            "replicas": { "type": "integer", "format": "int32", "minimum": 0, "maximum": 10000 },
            "minReplicas": number,
            "maxReplicas": number,
            "numOfHosts": { "type": "integer", "format": "int32", "minimum": 1, "maximum": 10000 },
            "suspend": { "type": "boolean" },
            "resources": texts,
            "rayStartParams": texts,
            "template": pod_template
        }),
    );
    let head = open(
        &["template"],
        json!({ "resources": texts, "rayStartParams": head_params, "template": pod_template }),
    );
    let mut authentication = open(&[], json!({ "enableK8sTokenAuth": { "type": "boolean" } }));
    authentication["x-kubernetes-validations"] = rules::authentication();
    let workers = json!({
        "type": "array", "maxItems": 16, "items": worker_group, "x-kubernetes-validations": rules::worker_groups()
    });
    let properties =
        json!({ "headGroupSpec": head, "workerGroupSpecs": workers, "authOptions": authentication });
    Schema::try_from(open(&["headGroupSpec"], properties)).unwrap_or_default()
}

/// An object of which only these fields have a type; `required` must be there.
fn open(required: &[&str], properties: Value) -> Value {
    let mut object = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    object["properties"] = properties;
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}
