//! From a Pod object to what a decision needs to know of it. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use kube::ResourceExt;
use rayfleet_api::names;
use rayfleet_core::seen::{PodProblem, PodSeen};

use super::gate;

/// Waiting reasons that do not pass by themselves within moments.
const STUCK: [&str; 8] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// What a decision needs to know of a pod.
pub(crate) fn seen(pod: &Pod) -> PodSeen {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let head = pod.labels().get(names::RAY_LABEL_NODE_TYPE).is_some_and(|kind| kind == "head");
    PodSeen {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        head,
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        ip: status.and_then(|status| status.pod_ip.clone()).filter(|ip| !ip.is_empty()),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        over: is_over(status.and_then(|status| status.phase.as_deref())),
        // The API server has added the grace period to it.
        ends_at: pod.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        containers_ready: is_true(conditions, "ContainersReady"),
        gate_open: is_true(conditions, names::GATE_SERVING),
        gate_since: gate::since(conditions),
        opened_for: gate::opened_for(conditions),
        ungated: head && !has_gate(pod),
        node_lost: false,
        node_closing: None,
        problem: problem(pod, conditions),
    }
}

fn is_over(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn has_gate(pod: &Pod) -> bool {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    gates.into_iter().any(|gate| gate.condition_type == names::GATE_SERVING)
}

fn is_true(conditions: &[PodCondition], kind: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

/// The group that a pod belongs to, and its fleet.
pub(crate) fn group_and_fleet(pod: &Pod) -> Option<(String, String)> {
    let group = pod.labels().get(names::RAY_LABEL_CLUSTER)?;
    let fleet = pod.labels().get(names::LABEL_FLEET)?;
    Some((group.clone(), fleet.clone()))
}

fn problem(pod: &Pod, conditions: &[PodCondition]) -> Option<PodProblem> {
    unscheduled(conditions).or_else(|| failed(pod)).or_else(|| stuck_container(pod))
}

fn unscheduled(conditions: &[PodCondition]) -> Option<PodProblem> {
    let condition = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    Some(PodProblem {
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    })
}

fn failed(pod: &Pod) -> Option<PodProblem> {
    let status = pod.status.as_ref()?;
    (status.phase.as_deref() == Some("Failed")).then(|| PodProblem {
        reason: status.reason.clone().unwrap_or_else(|| "Failed".to_owned()),
        message: status.message.clone().unwrap_or_default(),
    })
}

fn stuck_container(pod: &Pod) -> Option<PodProblem> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten()).find_map(stuck)
}

fn stuck(container: &ContainerStatus) -> Option<PodProblem> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone()?;
    if !STUCK.contains(&reason.as_str()) {
        return None;
    }
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let exit = last.map(|end| format!(" (last exit code {})", end.exit_code)).unwrap_or_default();
    let message = waiting.message.clone().unwrap_or_default();
    Some(PodProblem {
        reason,
        message: format!("container {} of image {}: {message}{exit}", container.name, container.image),
    })
}

/// When a pod was created.
pub(crate) fn created<K: kube::Resource>(object: &K) -> Option<Timestamp> {
    object.meta().creation_timestamp.as_ref().map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &serde_json::Value) -> PodSeen {
        let pod = json!({
            "metadata": {"name": "p", "labels": {"ray.io/node-type": "head"}},
            "spec": {"containers": []},
            "status": status,
        });
        seen(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn readiness_is_that_of_the_containers_not_of_the_gate() {
        let head = pod(&json!({"conditions": [
            {"type": "ContainersReady", "status": "True"},
            {"type": "Ready", "status": "False"},
            {"type": "rayfleet.io/serving", "status": "False"}
        ]}));
        assert!(head.head && head.containers_ready && !head.gate_open);
    }

    #[test]
    fn a_head_that_rayfleet_did_not_make_has_no_gate() {
        let ungated = |role: &str, gates: &serde_json::Value| {
            let pod = json!({
                "metadata": {"name": "p", "labels": {"ray.io/node-type": role}},
                "spec": {"containers": [], "readinessGates": gates},
            });
            seen(&serde_json::from_value(pod).unwrap()).ungated
        };
        assert!(ungated("head", &json!(null)) && ungated("head", &json!([{"conditionType": "other"}])));
        assert!(!ungated("head", &json!([{"conditionType": "rayfleet.io/serving"}])));
        assert!(!ungated("worker", &json!(null)));
    }

    #[test]
    fn an_unschedulable_pod_tells_why() {
        let status = json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
        }]});
        assert_eq!(pod(&status).problem.unwrap().reason, "Unschedulable");
    }

    #[test]
    fn an_image_that_can_not_be_pulled_is_named() {
        let status = json!({"containerStatuses": [{
            "name": "ray", "image": "nowhere/none:1", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
        }]});
        let problem = pod(&status).problem.unwrap();
        assert!(problem.message.contains("nowhere/none:1"), "{}", problem.message);
    }

    #[test]
    fn a_container_that_is_being_created_is_no_problem() {
        let status = json!({"containerStatuses": [{
            "name": "ray", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}}
        }]});
        assert_eq!(pod(&status).problem, None);
    }
}
