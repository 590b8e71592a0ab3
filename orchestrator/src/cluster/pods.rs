//! Pods. Of all of them what they take of the nodes' room and whom they keep off; of those of groups also what a decision needs to know. Pure.

use jiff::Timestamp;
use rayfleet_api::names;
use rayfleet_core::capacity::{About, Claim, PodSpec};
use rayfleet_core::seen::{PodProblem, PodSeen};
use serde::Deserialize;

use super::objects::{Meta, Watched, bounded, time};
use super::{Key, gate};

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

/// A pod of any namespace.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(super) key: Key,
    /// Version of the object.
    pub(super) version: u64,
    /// What it takes of the nodes' room.
    pub(super) claim: Claim,
    /// What else there is to know of a pod that may be a group's.
    pub(super) member: Option<Box<Member>>,
}

/// A pod that a RayCluster controls, or that says by its labels that it is a fleet's.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The RayCluster that controls it. Only that makes it a pod of a group: labels can be copied.
    pub(super) cluster: Option<Owner>,
    /// The fleet that its labels name.
    pub(super) fleet: Option<String>,
    /// The RayCluster that its labels name.
    pub(super) group: Option<String>,
    /// Ports of its containers that have a name.
    pub(super) ports: Vec<(String, i64)>,
    /// What a decision needs to know of it, but for its node.
    pub(super) seen: PodSeen,
}

/// An owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(super) uid: String,
    pub(super) name: String,
}

impl Watched for Pod {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let Object { metadata, spec, status } = serde_json::from_str(text)?;
        let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
        let member = Member::of(&metadata, &spec, &status);
        let about = About {
            namespace: &metadata.namespace,
            labels: metadata.labels.as_ref(),
            phase: status.phase.as_deref(),
            deleting: metadata.deletion_timestamp.is_some(),
        };
        Ok(Some(Self {
            key: metadata.key(),
            version: metadata.version(),
            claim: spec.claim(&about),
            member: member.map(Box::new),
        }))
    }
}

impl Member {
    fn of(metadata: &Meta, spec: &PodSpec, status: &Status) -> Option<Self> {
        let controller = metadata.controller().filter(|owner| {
            owner.kind == "RayCluster" && owner.api_version.split('/').next() == Some("ray.io")
        });
        let fleet = metadata.label(names::LABEL_FLEET);
        if controller.is_none() && fleet.is_none() {
            return None;
        }
        Some(Self {
            cluster: controller.map(|owner| Owner { uid: owner.uid.clone(), name: owner.name.clone() }),
            fleet: fleet.map(str::to_owned),
            group: metadata.label(names::RAY_LABEL_CLUSTER).map(str::to_owned),
            ports: spec.named_ports(),
            seen: seen(metadata, spec, status),
        })
    }
}

/// A pod as it is read.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Meta,
    spec: Option<PodSpec>,
    status: Option<Status>,
}

/// The part of a pod's status that is used.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    conditions: Option<Vec<Condition>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    container_statuses: Option<Vec<ContainerStatus>>,
}

/// A condition of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Condition {
    /// Type.
    pub(super) r#type: String,
    /// `True`, `False` or `Unknown`.
    pub(super) status: String,
    /// One word.
    pub(super) reason: Option<String>,
    /// Words.
    pub(super) message: Option<String>,
    /// When the status changed, as it is written.
    pub(super) last_transition_time: Option<String>,
}

impl Condition {
    /// When the status changed; `None` if nobody says so in a way that can be read.
    pub(super) fn since(&self) -> Option<Timestamp> {
        time(self.last_transition_time.as_deref()?)
    }
}

/// How a container is.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    image: String,
    state: Option<ContainerState>,
    last_state: Option<ContainerState>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Waiting>,
    terminated: Option<Terminated>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    exit_code: i64,
}

