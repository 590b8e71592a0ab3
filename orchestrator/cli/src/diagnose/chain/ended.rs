//! A container of a group ended while the group served or started, and took Ray or the engine with it. What died of it is reported
//! sooner than the container's end; the end explains it.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::valid::after;

use super::failure;
use super::group::{Group, Trouble};
use super::pod_problem;
use super::words::ago;
use crate::diagnose::objects::{Container, Pod, Terminated, condition, time};

/// A failure is seen that much later than the container ended, at the most; the kubelet's clock is another one.
const BEFORE: Duration = Duration::from_mins(1);

/// A pod whose containers were all ready that long before the group stopped to serve had nothing to do with it.
const READY_AGAIN: Duration = Duration::from_secs(5);

/// The end of a container.
struct End<'a> {
    pod: &'a Pod,
    container: &'a Container,
    terminated: &'a Terminated,
    at: Timestamp,
}

/// The container that ended nearest to the moment at which the group stopped to serve or failed: another may have ended some time
/// before and be up again, and others end because of it.
pub(super) fn container(group: &Group<'_>) -> Option<Trouble> {
    let status = group.status;
    let failed = status.last_failure.as_ref().filter(|_| failure::recovers(status)).map(|it| it.time.0);
    let since = failed.or(status.not_ready_since.as_ref().map(|it| it.0))?;
    // The kubelet's times are whole seconds; of the same one, the head's end explains the others.
    let head = group.head().map(|head| &*head.metadata.name);
    let nearest = group
        .live()
        .filter(|pod| !was_ready_again(pod, since))
        .flat_map(ends)
        .filter(|end| after(end.at, BEFORE) >= since)
        .min_by_key(|end| (since.duration_since(end.at).abs(), head != Some(&*end.pod.metadata.name)))?;
    let (pod, name) = (&nearest.pod.metadata.name, &nearest.container.name);
    let Terminated { exit_code, reason, .. } = nearest.terminated;
    let because = reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let ended = ago(Some(nearest.at), group.case.facts.now);
    let mut evidence: Vec<String> = group.pods.iter().flat_map(|pod| pod_problem::endings(pod)).collect();
    if failed.is_some() {
        let failure = failure::trouble(group);
        evidence.push(failure.what);
        evidence.extend(failure.evidence);
    } else {
        evidence.push(format!("group {} is {}", status.name, group.message()));
    }
    let cure = if pod_problem::out_of_memory(nearest.pod) {
        "raise resources.limits.memory of that container in spec.template".to_owned()
    } else {
        let namespace = group.namespace();
        format!(
            "it recovers by itself if that does not repeat; see kubectl -n {namespace} logs -p {pod} -c {name}{}",
            group.case.or_undo()
        )
    };
    Some(Trouble {
        key: format!("ended {name}"),
        subject: group.pod_subject(nearest.pod),
        about: Some(reason.clone().unwrap_or_else(|| "Terminated".to_owned())),
        what: format!("container {name} of pod {pod} ended {ended} with exit code {exit_code}{because}"),
        evidence,
        cure,
    })
}

fn was_ready_again(pod: &Pod, by: Timestamp) -> bool {
    let ready = condition(pod.status.conditions.as_ref(), "ContainersReady").filter(|it| it.status == "True");
    let since = ready.and_then(|it| time(it.last_transition_time.as_deref()));
    since.is_some_and(|since| after(since, READY_AGAIN) < by)
}

fn ends(pod: &Pod) -> impl Iterator<Item = End<'_>> {
    pod.status.container_statuses.iter().flatten().filter_map(move |container| {
        let states = [container.state.as_ref(), container.last_state.as_ref()];
        let terminated = states.into_iter().flatten().find_map(|state| state.terminated.as_ref())?;
        Some(End { pod, container, terminated, at: time(terminated.finished_at.as_deref())? })
    })
}
