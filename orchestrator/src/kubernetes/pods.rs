//! Pods. Of all of them what they take of the nodes' room and whom they keep off; of those of groups also what a decision needs to know. Pure.

use jiff::{SignedDuration, Timestamp};
use rayfleet_api::{GroupName, names};
use rayfleet_core::capacity::{About, Claim, PodSpec};
use rayfleet_core::observed::{ObservedPod, PULLING, PodProblem};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::objects::{Meta, Watched, bounded, time};
use super::{PodKey, gate};

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

/// Ray reads its token from this variable; KubeRay sets it from a Secret where `authOptions.mode` is `token`.
const TOKEN: &str = "RAY_AUTH_TOKEN";

/// Condition of a pod whose volumes and network are there.
const STARTS: &str = "PodReadyToStartContainers";

/// A pod of any namespace.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(super) key: PodKey,
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
    pub(super) group: Option<GroupName>,
    /// Ports of its containers that have a name.
    pub(super) ports: Vec<(String, i64)>,
    /// Port of the engine that it starts itself, by AIBrix's label.
    pub(super) own_port: Option<u16>,
    /// The Secret that its Ray takes the token from; `None` without token authentication.
    pub(super) token_secret: Option<String>,
    /// Its grace period, while it is being deleted, in seconds.
    pub(super) grace: Option<i64>,
    /// None of its containers has started, nor can one: volumes and network come first.
    pub(super) waits: bool,
    /// What a decision needs to know of it, but for its node.
    pub(super) observed: ObservedPod,
}

/// An owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(super) uid: String,
    pub(super) name: GroupName,
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
            key: metadata.key().retyped(),
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
            cluster: controller
                .map(|owner| Owner { uid: owner.uid.clone(), name: owner.name.as_str().into() }),
            fleet: fleet.map(str::to_owned),
            group: metadata.label(names::RAY_LABEL_CLUSTER).map(Into::into),
            ports: spec.named_ports(),
            own_port: metadata.label(names::LABEL_MODEL_PORT).and_then(|port| port.parse().ok()),
            token_secret: spec.secret_of(TOKEN),
            grace: metadata.deletion_grace_period_seconds,
            waits: waits(status),
            observed: observed(metadata, spec, status),
        })
    }
}

impl Member {
    /// Keeps what was known of the same pod. The words of a trouble that goes on stay: Kubernetes changes them with every try.
    ///
    /// The end of a grace period that began under our eyes is put by our own clock: the API server's may differ, and what is in time by
    /// the one is over by the other. One that had started before has the API server's word.
    pub(super) fn follow(&mut self, before: &Self, now: Timestamp) {
        if before.observed.uid != self.observed.uid {
            return;
        }
        if let (Some(problem), Some(known)) = (&mut self.observed.problem, &before.observed.problem)
            && problem.goes_on_from(known)
        {
            problem.message.clone_from(&known.message);
        }
        if !self.observed.deleting {
            return;
        }
        // It may be cut short while it lasts: then another one begins.
        if before.observed.deleting && before.grace == self.grace {
            self.observed.ends_at = before.observed.ends_at;
        } else if let Some(grace) = self.grace {
            self.observed.ends_at = now.checked_add(SignedDuration::from_secs(grace)).ok();
        }
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
    #[serde(rename = "imageID")]
    image_id: String,
    state: Option<ContainerState>,
    last_state: Option<ContainerState>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Waiting>,
    running: Option<IgnoredAny>,
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
fn observed(metadata: &Meta, spec: &PodSpec, status: &Status) -> ObservedPod {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let head = metadata.label(names::RAY_LABEL_NODE_TYPE) == Some("head");
    ObservedPod {
        name: metadata.name.as_str().into(),
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
        opened_for: gate::opened_for(metadata, conditions),
        ungated: head && !spec.has_gate(names::GATE_SERVING),
        node_lost: false,
        node_closing: None,
        init_container: init_container(status, conditions).map(bounded),
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
    unscheduled(conditions)
        .or_else(|| failed(status))
        .or_else(|| stuck_container(status))
        .or_else(|| pulling(status, conditions))
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

/// The pod has its volumes and its network, and the container whose turn it is waits and never had an image: that is being pulled.
/// Kubernetes says so by `PodReadyToStartContainers` since 1.29; before that nothing tells a pull from what comes before it.
fn pulling(status: &Status, conditions: &[Condition]) -> Option<PodProblem> {
    if !is_true(conditions, STARTS) || init_container(status, conditions).is_some() {
        return None;
    }
    let comes = |container: &&ContainerStatus| {
        !container.state.as_ref().is_some_and(|state| state.terminated.is_some() || state.running.is_some())
    };
    let init = status.init_container_statuses.iter().flatten().find(comes);
    let mut turn: Vec<&ContainerStatus> = init.into_iter().collect();
    if turn.is_empty() {
        turn.extend(status.container_statuses.iter().flatten());
    }
    let waits = |container: &&&ContainerStatus| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
        container.image_id.is_empty() && matches!(reason, Some("ContainerCreating" | "PodInitializing"))
    };
    let container = turn.iter().find(waits)?;
    Some(PodProblem { reason: PULLING.to_owned(), message: format!("image {}", container.image) })
}

/// Nothing of it has started: neither a container, nor what comes before them.
fn waits(status: &Status) -> bool {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let began = |container: &ContainerStatus| {
        let now = container
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_some() || state.terminated.is_some());
        now || container.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
    };
    let init = status.init_container_statuses.iter().flatten();
    !is_true(conditions, STARTS) && !init.chain(status.container_statuses.iter().flatten()).any(began)
}

/// The init container that the others wait for: they run in order, and those that are sidecars go on running, so it is the last that
/// runs.
fn init_container<'a>(status: &'a Status, conditions: &[Condition]) -> Option<&'a str> {
    let waits =
        conditions.iter().any(|condition| condition.r#type == "Initialized" && condition.status == "False");
    let runs =
        |container: &&ContainerStatus| container.state.as_ref().is_some_and(|state| state.running.is_some());
    let running = status.init_container_statuses.iter().flatten().rfind(runs);
    running.filter(|_| waits).map(|container| container.name.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &serde_json::Value) -> ObservedPod {
        let pod = json!({
            "metadata": {"name": "p", "labels": {"ray.io/node-type": "head", names::LABEL_FLEET: "f"}},
            "spec": {"containers": []},
            "status": status,
        });
        Pod::read(&pod.to_string()).unwrap().unwrap().member.unwrap().observed
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
            Pod::read(&pod.to_string()).unwrap().unwrap().member.unwrap().observed.ungated
        };
        assert!(ungated("head", &json!(null)) && ungated("head", &json!([{"conditionType": "other"}])));
        assert!(!ungated("head", &json!([{"conditionType": "rayfleet.io/serving"}])));
        assert!(!ungated("worker", &json!(null)));
    }

