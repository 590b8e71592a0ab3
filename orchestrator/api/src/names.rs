//! Labels, annotations, condition types and object names: everything that two components must
//! spell the same way. No logic beyond joining and splitting names.

use crate::{GroupName, PodRevision};

/// API group of the fleet, shared with AIBrix.
pub const GROUP: &str = "orchestration.aibrix.ai";
/// Version of the fleet API.
pub const VERSION: &str = "v1alpha1";
/// Kind of the fleet.
pub const KIND: &str = "RayClusterFleet";

/// Label with the fleet's name on every RayCluster and pod of the fleet (AIBrix's own label).
pub const LABEL_FLEET: &str = "orchestration.aibrix.ai/raycluster-fleet-name";
/// Label with the group's slot on its RayCluster and pods.
pub const LABEL_SLOT: &str = "rayfleet.io/slot";
/// Label with the group's name (the RayCluster's name) on its pods.
pub const LABEL_GROUP: &str = "rayfleet.io/group";
/// Label with the pod revision on a group's RayCluster and pods, and on ControllerRevisions.
pub const LABEL_POD_REVISION: &str = "rayfleet.io/pod-revision";
/// Label of a fleet's Service, with the fleet's name. By this the orchestrator finds it: other tools may change the common labels.
pub const LABEL_SERVICE: &str = "rayfleet.io/service";
/// Label that says to people who made an object. Nothing is found by it.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "rayfleet";
/// AIBrix's label with the name of the model: its gateway and its Services select pods by it.
pub const LABEL_MODEL_NAME: &str = "model.aibrix.ai/name";
/// AIBrix's label with the port of the engine, for manifests without `spec.model`.
pub const LABEL_MODEL_PORT: &str = "model.aibrix.ai/port";

/// Annotation of a RayCluster with the attempt number of its slot.
pub const ANNOTATION_ATTEMPT: &str = "rayfleet.io/attempt";
/// Annotation of a RayCluster with the sizes that it was made with, as JSON.
pub const ANNOTATION_SIZE: &str = "rayfleet.io/size";
/// Annotation of a RayCluster: `"true"` asks for another group in its place, by the rules of a rollout.
pub const ANNOTATION_REPLACE: &str = "rayfleet.io/replace";
/// Annotation on `spec.template.metadata`, changed by `kubectl rayfleet rollout restart`.
pub const ANNOTATION_RESTARTED_AT: &str = "rayfleet.io/restartedAt";
/// Annotation of a fleet, its template or its head's pods: the port of an engine that the template starts itself, or
/// `none`. Counts before [`LABEL_MODEL_PORT`].
pub const ANNOTATION_ENGINE_PORT: &str = "rayfleet.io/engine-port";
/// Finalizer of a fleet: it is deleted once its groups have drained, or the time for that is over.
pub const FINALIZER: &str = "rayfleet.io/drain";
/// Annotation of a fleet: `"true"` deletes it without a drain.
pub const ANNOTATION_SKIP_DRAIN: &str = "rayfleet.io/skip-drain";
/// Annotation of a fleet: `"false"` makes no `PodDisruptionBudgets` for its groups.
pub const ANNOTATION_DISRUPTION_BUDGET: &str = "rayfleet.io/disruption-budget";
/// Annotation of a fleet: `true` lets Rayfleet make groups of the RayClusters of its RayClusterReplicaSets.
pub const ANNOTATION_TAKE_OVER: &str = "rayfleet.io/take-over";
/// Annotation of a head pod: the launch that its serving gate was opened for.
pub const ANNOTATION_OPENED_FOR: &str = "rayfleet.io/opened-for";
/// Kubernetes' annotation of what it costs to lose an object; read on RayClusters, as AIBrix does.
pub const ANNOTATION_DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Annotation of a ControllerRevision that says why it came to be.
pub const ANNOTATION_CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// Readiness gate of head pods: True while the group takes traffic.
pub const GATE_SERVING: &str = "rayfleet.io/serving";

/// Kueue's label with the queue that admits a RayCluster.
pub const LABEL_KUEUE_QUEUE: &str = "kueue.x-k8s.io/queue-name";

/// KubeRay's label with the name of a pod's RayCluster.
pub const RAY_LABEL_CLUSTER: &str = "ray.io/cluster";
/// KubeRay's label with `head` or `worker`.
pub const RAY_LABEL_NODE_TYPE: &str = "ray.io/node-type";

/// Name of the RayCluster for a slot: `<fleet>-<pod revision>-<slot>`, from the second attempt on
/// with `-<attempt>` behind it.
pub fn group_name(fleet: &str, pod_revision: &PodRevision, slot: u32, attempt: u32) -> GroupName {
    if attempt == 0 {
        format!("{fleet}-{pod_revision}-{slot}").into()
    } else {
        format!("{fleet}-{pod_revision}-{slot}-{attempt}").into()
    }
}

/// Longest fleet name for which every group name stays within KubeRay's 53 characters:
/// 53 less `-` and 6 of the revision, `-` and 4 of the slot, `-` and 3 of the attempt.
pub const MAX_FLEET_NAME: usize = 37;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_names_fit_kuberay() {
        let fleet = "f".repeat(MAX_FLEET_NAME);
        assert_eq!(group_name(&fleet, &"abcdef".into(), 9999, 999).len(), 53);
    }

    #[test]
    fn the_first_attempt_has_no_number() {
        assert_eq!(group_name("llama", &"abcdef".into(), 0, 0), "llama-abcdef-0");
        assert_eq!(group_name("llama", &"abcdef".into(), 0, 2), "llama-abcdef-0-2");
    }
}
