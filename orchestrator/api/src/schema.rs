//! What the derive cannot say about the CRD: schemas of a fleet's single fields here, of the template in [`template`], the validation rules (CEL)
//! that span several fields in [`rules`]. Only schema; no validation code runs here.

mod rules;
mod template;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

pub(crate) use ray_bridge_model::schema::{duration, duration_or_none};
use rules::{root_rules, spec_rules};
pub(crate) use template::ray_cluster_spec;

use crate::spec::RayClusterFleet;
use crate::valid::strategy::MOST;

/// A number of groups, or a percentage of them.
pub(crate) fn groups_or_percent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "minimum": 0,
        "maximum": MOST,
        "pattern": "^[0-9]{1,3}%$"
    })
}

/// Labels, bounded so that the rules over them stay within the API server's cost limit.
pub(crate) fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 63 }
    })
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
            if let Some(replicas) = field_at(spec, &["replicas"]) {
                // The derive can give no default to an optional field.
                replicas.default = Some(JSON(json!(1)));
            }
            as_aibrix_stores_it(spec);
            if let Some(backoff) = field_at(spec, &["failurePolicy", "backoff"]) {
                backoff.x_kubernetes_validations.get_or_insert_default().push(rules::backoff());
            }
            list_map(spec, &["model", "engine", "env"], "name");
        }
        if let Some(status) = properties.get_mut("status") {
            list_map(status, &["conditions"], "type");
            list_map(status, &["groups"], "name");
        }
        drop_rust_formats(root);
    }
    crd
}

fn field_at<'s>(object: &'s mut JSONSchemaProps, path: &[&str]) -> Option<&'s mut JSONSchemaProps> {
    path.iter().try_fold(object, |object, field| object.properties.as_mut()?.get_mut(*field))
}

/// What AIBrix's CRD takes, or writes by itself, is taken here as well.
fn as_aibrix_stores_it(spec: &mut JSONSchemaProps) {
    if let Some(kinds) = field_at(spec, &["strategy", "type"]).and_then(|kind| kind.enum_.as_mut()) {
        kinds.push(JSON(json!("")));
    }
    let text = || JSONSchemaProps { type_: Some("string".to_owned()), ..JSONSchemaProps::default() };
    let ignored = |schema| JSONSchemaProps {
        description: Some("Taken as AIBrix takes it, and ignored: every RayCluster gets its own.".to_owned()),
        ..schema
    };
    let list = JSONSchemaProps {
        type_: Some("array".to_owned()),
        items: Some(JSONSchemaPropsOrArray::Schema(Box::new(text()))),
        ..JSONSchemaProps::default()
    };
    if let Some(metadata) = field_at(spec, &["template", "metadata"]).and_then(|it| it.properties.as_mut()) {
        metadata.insert("name".to_owned(), ignored(text()));
        metadata.insert("namespace".to_owned(), ignored(text()));
        metadata.insert("finalizers".to_owned(), ignored(list));
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
fn list_map(object: &mut JSONSchemaProps, path: &[&str], key: &str) {
    if let Some(list) = field_at(object, path) {
        list.x_kubernetes_list_type = Some("map".to_owned());
        list.x_kubernetes_list_map_keys = Some(vec![key.to_owned()]);
    }
}

/// The selector comes from the Kubernetes types without bounds; the rules need some.
fn bound_selector(spec: &mut JSONSchemaProps) {
    if let Some(labels) = field_at(spec, &["selector", "matchLabels"]) {
        labels.max_properties = Some(64);
    }
    if let Some(expressions) = field_at(spec, &["selector", "matchExpressions"]) {
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
