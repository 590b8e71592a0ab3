//! What a create or an update may do to an object: fields that the server fills in, keeps, or refuses to
//! change. Pure functions.

use serde_json::{Map, Value, json};

use super::error::FieldError;
use super::fields::{deleting, finalizers, metadata, put, text};
use super::{Kind, fields};

/// Metadata that only the server sets.
const OWN: [&str; 3] = ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];

/// Removes empty lists and maps: a real server reads metadata into a type that drops them.
fn without_empty(members: &mut Map<String, Value>) {
    members.retain(|_, value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    });
}

/// Turns a sent object into a new stored one.
pub(super) fn begin(kind: &Kind, object: &mut Value, uid: &str, now: &str) {
    let members = metadata(object);
    for field in OWN.iter().chain(&["resourceVersion", "selfLink", "generation"]) {
        members.remove(*field);
    }
    members.insert("uid".to_owned(), json!(uid));
    members.insert("creationTimestamp".to_owned(), json!(now));
    without_empty(members);
    if kind.has_generation() {
        members.insert("generation".to_owned(), json!(1));
    }
    if kind.has_status() {
        fields::members(object).remove("status");
    }
}

/// The object to store when `new` was sent for `old`: parts that the call cannot change are those of `old`.
pub(super) fn merge(kind: &Kind, status: bool, old: &Value, mut new: Value) -> Value {
    if status {
        let new_status = fields::members(&mut new).remove("status");
        let others = old.as_object().into_iter().flatten().filter(|(field, _)| *field != "status");
        let mut kept: Value = others.map(|(field, value)| (field.clone(), value.clone())).collect();
        put(fields::members(&mut kept), "status", new_status);
        if kind.custom() {
            return kept;
        }
        // For built-in kinds a status update also takes metadata, but not owner references.
        let owners = old.pointer("/metadata/ownerReferences").cloned();
        let mut sent = std::mem::take(metadata(&mut new));
        put(&mut sent, "ownerReferences", owners);
        fields::members(&mut kept).insert("metadata".to_owned(), Value::Object(sent));
        new = kept;
    } else if kind.has_status() {
        put(fields::members(&mut new), "status", old.get("status").cloned());
    }
    keep_own(old, &mut new);
    let generation = fields::number(old, "/metadata/generation");
    if let Some(generation) = generation {
        let next = if !status && differ(kind, old, &new) { generation + 1 } else { generation };
        metadata(&mut new).insert("generation".to_owned(), json!(next));
    }
    new
}

fn keep_own(old: &Value, new: &mut Value) {
    let old_of = |field: &str| old.pointer(&format!("/metadata/{field}")).filter(|v| !v.is_null()).cloned();
    let (uid, version) = (old_of("uid"), old_of("resourceVersion"));
    let being_deleted = deleting(old);
    let kept: Vec<(&str, Option<Value>)> = OWN.iter().map(|field| (*field, old_of(field))).collect();
    let members = metadata(new);
    for (field, value) in kept {
        // A deletion timestamp that was not requested is refused later, not removed here.
        if field == "creationTimestamp" || being_deleted {
            put(members, field, value);
        }
    }
    // managedFields are stored as the client sends them, times included.
    if !members.contains_key("managedFields") {
        put(members, "managedFields", old_of("managedFields"));
    }
    members.remove("selfLink");
    if members.get("uid").and_then(Value::as_str).is_none_or(str::is_empty) {
        put(members, "uid", uid);
    }
    put(members, "resourceVersion", version);
    without_empty(members);
}

/// Whether the generation increases: for pods when the spec differs, for others when anything but metadata
/// and status does.
fn differ(kind: &Kind, old: &Value, new: &Value) -> bool {
    if *kind == Kind::POD {
        return old.get("spec") != new.get("spec");
    }
    let counts =
        |(field, _): &(&String, &Value)| *field != "metadata" && !(kind.has_status() && *field == "status");
    let all = |object| Value::as_object(object).into_iter().flatten();
    !all(old).filter(counts).eq(all(new).filter(counts))
}

/// What an update may not do to metadata.
pub(super) fn update_errors(kind: &Kind, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut faults = Vec::new();
    if deleting(old) {
        let before = finalizers(old);
        let added: Vec<&str> = finalizers(new).into_iter().filter(|name| !before.contains(name)).collect();
        if !added.is_empty() {
            let words: Vec<String> = added.iter().map(|name| format!("\"{name}\"")).collect();
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                words.join(", ")
            );
            faults.push(FieldError::forbidden("metadata.finalizers", &why));
        }
    }
    for field in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let of = |object: &Value| object.pointer(&format!("/metadata/{field}")).cloned().unwrap_or_default();
        if of(old) != of(new) {
            faults.push(FieldError::immutable(format!("metadata.{field}"), &of(new)));
        }
    }
    let data = |object: &Value| object.get("data").cloned().unwrap_or_default();
    if *kind == Kind::CONTROLLER_REVISION && data(old) != data(new) {
        faults.push(FieldError::immutable("data", &data(new)));
    }
    faults
}

