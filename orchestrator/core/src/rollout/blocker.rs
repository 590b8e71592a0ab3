//! What blocks a fleet without progress, and the cure for that cause.

use rayfleet_api::status::{GroupStatus, Phase, RolloutStatus};

use super::blocked::Blocked;
use super::classify::{is_available, is_retained};
use super::planner::Planner;
use crate::group::{self, Hold};
use crate::observed::{ObservedGroup, ObservedPod, PodProblem};

/// A pod waits for its node to provide something, before any of its containers starts.
const VOLUME_OR_NETWORK: [&str; 3] = ["FailedMount", "FailedMapVolume", "FailedCreatePodSandBox"];

/// What blocks a fleet, and the cure.
pub(super) struct Blocker {
    pub(super) what: String,
    pub(super) cure: String,
}

/// The first group to be deleted whose RayCluster is held by a finalizer. Waiting does not help then.
pub(super) fn finalizer(planner: &Planner<'_>) -> Option<String> {
    planner.groups.iter().find_map(|group| match hold(planner, group) {
        Hold::By(text) => Some(text),
        Hold::None | Hold::Until(_) => None,
    })
}

/// When a RayCluster to be deleted starts to count as held.
pub(super) fn wake(planner: &Planner<'_>) -> Option<jiff::Timestamp> {
    let ends = planner.groups.iter().filter_map(|group| match hold(planner, group) {
        Hold::Until(end) => Some(end),
        Hold::None | Hold::By(_) => None,
    });
    ends.min()
}

fn hold(planner: &Planner<'_>, group: &GroupStatus) -> Hold {
    let cluster = observed(planner, group).and_then(|observed| observed.cluster.as_ref());
    cluster.map_or(Hold::None, |cluster| {
        group::hold(&planner.fleet.namespace, &group.name, cluster, planner.inputs.now)
    })
}

fn observed<'b>(planner: &'b Planner<'_>, group: &GroupStatus) -> Option<&'b ObservedGroup> {
    planner.inputs.observed.get(&group.name)
}

/// What a fleet waits for without success.
pub(super) fn find(planner: &Planner<'_>, rollout: &RolloutStatus) -> Blocker {
    let leaving = planner.groups.iter().find(|group| !is_retained(group));
    let waiting = waiting(planner);
    let blocked = matches!(planner.blocked, Some(Blocked::Leaving));
    match (waiting, leaving) {
        (_, Some(group)) if blocked || waiting.is_none() => on_its_way_out(planner, group),
        (Some(group), _) => on_its_way_up(planner, rollout, group),
        _ => Blocker { what: rollout.reason.clone().unwrap_or_default(), cure: longer(planner, rollout) },
    }
}

/// The group that is furthest from serving.
pub(super) fn waiting<'b>(planner: &'b Planner<'_>) -> Option<&'b GroupStatus> {
    let now = planner.inputs.now;
    let waiting =
        planner.groups.iter().filter(|group| is_retained(group) && !is_available(planner.fleet, group, now));
    waiting.min_by_key(|group| (group.phase != Phase::Failed, group.phase, group.slot))
}

/// A group and what it waits for, as text.
pub(super) fn in_words(group: &GroupStatus) -> String {
    let message = group.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
    format!("{} is {}{message}", group.name, group.phase.as_str())
}

fn on_its_way_out(planner: &Planner<'_>, group: &GroupStatus) -> Blocker {
    let pods = observed(planner, group).map(|observed| observed.pods.as_slice()).unwrap_or_default();
    let ending = pods.iter().find(|pod| pod.deleting && pod.holds());
    let cure = match ending.and_then(|pod| Some((pod, pod.node.as_deref()?))) {
        _ if group.phase == Phase::Draining => {
            format!(
                "its requests end or are cut off after drain.timeout ({} s)",
                planner.fleet.drain_timeout.as_secs()
            )
        }
        Some((pod, node)) => format!(
            "see `kubectl describe pod {}` and the kubelet of node {node}; once that machine is off for good, \
             `kubectl delete node {node}`",
            pod.name
        ),
        None => "check that the API server and KubeRay's operator are healthy".to_owned(),
    };
    Blocker { what: in_words(group), cure }
}

fn on_its_way_up(planner: &Planner<'_>, rollout: &RolloutStatus, group: &GroupStatus) -> Blocker {
    let observed = observed(planner, group);
    let live = || observed.into_iter().flat_map(|observed| &observed.pods).filter(|pod| !pod.deleting);
    let problem =
        |is: fn(&PodProblem) -> bool| move |pod: &&ObservedPod| pod.problem.as_ref().is_some_and(is);
    let refused = observed.and_then(|observed| observed.cluster.as_ref()?.replica_failure.as_ref());
    let made = observed.and_then(|observed| observed.cluster.as_ref()).is_none() || live().count() > 0;
    let cure = if refused.is_some() {
        "give the namespace the quota or KubeRay the rights that it asks for".to_owned()
    } else if !made {
        "start KubeRay's operator".to_owned()
    } else if live().any(|pod| pod.node.is_none()) {
        "add nodes, free what the pods ask for, or lower spec.replicas".to_owned()
    } else if live().any(|pod| problem(PodProblem::no_image)(&pod)) {
        "correct the image or its imagePullSecrets in spec.template".to_owned()
    } else if let Some(pod) = live().find(problem(PodProblem::not_attached)) {
        format!(
            "see `kubectl describe pod {}`; a ReadWriteOnce claim is on one node at a time: give spec.template one that all pods may \
             have (ReadOnlyMany, ReadWriteMany), or let no two groups be at once (replicas: 1, maxSurge: 0, maxUnavailable: 1)",
            pod.name
        )
    } else if let Some(pod) = live().find(problem(PodProblem::pulls)) {
        format!("the image comes or its pull fails by itself: see `kubectl describe pod {}`", pod.name)
    } else if let Some(pod) = live().find(problem(|problem| VOLUME_OR_NETWORK.contains(&&*problem.reason))) {
        format!("see `kubectl describe pod {}` and its node{}", pod.name, or_undo(planner, rollout))
    } else if let Some(pod) = live().find(problem(|problem| problem.reason == "CrashLoopBackOff")) {
        format!("see `kubectl logs -p {}`{}", pod.name, or_undo(planner, rollout))
    } else if let Some(pod) = live().find(|pod| pod.node_lost) {
        format!("see to node {}", pod.node.as_deref().unwrap_or_default())
    } else {
        longer(planner, rollout)
    };
    Blocker { what: in_words(group), cure }
}

fn longer(planner: &Planner<'_>, rollout: &RolloutStatus) -> String {
    format!("if it only needs longer, raise spec.progressDeadlineSeconds{}", or_undo(planner, rollout))
}

/// Adds the cure of an undo, if there is a revision to go back to.
fn or_undo(planner: &Planner<'_>, rollout: &RolloutStatus) -> String {
    let proven = rollout.stable.as_ref().is_none_or(|stable| *stable == rollout.to);
    if proven {
        return String::new();
    }
    format!("; if the revision is at fault, `kubectl rayfleet rollout undo {}`", planner.fleet.name)
}
