//! The schema of `spec.template.spec`, a RayClusterSpec of the KubeRay that is installed: only what the rules read is typed, everything
//! else is kept as it is. Rules stand at the lowest object that they read, so that one that was stored before does not stand in
//! the way of other changes.

use schemars::{Schema, SchemaGenerator};
use serde_json::json;

use super::rules;

/// A RayClusterSpec: only what the rules read is typed, everything else is kept as it is.
pub(crate) fn ray_cluster_spec(_: &mut SchemaGenerator) -> Schema {
    let limits = json!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}] }
    });
    let claims = json!({
        "type": "array",
        "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true }
    });
    let pod_template = json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "required": ["containers"],
                "properties": {
                    "containers": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 16,
                        "items": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": true,
                            "properties": {
                                "resources": {
                                    "type": "object",
                                    "x-kubernetes-preserve-unknown-fields": true,
                                    "properties": { "limits": limits, "claims": claims }
                                }
                            }
                        }
                    }
                }
            }
        }
    });
    let texts =
        json!({ "type": "object", "maxProperties": 64, "additionalProperties": { "type": "string" } });
    let mut head_params = texts.clone();
    head_params["x-kubernetes-validations"] = rules::head_parameters();
    let number = json!({ "type": "integer", "format": "int32", "minimum": 0 });
    let worker_group = json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "required": ["groupName", "template"],
        "properties": {
            "groupName": { "type": "string", "maxLength": 63 },
            "replicas": { "type": "integer", "format": "int32", "minimum": 0, "maximum": 10000 },
            "minReplicas": number,
            "maxReplicas": number,
            "numOfHosts": { "type": "integer", "format": "int32", "minimum": 1, "maximum": 10000 },
            "suspend": { "type": "boolean" },
            "resources": texts,
            "rayStartParams": texts,
            "template": pod_template
        }
    });
    let spec = json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "required": ["headGroupSpec"],
        "properties": {
            "headGroupSpec": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "required": ["template"],
                "properties": { "resources": texts, "rayStartParams": head_params, "template": pod_template }
            },
            "workerGroupSpecs": {
                "type": "array",
                "maxItems": 16,
                "items": worker_group,
                "x-kubernetes-validations": rules::worker_groups()
            },
            "authOptions": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "properties": { "enableK8sTokenAuth": { "type": "boolean" } },
                "x-kubernetes-validations": rules::authentication()
            }
        }
    });
    match spec {
        serde_json::Value::Object(map) => map.into(),
        _ => Schema::default(),
    }
}
