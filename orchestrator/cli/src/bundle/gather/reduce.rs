//! What is left of objects of which a bundle needs a part only. Pure.

use serde_json::{Map, Value, json};

/// Fields of a pod's spec by which it takes room on nodes, or keeps others off.
const ROOM_SPEC: [&str; 12] = [
    "nodeName",
    "overhead",
    "resources",
    "nodeSelector",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "priorityClassName",
    "hostNetwork",
    "schedulerName",
    "schedulingGates",
    "readinessGates",
];
/// The same of a container.
const ROOM_CONTAINER: [&str; 2] = ["resources", "restartPolicy"];

/// What stays of a managed field: who wrote what when, and whether that was the spec.
const KEPT: [&str; 4] = ["manager", "operation", "subresource", "time"];

/// Without what only machines read. Of its managed fields it keeps who wrote what when, which is how the time of the spec is known.
pub(super) fn any(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(Value::Array(writes)) = metadata.get_mut("managedFields") else { return };
    for write in writes {
        let of_spec = !write["fieldsV1"]["f:spec"].is_null();
        if let Some(write) = write.as_object_mut() {
            write.retain(|field, _| KEPT.contains(&field.as_str()));
            write.insert("fieldsV1".to_owned(), if of_spec { json!({"f:spec": {}}) } else { json!({}) });
        }
    }
}

/// A node: what its machine is and how it is, without images, volumes and annotations.
pub(super) fn node(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("annotations");
        metadata.remove("managedFields");
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        for field in ["images", "volumesInUse", "volumesAttached"] {
            status.remove(field);
        }
    }
}

/// A node on which nothing of the fleets is: its room alone.
pub(super) fn other_node(object: &Value) -> Value {
    let (metadata, status) = (&object["metadata"], &object["status"]);
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": metadata["name"], "labels": metadata["labels"], "deletionTimestamp": metadata["deletionTimestamp"]},
        "spec": {"taints": object["spec"]["taints"], "unschedulable": object["spec"]["unschedulable"]},
        "status": {"allocatable": status["allocatable"], "conditions": only(&status["conditions"], &["type", "status"])}
    })
}

/// A pod as others feel it; one that is not of the fleets has a number for a name.
pub(super) fn room_of_pod(object: &Value, name: &str) -> Value {
    let (metadata, spec) = (&object["metadata"], &object["spec"]);
    let mut kept = pick(spec, &ROOM_SPEC);
    for field in ["containers", "initContainers"] {
        if let Some(containers) = spec[field].as_array() {
            let containers = containers.iter().map(|container| {
                let mut kept = pick(container, &ROOM_CONTAINER);
                let ports = only(&container["ports"], &["containerPort", "hostPort", "hostIP", "protocol"]);
                if !ports.is_null() {
                    kept.insert("ports".to_owned(), ports);
                }
                Value::Object(kept)
            });
            kept.insert(field.to_owned(), containers.collect());
        }
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": metadata["namespace"], "labels": metadata["labels"],
            "deletionTimestamp": metadata["deletionTimestamp"]
        },
        "spec": kept,
        "status": {"phase": object["status"]["phase"]}
    })
}

/// A CRD: which versions it serves, and the names of the fields of spec and status.
pub(super) fn crd(object: &mut Value) {
    any(object);
    let versions = object.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
    for version in versions.into_iter().flatten() {
        let properties = &version["schema"]["openAPIV3Schema"]["properties"];
        let names = |part: &str| -> Map<String, Value> {
            let fields = properties[part]["properties"].as_object().into_iter().flatten();
            fields.map(|(name, field)| (name.clone(), json!({"type": field["type"]}))).collect()
        };
        let (spec, status) = (names("spec"), names("status"));
        version["schema"] = json!({"openAPIV3Schema": {"properties": {
            "spec": {"properties": spec}, "status": {"properties": status}
        }}});
    }
}

fn pick(object: &Value, fields: &[&str]) -> Map<String, Value> {
    let all = object.as_object().into_iter().flatten();
    all.filter(|(name, _)| fields.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Items of a list with these fields alone; null if it is none.
fn only(list: &Value, fields: &[&str]) -> Value {
    list.as_array()
        .map_or(Value::Null, |items| items.iter().map(|item| Value::Object(pick(item, fields))).collect())
}