/// Invalid owner references.
pub(super) fn owner_errors(object: &Value) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut controllers = 0;
    for owner in fields::list(object, "/metadata/ownerReferences") {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, &format!("/{field}")).is_empty() {
                let place = format!("metadata.ownerReferences.{field}");
                faults.push(FieldError::invalid(place, &json!(""), &format!("{field} must not be empty")));
            }
        }
        controllers += u32::from(owner.get("controller") == Some(&Value::Bool(true)));
    }
    if controllers > 1 {
        let owners = object.pointer("/metadata/ownerReferences").cloned().unwrap_or_default();
        let why = "Only one reference can have Controller set to true";
        faults.push(FieldError::invalid("metadata.ownerReferences", &owners, why));
    }
    faults
}

/// What clients may not change in the spec of an existing pod.
pub(super) fn pod_errors(old: &Value, new: &Value) -> Vec<FieldError> {
    let fixed = |pod: &Value| {
        let mut spec = pod.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        for field in ["activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations"] {
            spec.remove(field);
        }
        for list in ["containers", "initContainers"] {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.remove("image");
            }
        }
        spec
    };
    if old.get("spec") == new.get("spec") || fixed(old) == fixed(new) {
        return Vec::new();
    }
    let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    vec![FieldError::forbidden("spec", why)]
}

/// The metadata alone, as `PartialObjectMetadata`.
pub(super) fn partial(object: &Value) -> Value {
    let mut partial = Map::new();
    partial.insert("kind".to_owned(), json!("PartialObjectMetadata"));
    partial.insert("apiVersion".to_owned(), json!("meta.k8s.io/v1"));
    put(&mut partial, "metadata", object.get("metadata").cloned());
    Value::Object(partial)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(generation: u64) -> Value {
        json!({
            "metadata": {"name": "f", "uid": "u", "generation": generation, "resourceVersion": "7",
                "creationTimestamp": "then"},
            "spec": {"replicas": 1}, "status": {"replicas": 0},
        })
    }

    #[test]
    fn server_set_metadata_of_a_created_object_is_replaced() {
        let mut sent = fleet(9);
        sent["metadata"]["deletionTimestamp"] = json!("x");
        begin(&Kind::FLEET, &mut sent, "uid", "now");
        let wanted = json!({"name": "f", "uid": "uid", "creationTimestamp": "now", "generation": 1});
        assert_eq!(sent["metadata"], wanted);
        assert_eq!(sent.get("status"), None);
    }

    #[test]
    fn a_spec_update_keeps_the_status_and_increases_the_generation() {
        let mut sent = fleet(9);
        sent["spec"]["replicas"] = json!(2);
        sent["status"]["replicas"] = json!(5);
        let kept = merge(&Kind::FLEET, false, &fleet(3), sent);
        assert_eq!((&kept["spec"]["replicas"], &kept["status"]["replicas"]), (&json!(2), &json!(0)));
        assert_eq!(kept["metadata"]["generation"], 4);
    }

    #[test]
    fn a_status_update_of_a_custom_resource_changes_only_the_status() {
        let mut sent = fleet(9);
        sent["spec"]["replicas"] = json!(2);
        sent["status"]["replicas"] = json!(5);
        sent["metadata"]["labels"] = json!({"a": "b"});
        let mut wanted = fleet(3);
        wanted["status"]["replicas"] = json!(5);
        assert_eq!(merge(&Kind::FLEET, true, &fleet(3), sent), wanted);
    }

    #[test]
    fn a_label_change_keeps_the_generation() {
        let mut sent = fleet(3);
        sent["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(merge(&Kind::FLEET, false, &fleet(3), sent)["metadata"]["generation"], 3);
    }

    #[test]
    fn another_uid_and_finalizers_added_during_deletion_are_refused() {
        let mut old = fleet(1);
        old["metadata"]["deletionTimestamp"] = json!("now");
        let mut new = old.clone();
        new["metadata"]["uid"] = json!("other");
        new["metadata"]["finalizers"] = json!(["late"]);
        let kept = merge(&Kind::FLEET, false, &old, new);
        let fields: Vec<_> =
            update_errors(&Kind::FLEET, &old, &kept).into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["metadata.finalizers", "metadata.uid"]);
    }

    #[test]
    fn a_pod_s_spec_is_immutable_except_images() {
        let pod = |image: &str, node: &str| json!({"spec": {"nodeName": node, "containers": [{"name": "c", "image": image}]}});
        assert!(pod_errors(&pod("a", "n"), &pod("b", "n")).is_empty());
        assert_eq!(pod_errors(&pod("a", "n"), &pod("a", "m")).len(), 1);
    }
}
