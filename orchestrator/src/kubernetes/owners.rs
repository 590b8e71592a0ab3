//! Whose an object is: its controller's, and nobody else's, whatever its labels say. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use rayfleet_api::names;

use super::objects::controller;

/// Whether an object's controller is the one of this UID. A mere owner does not count: anybody may add one.
pub(crate) fn controls(uid: &str, object: &impl ResourceExt) -> bool {
    controller(object.owner_references()).is_some_and(|owner| owner.uid == uid)
}

/// Made for a fleet of this name, and nobody's since, as `kubectl delete --cascade=orphan` leaves it.
pub(crate) fn is_orphan(object: &impl ResourceExt, fleet: &str) -> bool {
    let label = |key: &str| object.labels().get(key).map(String::as_str);
    object.owner_references().is_empty()
        && label(names::LABEL_FLEET) == Some(fleet)
        && label(names::LABEL_MANAGED_BY) == Some(names::MANAGED_BY)
}

/// Who is to be named as the one that has an object: the controller, else the first owner.
fn first_owner(object: &impl ResourceExt) -> Option<&OwnerReference> {
    controller(object.owner_references()).or(object.owner_references().first())
}

/// Whose an object is, in words.
pub(super) fn owner_in_words(object: &impl ResourceExt) -> String {
    first_owner(object).map_or_else(
        || "not made by Rayfleet".to_owned(),
        |owner| format!("of {} {}", owner.kind, owner.name),
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::{Value, json};

    use super::*;

    fn owned(owners: &Value) -> Service {
        let labels = json!({names::LABEL_FLEET: "f", names::LABEL_MANAGED_BY: names::MANAGED_BY});
        serde_json::from_value(
            json!({"metadata": {"name": "f", "labels": labels, "ownerReferences": owners}}),
        )
        .unwrap()
    }

    fn owner(uid: &str, controls: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Thing", "name": uid, "uid": uid, "controller": controls})
    }

    #[test]
    fn only_the_controller_has_an_object() {
        let object =
            owned(&json!([owner("a", &json!(false)), owner("b", &json!(true)), owner("c", &Value::Null)]));
        assert_eq!(["a", "b", "c"].map(|uid| controls(uid, &object)), [false, true, false]);
        assert_eq!(owner_in_words(&object), "of Thing b");
        assert!(!is_orphan(&object, "f"));
        let loose = owned(&json!([owner("a", &json!(false)), owner("c", &Value::Null)]));
        assert_eq!(["a", "c"].map(|uid| controls(uid, &loose)), [false, false]);
        assert_eq!(owner_in_words(&loose), "of Thing a");
        assert!(!is_orphan(&loose, "f"), "somebody has a hand on it");
    }

    #[test]
    fn an_orphan_was_made_for_a_fleet_of_the_name_and_is_nobodys() {
        let object = owned(&Value::Null);
        assert!(is_orphan(&object, "f") && !is_orphan(&object, "g"));
        assert_eq!(owner_in_words(&object), "not made by Rayfleet");
        let mut other = object.clone();
        other.labels_mut().remove(names::LABEL_MANAGED_BY);
        assert!(!is_orphan(&other, "f"));
    }
}