/// What a decision needs to know of a pod.
fn seen(metadata: &Meta, spec: &PodSpec, status: &Status) -> PodSeen {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let head = metadata.label(names::RAY_LABEL_NODE_TYPE) == Some("head");
    PodSeen {
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        head,
        node: spec.node_name.clone(),
        ip: status.pod_ip.clone().filter(|ip| !ip.is_empty()),
        deleting: metadata.deletion_timestamp.is_some(),
        over: is_over(status.phase.as_deref()),
        // The API server has added the grace period to it.
        ends_at: metadata.deletion_timestamp.as_deref().and_then(time),
        containers_ready: is_true(conditions, "ContainersReady"),
        gate_open: is_true(conditions, names::GATE_SERVING),
        gate_since: gate::since(conditions),
        opened_for: gate::opened_for(conditions),
        ungated: head && !spec.has_gate(names::GATE_SERVING),
        node_lost: false,
        node_closing: None,
        problem: problem(status, conditions).map(|problem| PodProblem {
            reason: bounded(&problem.reason),
            message: bounded(&problem.message),
        }),
    }
}

fn is_over(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|condition| condition.r#type == kind && condition.status == "True")
}

fn problem(status: &Status, conditions: &[Condition]) -> Option<PodProblem> {
    unscheduled(conditions).or_else(|| failed(status)).or_else(|| stuck_container(status))
}

fn unscheduled(conditions: &[Condition]) -> Option<PodProblem> {
    let condition = conditions
        .iter()
        .find(|condition| condition.r#type == "PodScheduled" && condition.status == "False")?;
    Some(PodProblem {
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    })
}

fn failed(status: &Status) -> Option<PodProblem> {
    (status.phase.as_deref() == Some("Failed")).then(|| PodProblem {
        reason: status.reason.clone().unwrap_or_else(|| "Failed".to_owned()),
        message: status.message.clone().unwrap_or_default(),
    })
}

fn stuck_container(status: &Status) -> Option<PodProblem> {
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
    let message = bounded(waiting.message.as_deref().unwrap_or_default());
    Some(PodProblem {
        reason,
        message: format!("container {} of image {}: {message}{exit}", container.name, container.image),
    })
}

/// When an object was created.
pub(crate) fn created<K: kube::Resource>(object: &K) -> Option<Timestamp> {
    object.meta().creation_timestamp.as_ref().map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &serde_json::Value) -> PodSeen {
        let pod = json!({
            "metadata": {"name": "p", "labels": {"ray.io/node-type": "head", names::LABEL_FLEET: "f"}},
            "spec": {"containers": []},
            "status": status,
        });
        Pod::read(&pod.to_string()).unwrap().unwrap().member.unwrap().seen
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
                "metadata": {"name": "p", "labels": {"ray.io/node-type": role, names::LABEL_FLEET: "f"}},
                "spec": {"containers": [], "readinessGates": gates},
            });
            Pod::read(&pod.to_string()).unwrap().unwrap().member.unwrap().seen.ungated
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

    #[test]
    fn no_text_of_a_pod_is_longer_than_people_read() {
        let status =
            json!({"phase": "Failed", "reason": "r".repeat(2_000), "message": "\u{e4}".repeat(100_000)});
        let problem = pod(&status).problem.unwrap();
        assert_eq!((problem.reason.chars().count(), problem.message.chars().count()), (513, 513));
    }

    #[test]
    fn only_pods_that_may_be_a_groups_are_kept_with_more_than_they_take() {
        let read = |labels: &serde_json::Value, owners: &serde_json::Value| {
            let pod =
                json!({"metadata": {"name": "p", "labels": labels, "ownerReferences": owners}, "spec": {}});
            Pod::read(&pod.to_string()).unwrap().unwrap().member
        };
        let owner = |api: &str, kind: &str, controls: bool| json!([{"apiVersion": api, "kind": kind, "name": "g", "uid": "c-1", "controller": controls}]);
        let none = json!(null);
        assert!(read(&json!({"app": "x"}), &owner("apps/v1", "ReplicaSet", true)).is_none());
        assert!(read(&none, &owner("ray.io/v1", "RayCluster", false)).is_none());
        assert!(read(&none, &owner("example.com/v1", "RayCluster", true)).is_none());
        let member = read(&none, &owner("ray.io/v1", "RayCluster", true)).unwrap();
        assert_eq!(member.cluster, Some(Owner { uid: "c-1".into(), name: "g".into() }));
        let stray = read(&json!({names::LABEL_FLEET: "f"}), &owner("batch/v1", "Job", true)).unwrap();
        assert_eq!((stray.cluster, stray.fleet.as_deref()), (None, Some("f")));
    }
}
