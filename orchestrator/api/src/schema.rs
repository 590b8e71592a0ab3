//! What the derive can not say about the CRD: schemas of preserved fields, defaults and the
//! validation rules (CEL) that span several fields. Only schema; no validation code runs here.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, ValidationRule,
};
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

use crate::names::MAX_FLEET_NAME;
use crate::spec::RayClusterFleet;

/// Default of the parallel sizes.
pub(crate) fn one_u32() -> u32 {
    1
}

/// What a duration looks like.
pub(crate) const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";

/// A duration such as `90s`, `10m` or `1h30m`.
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "pattern": DURATION
    })
}

/// The key of a label: an optional domain before a slash, then a name.
pub(crate) const LABEL_KEY: &str =
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// Longest key of a label: 253 characters of domain, a slash, 63 of name.
pub(crate) const LABEL_KEY_LENGTH: usize = 317;
/// Most levels of a topology.
pub(crate) const LEVELS: usize = 8;

/// The key of a label, such as `topology.kubernetes.io/zone`.
pub(crate) fn label_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": LABEL_KEY_LENGTH, "pattern": LABEL_KEY })
}

/// Keys of labels.
pub(crate) fn label_keys(of: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": LEVELS, "items": label_key(of) })
}

/// Labels, bounded so that the rules over them stay within the API server's cost limit.
pub(crate) fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 63 }
    })
}

/// A RayClusterSpec: only what the rules read is typed, everything else is kept as it is.
pub(crate) fn ray_cluster_spec(_: &mut SchemaGenerator) -> Schema {
    let limits = json!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}] }
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
                                    "properties": { "limits": limits }
                                }
                            }
                        }
                    }
                }
            }
        }
    });
    let start_params = json!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string" }
    });
    let worker_group = json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "required": ["groupName", "template"],
        "properties": {
            "groupName": { "type": "string", "maxLength": 63 },
            "replicas": { "type": "integer", "format": "int32", "minimum": 0, "maximum": 10000 },
            "numOfHosts": { "type": "integer", "format": "int32", "minimum": 1, "maximum": 10000 },
            "rayStartParams": start_params,
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
                "properties": { "rayStartParams": start_params, "template": pod_template }
            },
            "workerGroupSpecs": { "type": "array", "maxItems": 16, "items": worker_group }
        }
    });
    match spec {
        serde_json::Value::Object(map) => map.into(),
        _ => Schema::default(),
    }
}

/// Sum of the GPUs of a pod template's first container (Ray's own, as KubeRay counts it), or
/// `num-gpus` of the start parameters, as a CEL expression over `group`.
///
/// `int()` takes a limit as it is, number or text. A `string()` around it would cost so much by the API server's
/// estimate, which knows no bound for a limit's text, that it refuses the whole CRD.
fn gpus_of(group: &str) -> String {
    let limits = format!("{group}.template.spec.containers[0].resources.limits");
    format!(
        "(has({group}.rayStartParams) && 'num-gpus' in {group}.rayStartParams \
         ? int({group}.rayStartParams['num-gpus']) \
         : (has({group}.template.spec.containers[0].resources) && has({limits}) \
         ? {limits}.filter(k, k.endsWith('gpu')).map(k, int({limits}[k])).sum() : 0))"
    )
}

fn rule(rule: String, message: &str, field_path: Option<&str>) -> ValidationRule {
    ValidationRule {
        rule,
        message: Some(message.to_owned()),
        field_path: field_path.map(str::to_owned),
        reason: Some("FieldValueInvalid".to_owned()),
        ..ValidationRule::default()
    }
}

fn root_rules() -> Vec<ValidationRule> {
    vec![rule(
        format!(
            "size(self.metadata.name) <= {MAX_FLEET_NAME} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')"
        ),
        "metadata.name must be at most 37 characters: a lower-case letter, then letters, digits or '-'; KubeRay allows 53 characters for the RayClusters that are named after the fleet",
        None,
    )]
}

