//! What keeps one pod from running, by the states of the pod and its containers. Which group it is of does not
//! matter here.

use rayfleet_core::observed::{PodProblem, STUCK};

use super::words::quoted;
use crate::diagnose::objects::{Container, Pod, Terminated, condition};

/// The trouble of a pod, if it has one. `subject` is the image or container that it is about.
pub(super) fn problem(pod: &Pod) -> Option<PodProblem> {
    let status = &pod.status;
    let text = |text: Option<&String>| quoted(text.map(String::as_str).unwrap_or_default());
    let unscheduled = condition(status.conditions.as_ref(), "PodScheduled").filter(|it| it.status == "False");
    if let Some(it) = unscheduled {
        let reason = it.reason.clone().unwrap_or_else(|| "Unschedulable".to_owned());
        return Some(PodProblem { reason, subject: String::new(), message: text(it.message.as_ref()) });
    }
    if status.phase.as_deref() == Some("Failed") {
        let reason = status.reason.clone().unwrap_or_else(|| "Failed".to_owned());
        return Some(PodProblem { reason, subject: String::new(), message: text(status.message.as_ref()) });
    }
    containers(pod).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone().filter(|reason| STUCK.contains(&reason.as_str()))?;
        if waiting.message.as_deref().is_some_and(is_not_listed_yet) {
            return None;
        }
        let problem = PodProblem { reason, message: text(waiting.message.as_ref()), subject: String::new() };
        let subject = if problem.no_image() { container.image.clone() } else { container.name.clone() };
        Some(PodProblem { subject, ..problem })
    })
}

/// A kubelet that is busy has not listed a Secret or `ConfigMap` yet and asks again within seconds: `failed to sync secret cache: timed
/// out waiting for the condition` (Kubernetes 1.36, `pkg/kubelet/util/manager`).
fn is_not_listed_yet(message: &str) -> bool {
    message.contains("failed to sync") && message.contains("cache: timed out")
}

/// Init containers, then containers.
fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let status = &pod.status;
    status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
}

/// How containers of the pod last ended other than well, as evidence.
pub(super) fn endings(pod: &Pod) -> Vec<String> {
    let ended = |container: &Container| {
        let states = [container.state.as_ref(), container.last_state.as_ref()];
        let ended = states.into_iter().flatten().find_map(|state| state.terminated.as_ref())?;
        let Terminated { exit_code, reason, message, finished_at } = ended;
        (*exit_code != 0).then(|| {
            let reason = reason.as_deref().unwrap_or("ended");
            let at = finished_at.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
            let message = message.as_deref().map(|words| format!(": {words}")).unwrap_or_default();
            let (pod, name, restarts) = (&pod.metadata.name, &container.name, container.restart_count);
            quoted(&format!(
                "container {name} of pod {pod} last ended{at} with exit code {exit_code} ({reason}), {restarts} \
                 restarts{message}"
            ))
        })
    };
    containers(pod).filter_map(ended).collect()
}

/// Whether the kernel ended a container of it for want of memory.
pub(super) fn out_of_memory(pod: &Pod) -> bool {
    containers(pod).any(|container| {
        let states = [container.state.as_ref(), container.last_state.as_ref()];
        let mut ended = states.into_iter().flatten().filter_map(|state| state.terminated.as_ref());
        ended.any(|ended| ended.reason.as_deref() == Some("OOMKilled"))
    })
}

/// The init container that runs while the others wait for it.
pub(super) fn init_container(pod: &Pod) -> Option<&str> {
    let waits =
        condition(pod.status.conditions.as_ref(), "Initialized").is_some_and(|it| it.status == "False");
    let runs = |container: &&Container| container.state.as_ref().is_some_and(|it| it.running.is_some());
    let running = pod.status.init_container_statuses.iter().flatten().rfind(runs);
    running.filter(|_| waits).map(|container| container.name.as_str())
}

/// Whether anything of it has started.
pub(super) fn has_started(pod: &Pod) -> bool {
    containers(pod).any(|container| {
        let ran = |state: &crate::diagnose::objects::ContainerState| {
            state.running.is_some() || state.terminated.is_some()
        };
        container.state.as_ref().is_some_and(ran) || container.last_state.as_ref().is_some_and(ran)
    })
}

/// Whether a condition of it is True.
pub(super) fn is_true(pod: &Pod, kind: &str) -> bool {
    condition(pod.status.conditions.as_ref(), kind).is_some_and(|it| it.status == "True")
}

/// Whether it is Ready and nobody deletes it.
pub(super) fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && is_true(pod, "Ready")
}

/// One line about a pod: its phase, or its trouble in Kubernetes' words.
pub(super) fn in_words(pod: &Pod) -> String {
    let name = &pod.metadata.name;
    let node = pod.spec.node_name.as_deref().map(|node| format!(" on {node}")).unwrap_or_default();
    if let Some(PodProblem { reason, subject, message }) = problem(pod) {
        let subject = if subject.is_empty() { subject } else { format!(" {subject}") };
        return quoted(&format!("pod {name}{node}: {reason}{subject}: {message}"));
    }
    let phase = pod.status.phase.as_deref().unwrap_or("Unknown");
    let ready = if is_ready(pod) { "ready" } else { "not ready" };
    format!("pod {name}{node}: {phase}, {ready}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn waits(message: &str) -> Pod {
        let waiting = json!({"reason": "CreateContainerConfigError", "message": message});
        let status =
            json!({"name": "ray", "image": "ray:1", "restartCount": 0, "state": {"waiting": waiting}});
        let pod = json!({"metadata": {"name": "p"}, "spec": {}, "status": {"containerStatuses": [status]}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_kubelet_that_is_only_late_is_no_problem() {
        let late = waits("failed to sync secret cache: timed out waiting for the condition");
        assert_eq!(problem(&late), None);
        assert!(problem(&waits("secret \"token\" not found")).is_some());
    }
}