    #[test]
    fn a_grace_period_that_began_under_our_eyes_ends_by_our_clock() {
        let at = |second: i64| Timestamp::from_second(1_000 + second).unwrap();
        let read = |uid: &str, ends: Option<i64>, grace: i64| {
            let pod = json!({"metadata": {
                "name": "p", "uid": uid, "labels": {names::LABEL_FLEET: "f"},
                "deletionTimestamp": ends.map(|ends| at(ends).to_string()),
                "deletionGracePeriodSeconds": ends.map(|_| grace)
            }});
            *Pod::read(&pod.to_string()).unwrap().unwrap().member.unwrap()
        };
        let followed = |before: &Member, mut pod: Member, now: i64| {
            pod.follow(before, at(now));
            pod
        };
        // The API server's clock is an hour behind.
        let lives = read("u", None, 0);
        let reported = followed(&lives, read("u", Some(-3_570), 30), 0);
        assert_eq!(reported.observed.ends_at, Some(at(30)));
        let later = followed(&reported, read("u", Some(-3_570), 30), 20);
        assert_eq!(later.observed.ends_at, Some(at(30)), "it goes on as it began");
        let cut_short = followed(&reported, read("u", Some(-3_595), 5), 2);
        assert_eq!(cut_short.observed.ends_at, Some(at(7)));
        assert_eq!(
            followed(&read("other", None, 0), read("u", Some(9), 30), 0).observed.ends_at,
            Some(at(9))
        );
        assert_eq!(followed(&reported, read("u", None, 0), 0).observed.ends_at, None);
    }