fn spec_rules() -> Vec<ValidationRule> {
    let gpus = format!(
        "{} + (has(self.template.spec.workerGroupSpecs) ? self.template.spec.workerGroupSpecs.map(g, \
         (has(g.replicas) ? g.replicas : 0) * (has(g.numOfHosts) ? g.numOfHosts : 1) * {}).sum() : 0)",
        gpus_of("self.template.spec.headGroupSpec"),
        gpus_of("g"),
    );
    vec![
        rule(
            "!has(self.selector.matchLabels) || (has(self.template.metadata) && has(self.template.metadata.labels) && \
             self.selector.matchLabels.all(k, k in self.template.metadata.labels && \
             self.template.metadata.labels[k] == self.selector.matchLabels[k]))"
                .to_owned(),
            "selector.matchLabels must be among template.metadata.labels: add the missing labels to the template, or correct the selector",
            Some(".selector.matchLabels"),
        ),
        rule(
            "(has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0) || \
             (has(self.selector.matchExpressions) && size(self.selector.matchExpressions) > 0)"
                .to_owned(),
            "selector must not be empty: it would select every RayCluster of the namespace",
            Some(".selector"),
        ),
        rule(
            "self.selector == oldSelf.selector".to_owned(),
            "selector can not be changed: delete the fleet and create it anew",
            Some(".selector"),
        ),
        rule(
            format!("!has(self.model) || self.model.parallelism.tensor * self.model.parallelism.pipeline == {gpus}"),
            "model.parallelism: tensor x pipeline must equal the GPUs of the template (head plus all workers): change parallelism, the GPU limits or workerGroupSpecs[].replicas",
            Some(".model.parallelism"),
        ),
        rule(
            "!has(self.model) || !has(self.model.parallelism.data) || self.model.parallelism.data == 1".to_owned(),
            "model.parallelism.data must be 1: vLLM on Ray places data-parallel engines by itself, so that they could not be held to a plan; raise replicas instead",
            Some(".model.parallelism"),
        ),
        rule(
            "!has(self.model) || !has(self.model.engine) || !has(self.model.engine.type) || self.model.engine.type != 'custom' || has(self.model.engine.entrypoint)".to_owned(),
            "model.engine.entrypoint is required for type custom: give it as module:function",
            Some(".model.engine"),
        ),
    ]
}

/// The CustomResourceDefinition, as it is shipped in `manifests/`.
///
/// It stays small enough for a client-side `kubectl apply`, whose annotation holds 256 KiB.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = RayClusterFleet::crd();
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        root.x_kubernetes_validations.get_or_insert_default().extend(root_rules());
        let Some(properties) = root.properties.as_mut() else { continue };
        if let Some(spec) = properties.get_mut("spec") {
            spec.x_kubernetes_validations.get_or_insert_default().extend(spec_rules());
            bound_selector(spec);
            default_to_one(spec, "replicas");
        }
        if let Some(status) = properties.get_mut("status") {
            list_map(status, "conditions", "type");
            list_map(status, "groups", "name");
        }
        drop_rust_formats(root);
    }
    crd
}

/// The derive can give no default to an optional field.
fn default_to_one(object: &mut JSONSchemaProps, field: &str) {
    if let Some(field) = object.properties.as_mut().and_then(|properties| properties.get_mut(field)) {
        field.default = Some(JSON(json!(1)));
    }
}

/// Formats such as `uint32` are Rust's own; kubectl warns of them.
fn drop_rust_formats(schema: &mut JSONSchemaProps) {
    if schema.format.as_ref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    schema.properties.iter_mut().flatten().for_each(|(_, field)| drop_rust_formats(field));
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        drop_rust_formats(items);
    }
}

/// Says that a list is keyed, so that appliers merge its entries instead of replacing the list.
fn list_map(object: &mut JSONSchemaProps, field: &str, key: &str) {
    if let Some(list) = object.properties.as_mut().and_then(|properties| properties.get_mut(field)) {
        list.x_kubernetes_list_type = Some("map".to_owned());
        list.x_kubernetes_list_map_keys = Some(vec![key.to_owned()]);
    }
}

/// The selector comes from the Kubernetes types without bounds; the rules need some.
fn bound_selector(spec: &mut JSONSchemaProps) {
    let selector = spec.properties.as_mut().and_then(|properties| properties.get_mut("selector"));
    let Some(fields) = selector.and_then(|selector| selector.properties.as_mut()) else { return };
    if let Some(labels) = fields.get_mut("matchLabels") {
        labels.max_properties = Some(64);
    }
    if let Some(expressions) = fields.get_mut("matchExpressions") {
        expressions.max_items = Some(16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crd_fits_client_side_apply() {
        let size = serde_json::to_vec(&crd()).unwrap().len();
        assert!(size < 200 * 1024, "{size} bytes");
    }

    #[test]
    fn every_field_has_a_description() {
        let crd = serde_json::to_value(crd()).unwrap();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        for (name, field) in spec["properties"].as_object().unwrap() {
            assert!(field["description"].is_string(), "spec.{name} has no description");
        }
    }
}
