//! One spelling for all templates of which Kubernetes and KubeRay make the same pods. AIBrix's CRD stores defaults in
//! the template and Go clients write nulls and empty objects; an apply of the user's own file takes them out again,
//! and no group must be replaced for that. Only defaults of the CRDs of KubeRay and AIBrix are known here: what else
//! differs is another template.

use serde_json::{Map, Value, json};

use crate::quantity::quantity_of;
use crate::spec::RayClusterTemplate;

/// Objects that mean the same empty as missing, by their field. Not among them: `emptyDir`, `labelSelector`,
/// `namespaceSelector` and all others whose presence says something.
const EMPTY_IS_NONE: [&str; 19] = [
    "affinity",
    "annotations",
    "capabilities",
    "dnsConfig",
    "labels",
    "lifecycle",
    "limits",
    "matchLabels",
    "metadata",
    "nodeAffinity",
    "nodeSelector",
    "overhead",
    "podAffinity",
    "podAntiAffinity",
    "requests",
    "resources",
    "seLinuxOptions",
    "securityContext",
    "windowsOptions",
];

/// What the pod revision is the hash of: metadata and spec of a template in their one spelling.
pub(crate) fn template(template: &RayClusterTemplate) -> Value {
    let mut metadata = Map::new();
    if let Some(given) = &template.metadata {
        for (field, given) in [("labels", &given.labels), ("annotations", &given.annotations)] {
            if !given.is_empty() {
                metadata.insert(field.to_owned(), json!(given));
            }
        }
    }
    let mut whole = json!({ "spec": spec(&template.spec) });
    if let Some(whole) = whole.as_object_mut().filter(|_| !metadata.is_empty()) {
        whole.insert("metadata".to_owned(), Value::Object(metadata));
    }
    whole
}

/// A RayClusterSpec in its one spelling.
fn spec(given: &Value) -> Value {
    let mut spec = given.clone();
    drop_nulls(&mut spec);
    let scales = spec["enableInTreeAutoscaling"] == true;
    let Some(fields) = spec.as_object_mut() else { return spec };
    drop_if(fields, &[("enableInTreeAutoscaling", json!(false)), ("suspend", json!(false))]);
    drop_if(fields, &[("headServiceAnnotations", json!({})), ("autoscalerOptions", json!({}))]);
    if let Some(head) = fields.get_mut("headGroupSpec").and_then(Value::as_object_mut) {
        drop_if(head, &[("enableIngress", json!(false))]);
        if let Some(service) = head.get_mut("headService").and_then(|service| service.get_mut("spec")) {
            within_pod("headService", service);
        }
        group(head);
    }
    if let Some(workers) = fields.get_mut("workerGroupSpecs").and_then(Value::as_array_mut) {
        for workers in workers.iter_mut().filter_map(Value::as_object_mut) {
            drop_if(workers, &[("numOfHosts", json!(1)), ("replicas", json!(0)), ("suspend", json!(false))]);
            // Bounds that bind nobody, unless Ray's autoscaler moves between them.
            if !scales {
                drop_if(workers, &[("minReplicas", json!(0)), ("maxReplicas", json!(i32::MAX))]);
            }
            if let Some(strategy) = workers.get_mut("scaleStrategy").and_then(Value::as_object_mut) {
                drop_if(strategy, &[("workersToDelete", json!([]))]);
            }
            drop_if(workers, &[("scaleStrategy", json!({}))]);
            group(workers);
        }
    }
    drop_if(fields, &[("workerGroupSpecs", json!([]))]);
    spec
}

/// What the head and the worker groups have in common.
fn group(fields: &mut Map<String, Value>) {
    // Older KubeRay asks for it, so nearly all manifests have it.
    fields.entry("rayStartParams").or_insert_with(|| json!({}));
    if let Some(template) = fields.get_mut("template") {
        within_pod("template", template);
    }
}

/// Everything below `parent` in a pod template, or in the spec of a Service.
fn within_pod(parent: &str, value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| within_pod(parent, item)),
        Value::Object(fields) => {
            for (field, value) in fields.iter_mut() {
                within_pod(field, value);
                if is_quantity(parent, field) {
                    amount(value);
                }
            }
            fields.retain(|field, value| !is_none(field, value) && !is_default(parent, field, value));
        }
        _ => {}
    }
}

fn is_none(field: &str, value: &Value) -> bool {
    match value {
        // No list of a pod spec means something else empty than missing.
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() && EMPTY_IS_NONE.contains(&field),
        _ => false,
    }
}

/// Defaults that the CRDs of KubeRay and AIBrix store in pod templates.
fn is_default(parent: &str, field: &str, value: &Value) -> bool {
    match (parent, field) {
        ("ports", "protocol") => value == "TCP",
        (
            "configMap"
            | "configMapKeyRef"
            | "configMapRef"
            | "imagePullSecrets"
            | "nodePublishSecretRef"
            | "secret"
            | "secretKeyRef"
            | "secretRef",
            "name",
        )
        | ("grpc", "service") => value == "",
        ("azureDisk", "fsType") => value == "ext4",
        ("azureDisk", "readOnly") => value == false,
        ("iscsi", "iscsiInterface") => value == "default",
        ("rbd", "keyring") => value == "/etc/ceph/keyring",
        ("rbd", "pool") => value == "rbd",
        ("rbd", "user") => value == "admin",
        ("scaleIO", "fsType") => value == "xfs",
        ("scaleIO", "storageMode") => value == "ThinProvisioned",
        _ => false,
    }
}

fn is_quantity(parent: &str, field: &str) -> bool {
    matches!(parent, "limits" | "requests" | "overhead") || field == "sizeLimit"
}

/// A quantity in whole units, or in thousandths where it has such: `"8"`, `"8000m"` and 8 are one, and Go's types write it otherwise
/// than people do.
fn amount(value: &mut Value) {
    let Some(thousandths) = quantity_of(value).and_then(|amount| i64::try_from(amount).ok()) else { return };
    *value =
        if thousandths % 1000 == 0 { json!(thousandths / 1000) } else { json!(format!("{thousandths}m")) };
}

/// The API server drops nulls that a schema does not ask for.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        _ => {}
    }
}

fn drop_if(fields: &mut Map<String, Value>, defaults: &[(&str, Value)]) {
    for (field, default) in defaults {
        if fields.get(*field) == Some(default) {
            fields.remove(*field);
        }
    }
}

#[cfg(test)]
mod tests;
