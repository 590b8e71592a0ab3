//! What AIBrix's own controllers leave behind: RayClusterReplicaSets between a fleet and its RayClusters, and what makes a group of
//! such a RayCluster. Pure; whether it may be done is the controller's business, doing it the executor's.

use std::sync::LazyLock;

use kube::ResourceExt;
use kube::api::ApiResource;
use kube::core::DynamicObject;
use rayfleet_api::revision::revision;
use rayfleet_api::spec::RayClusterTemplate;
use rayfleet_api::{PodRevision, RayClusterFleet, names};
use serde_json::{Value, json};

use super::build::owner_of;
pub(crate) use super::owners::controls;

/// `rayclusterreplicasets.orchestration.aibrix.ai/v1alpha1`.
pub(crate) static REPLICA_SET: LazyLock<ApiResource> = LazyLock::new(|| ApiResource {
    group: names::GROUP.to_owned(),
    version: names::VERSION.to_owned(),
    api_version: format!("{}/{}", names::GROUP, names::VERSION),
    kind: "RayClusterReplicaSet".to_owned(),
    plural: "rayclusterreplicasets".to_owned(),
});

/// Label that AIBrix adds to the templates of its RayClusterReplicaSets.
const LABEL_TEMPLATE_HASH: &str = "pod-template-hash";

/// The pod revision of the RayClusters of a RayClusterReplicaSet: that of the fleet's template as it was when AIBrix copied it,
/// without what AIBrix adds. `None` if it has no template.
pub(crate) fn pod_revision(set: &DynamicObject) -> Option<PodRevision> {
    let template = &set.data["spec"]["template"];
    let mut template: RayClusterTemplate = serde_json::from_value(template.clone()).ok()?;
    if let Some(metadata) = &mut template.metadata {
        metadata.labels.remove(LABEL_TEMPLATE_HASH);
    }
    let spec = template.spec.as_object_mut()?;
    unmark(spec.get_mut("headGroupSpec")?);
    for workers in spec.get_mut("workerGroupSpecs").and_then(Value::as_array_mut).into_iter().flatten() {
        unmark(workers);
    }
    Some(revision(&template, None).pod)
}

fn unmark(group: &mut Value) {
    let labels = group.pointer_mut("/template/metadata/labels").and_then(Value::as_object_mut);
    if let Some(labels) = labels {
        labels.remove(names::LABEL_FLEET);
    }
}

/// The change by which a RayCluster that AIBrix made becomes the group of a slot, if it is still as it was observed. Its pods are left as
/// they are.
pub(crate) fn as_group(
    fleet: &RayClusterFleet,
    cluster: &DynamicObject,
    slot: u32,
    revision: &PodRevision,
) -> Value {
    json!({"metadata": {
        "uid": cluster.metadata.uid,
        "resourceVersion": cluster.metadata.resource_version,
        "ownerReferences": [owner_of(fleet)],
        "labels": {
            (names::LABEL_FLEET): fleet.name_any(),
            (names::LABEL_MANAGED_BY): names::MANAGED_BY,
            (names::LABEL_GROUP): cluster.name_any(),
            (names::LABEL_SLOT): slot.to_string(),
            (names::LABEL_POD_REVISION): revision,
        },
        "annotations": {(names::ANNOTATION_ATTEMPT): "0"},
    }})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{fleet, raw_fleet};

    /// As AIBrix's controller makes one: typed, so with Go's nulls and empty objects, and with its labels.
    fn set() -> DynamicObject {
        let raw = raw_fleet();
        let mut template = json!(raw.spec.template);
        template["metadata"]["labels"]["pod-template-hash"] = json!("bcdfgh");
        let spec = &mut template["spec"];
        spec["headGroupSpec"]["template"]["metadata"]["labels"][names::LABEL_FLEET] = json!("f");
        spec["headGroupSpec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
        for workers in spec["workerGroupSpecs"].as_array_mut().into_iter().flatten() {
            workers["template"]["metadata"]["labels"][names::LABEL_FLEET] = json!("f");
            workers["numOfHosts"] = json!(1);
            workers["scaleStrategy"] = json!({});
        }
        serde_json::from_value(json!({
            "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterReplicaSet",
            "metadata": {"name": "f-bcdfgh", "namespace": "n", "uid": "u-set", "ownerReferences": [
                {"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet", "name": "f", "uid": "u-1", "controller": true}
            ]},
            "spec": {"replicas": 1, "template": template}
        }))
        .unwrap()
    }

    #[test]
    fn labels_that_aibrix_adds_do_not_change_the_revision() {
        assert_eq!(pod_revision(&set()), Some(fleet().revision.pod));
        let mut other = set();
        other.data["spec"]["template"]["spec"]["rayVersion"] = json!("2.1.0");
        assert_ne!(pod_revision(&other), Some(fleet().revision.pod));
        other.data["spec"]["template"] = Value::Null;
        assert_eq!(pod_revision(&other), None);
    }

    #[test]
    fn a_raycluster_is_taken_over_with_all_that_finds_it_again() {
        let cluster: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "ray.io/v1", "kind": "RayCluster",
            "metadata": {"name": "f-bcdfgh-x7k2p", "namespace": "n", "uid": "u-9", "resourceVersion": "41"}
        }))
        .unwrap();
        let change = as_group(&raw_fleet(), &cluster, 3, &"abc".into());
        let mut taken = json!(cluster);
        taken["metadata"].as_object_mut().unwrap().extend(change["metadata"].as_object().unwrap().clone());
        let observed =
            crate::kubernetes::rayclusters::observed(&serde_json::from_value(taken).unwrap(), None);
        assert_eq!(
            (observed.slot, observed.attempt, &*observed.pod_revision, &*observed.uid),
            (Some(3), 0, "abc", "u-9")
        );
        assert_eq!(change["metadata"]["resourceVersion"], "41", "only what was observed is taken");
        assert_eq!(change["metadata"]["ownerReferences"][0]["controller"], true);
    }

    #[test]
    fn only_a_controller_owns() {
        assert!(controls("u-1", &set()));
        assert!(!controls("u-2", &set()));
        let mut loose = set();
        loose.owner_references_mut()[0].controller = None;
        assert!(!controls("u-1", &loose));
    }
}
