//! What the status of a pod says of how far it is and of what keeps it from running. Pure.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::valid::after;
use rayfleet_core::observed::{ContainerEnd, PULLING, PodProblem, STUCK};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::objects::{bounded, time};

/// Condition of a pod whose volumes and network are there.
const STARTS: &str = "PodReadyToStartContainers";
/// A kubelet has written by then that the containers are not ready.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// The part of a pod's status that is used.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    pub(super) phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: Option<String>,
    pub(super) conditions: Option<Vec<Condition>>,
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
    reason: Option<String>,
    finished_at: Option<String>,
}

/// The end of the container that made the containers not ready, the first by time. One that ended long before that did not.
pub(super) fn ended(status: &Status, conditions: &[Condition]) -> Option<ContainerEnd> {
    let is_it = |condition: &&Condition| condition.r#type == "ContainersReady" && condition.status == "False";
    let since = conditions.iter().find(is_it)?.since()?;
    let all = status.container_statuses.iter().flatten().filter_map(|container| {
        let now_and_last = [container.state.as_ref(), container.last_state.as_ref()];
        let end = now_and_last.into_iter().flatten().find_map(|state| state.terminated.as_ref())?;
        let at = time(end.finished_at.as_deref()?)?;
        (after(at, SEEN_WITHIN) >= since).then_some((at, container, end))
    });
    let (_, container, end) = all.min_by_key(|(at, ..)| *at)?;
    Some(ContainerEnd {
        container: bounded(&container.name),
        exit_code: end.exit_code,
        reason: bounded(end.reason.as_deref().unwrap_or_default()),
    })
}

pub(super) fn is_over(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

pub(super) fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|condition| condition.r#type == kind && condition.status == "True")
}

/// What keeps a pod from running.
pub(super) fn problem(status: &Status, conditions: &[Condition]) -> Option<PodProblem> {
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
        ..PodProblem::default()
    })
}

fn failed(status: &Status) -> Option<PodProblem> {
    (status.phase.as_deref() == Some("Failed")).then(|| PodProblem {
        reason: status.reason.clone().unwrap_or_else(|| "Failed".to_owned()),
        message: status.message.clone().unwrap_or_default(),
        ..PodProblem::default()
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
        subject: container.name.clone(),
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
    Some(PodProblem {
        reason: PULLING.to_owned(),
        subject: container.name.clone(),
        message: format!("image {}", container.image),
    })
}

/// Nothing of it has started: neither a container, nor what comes before them.
pub(super) fn waits(status: &Status) -> bool {
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
pub(super) fn init_container<'a>(status: &'a Status, conditions: &[Condition]) -> Option<&'a str> {
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

    fn read(status: &serde_json::Value) -> Status {
        serde_json::from_value(status.clone()).unwrap()
    }

    fn problem_of(status: &serde_json::Value) -> Option<PodProblem> {
        let status = read(status);
        problem(&status, status.conditions.as_deref().unwrap_or_default())
    }

    #[test]
    fn an_unschedulable_pod_tells_why() {
        let status = json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
        }]});
        assert_eq!(problem_of(&status).unwrap().reason, "Unschedulable");
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named() {
        let status = json!({"containerStatuses": [{
            "name": "ray", "image": "nowhere/none:1", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
        }]});
        let problem = problem_of(&status).unwrap();
        assert!(problem.message.contains("nowhere/none:1"), "{}", problem.message);
    }

    #[test]
    fn a_container_that_is_being_created_is_no_problem() {
        let status = json!({"containerStatuses": [{
            "name": "ray", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}}
        }]});
        assert_eq!(problem_of(&status), None);
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
            problem_of(&coming(network, init, main)).map(|problem| problem.reason)
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
        let waits = |status: &serde_json::Value| super::waits(&read(status));
        assert!(waits(&coming("False", &json!(null), &creating)) && waits(&json!({})));
        assert!(!waits(&coming("True", &json!(null), &creating)));
        assert!(!waits(&coming("False", &json!(null), &json!({"running": {}}))));
    }

    #[test]
    fn the_end_of_a_container_is_told_while_it_keeps_the_pod_from_being_ready() {
        let at = |second: u8| format!("2026-01-01T00:00:{second:02}Z");
        let end = |second, code| json!({"terminated": {"exitCode": code, "reason": "Error", "finishedAt": at(second)}});
        let status = |ready: &str, containers: &serde_json::Value| {
            json!({
                "conditions": [{"type": "ContainersReady", "status": ready, "lastTransitionTime": at(40)}],
                "containerStatuses": containers
            })
        };
        let ended = |status: &serde_json::Value| {
            let status = read(status);
            ended(&status, status.conditions.as_deref().unwrap()).map(|end| end.to_string())
        };
        let runs_again = json!([{"name": "ray", "state": {"running": {}}, "lastState": end(38, 137)}]);
        let words = Some("container ray ended with exit code 137 (Error)".to_owned());
        assert_eq!(ended(&status("False", &runs_again)), words);
        assert_eq!(ended(&status("True", &runs_again)), None);
        let both = json!([{"name": "sidecar", "state": end(41, 1)}, {"name": "ray", "state": end(38, 137)}]);
        assert_eq!(ended(&status("False", &both)), words, "the first that ended");
        let long_ago = json!([{"name": "ray", "state": {"running": {}}, "lastState": end(5, 1)}]);
        assert_eq!(ended(&status("False", &long_ago)), None, "its probe fails now");
        let odd = json!([{"name": "ray", "state": {"terminated": {"exitCode": 1, "finishedAt": "noon"}}}]);
        assert_eq!(ended(&status("False", &odd)), None);
    }

    #[test]
    fn the_init_container_that_others_wait_for_is_named_until_it_has_ended() {
        let of = |initialized: &str, init: &serde_json::Value| {
            let conditions = json!([{"type": "Initialized", "status": initialized}]);
            let status = read(&json!({"conditions": conditions, "initContainerStatuses": init}));
            init_container(&status, status.conditions.as_deref().unwrap()).map(str::to_owned)
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
}