    #[test]
    fn a_trouble_that_goes_on_keeps_its_first_words() {
        let read = |reason: &str, message: &str| {
            let waiting = json!({"name": "ray", "image": "i", "state": {"waiting": {"reason": reason, "message": message}}});
            let pod = json!({
                "metadata": {"name": "p", "uid": "u", "labels": {names::LABEL_FLEET: "f"}},
                "status": {"containerStatuses": [waiting]}
            });
            *Pod::read(&pod.to_string()).unwrap().unwrap().member.unwrap()
        };
        let words = |before: &Member, mut pod: Member| {
            pod.follow(before, Timestamp::UNIX_EPOCH);
            pod.observed.problem.unwrap().message
        };
        let first = read("ErrImagePull", "not found");
        let said = |message: &str| format!("container ray of image i: {message}");
        assert_eq!(words(&first, read("ErrImagePull", "rate limit")), said("not found"));
        assert_eq!(
            words(&first, read("ImagePullBackOff", "Back-off")),
            said("not found"),
            "the same in other words"
        );
        assert_eq!(words(&first, read("CrashLoopBackOff", "Back-off")), said("Back-off"));
        let mut other = first.clone();
        other.observed.uid = "v".to_owned();
        assert_eq!(words(&other, read("ErrImagePull", "rate limit")), said("rate limit"), "another pod");
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
    fn an_image_that_cannot_be_pulled_is_named() {
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

    /// A pod whose network is there, or not, with states of an init container and of the main one.
    fn coming(network: &str, init: &serde_json::Value, main: &serde_json::Value) -> serde_json::Value {
        let of = |name: &str, state: &serde_json::Value| {
            let image_id = if state["running"].is_object() { "sha" } else { "" };
            // The kubelet calls an init container that runs started.
            json!({"name": name, "image": "i", "imageID": image_id, "started": state["running"].is_object(), "state": state})
        };
        json!({
            "conditions": [
                {"type": "PodReadyToStartContainers", "status": network},
                {"type": "Initialized", "status": if init.is_null() || init["terminated"].is_object() { "True" } else { "False" }}
            ],
            "initContainerStatuses": if init.is_null() { json!(null) } else { json!([of("init", init)]) },
            "containerStatuses": [of("ray", main)]
        })
    }

    #[test]
    fn an_image_on_its_way_is_distinguished_from_what_comes_before_it() {
        let (creating, initializing) = (
            json!({"waiting": {"reason": "ContainerCreating"}}),
            json!({"waiting": {"reason": "PodInitializing"}}),
        );
        let (running, done) =
            (json!({"running": {"startedAt": "t"}}), json!({"terminated": {"exitCode": 0}}));
        let none = json!(null);
        let pulls = |network: &str, init: &serde_json::Value, main: &serde_json::Value| {
            pod(&coming(network, init, main)).problem.map(|problem| problem.reason)
        };
        let pulling = Some(PULLING.to_owned());
        assert_eq!(pulls("True", &none, &creating), pulling);
        assert_eq!(pulls("True", &initializing, &initializing), pulling, "the init container's");
        assert_eq!(pulls("True", &running, &initializing), None, "an init container runs");
        assert_eq!(pulls("True", &done, &initializing), pulling);
        assert_eq!(pulls("True", &none, &running), None);
        assert_eq!(pulls("False", &none, &creating), None, "volumes and network come first");
    }

    #[test]
    fn a_pod_waits_for_volumes_and_network_until_anything_of_it_starts() {
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        let waits = |status: &serde_json::Value| {
            let pod = json!({"metadata": {"name": "p", "labels": {names::LABEL_FLEET: "f"}}, "spec": {}, "status": status});
            Pod::read(&pod.to_string()).unwrap().unwrap().member.unwrap().waits
        };
        assert!(waits(&coming("False", &json!(null), &creating)) && waits(&json!({})));
        assert!(!waits(&coming("True", &json!(null), &creating)));
        assert!(!waits(&coming("False", &json!(null), &json!({"running": {}}))));
    }

    #[test]
    fn the_init_container_that_others_wait_for_is_named_until_it_has_ended() {
        let of = |initialized: &str, init: &serde_json::Value| {
            let conditions = json!([{"type": "Initialized", "status": initialized}]);
            pod(&json!({"conditions": conditions, "initContainerStatuses": init})).init_container
        };
        let started = json!({"startedAt": "2026-01-01T00:00:00Z"});
        let runs = |name: &str| json!({"name": name, "state": {"running": started}, "started": true});
        let waits = |name: &str| json!({"name": name, "state": {"waiting": {"reason": "PodInitializing"}}});
        let over = |name: &str| json!({"name": name, "state": {"terminated": {"exitCode": 0}}});
        assert_eq!(of("False", &json!([runs("wait-gcs-ready")])).as_deref(), Some("wait-gcs-ready"));
        assert_eq!(of("False", &json!([over("a"), runs("b"), waits("c")])).as_deref(), Some("b"));
        assert_eq!(of("False", &json!([runs("sidecar"), runs("b"), waits("c")])).as_deref(), Some("b"));
        assert_eq!(of("True", &json!([over("a"), runs("sidecar")])), None);
        assert_eq!(of("False", &json!([waits("a")])), None, "its image is being pulled");
        assert_eq!(of("False", &json!(null)), None);
    }

    #[test]
    fn no_text_of_a_pod_is_longer_than_people_read() {
        let status =
            json!({"phase": "Failed", "reason": "r".repeat(2_000), "message": "\u{e4}".repeat(100_000)});
        let problem = pod(&status).problem.unwrap();
        assert!(problem.reason.len() <= 512 && problem.message.len() <= 512, "{problem:?}");
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
