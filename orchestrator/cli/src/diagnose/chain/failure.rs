//! The last failure of a group that has not recovered from it: its kind, its words, how often, what is next, and
//! what helps by kind.

use rayfleet_api::status::{FailureKind, Goal, GroupStatus, Phase};
use rayfleet_cli_kit::age;

use super::group::{Group, Trouble};
use super::pod_problem;
use super::words::{at, quoted};
use crate::diagnose::answer::is_whole;

/// Whether it has failed and does not serve again yet.
pub(super) fn recovers(status: &GroupStatus) -> bool {
    match status.phase {
        Phase::Failed => true,
        // One that fails as a whole is counted before it goes.
        Phase::Stopping => status.goal == Goal::Retire && status.failures > 0 && !is_inherited(status),
        Phase::Ready | Phase::Draining | Phase::Suspended => false,
        _ => status.failures > 0 || status.restarts > 0,
    }
}

/// Its last failure is that of the group for which it was made, while it comes up.
fn is_inherited(status: &GroupStatus) -> bool {
    let (failure, start) = (status.last_failure.as_ref(), status.started_at.as_ref());
    failure.zip(start).is_some_and(|(failure, start)| failure.time.0 < start.0)
}

/// The failure as what is wrong.
pub(super) fn trouble(group: &Group<'_>) -> Trouble {
    let (status, now) = (group.status, group.case.facts.now);
    let last = status.last_failure.as_ref();
    let kind = last.map(|last| last.kind);
    let since = last.map(|last| age::since(Some(last.time.0), now));
    let what = match (kind, since) {
        (Some(kind), Some(since)) => format!("{kind} {since} ago: {}", means(kind)),
        _ => "it has failed and does not serve again yet".to_owned(),
    };
    let mut evidence = Vec::new();
    // While it has failed the message has the cause; later the reason of its goal keeps it.
    if status.phase != Phase::Failed {
        evidence.extend(status.goal_reason.as_deref().map(quoted));
    }
    evidence.push(format!("group {} is {}", status.name, group.message()));
    evidence.push(tries(group));
    evidence.extend(group.pods.iter().flat_map(|pod| pod_problem::endings(pod)));
    let blamed = group.case.of.fleet.status.iter().flat_map(|status| &status.node_failures);
    evidence.extend(blamed.map(|it| {
        let avoided = if it.avoided { ", new groups avoid it" } else { "" };
        quoted(&format!(
            "node {}: {} failures within an hour{avoided}; the last: {}",
            it.node, it.failures, it.cause
        ))
    }));
    Trouble {
        key: kind.map_or_else(|| "failed".to_owned(), |kind| kind.to_string()),
        subject: group.subject(),
        about: kind.map(|kind| kind.to_string()),
        what,
        evidence,
        cure: cure(group, kind) + &group.case.or_undo(),
    }
}

/// How often it was tried, and when it is tried again.
fn tries(group: &Group<'_>) -> String {
    let (status, now) = (group.status, group.case.facts.now);
    let mut words =
        format!("{} engine restarts, re-created {} times after failures", status.restarts, status.failures);
    if let Some(retry) = status.retry_after.as_ref().map(|time| time.0).filter(|retry| *retry > now) {
        words = format!("{words}; the next try is {}", at(retry, now));
    }
    if let Some(end) = status.start_deadline.as_ref().map(|time| time.0).filter(|end| *end > now) {
        words = format!("{words}; this launch has until {end}");
    }
    words
}

/// A kind in words, as docs/operations.md has them.
fn means(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::RankDied => "ranks died while their nodes live",
        FailureKind::EngineDied => "the engine's own processes died or gave up",
        FailureKind::JobEnded => "the engine's job ended",
        FailureKind::NodeLost => "a node was lost, with its ranks",
        FailureKind::HeadLost => "Ray's head was lost or has forgotten the engine",
        FailureKind::PodLost => "a pod was lost",
        FailureKind::PodStuck => "a pod does not end",
        FailureKind::SeveralHeads => "KubeRay made several head pods for one RayCluster",
        FailureKind::Hung => "requests waited and the engine made no step",
        FailureKind::Unhealthy => "the engine says that it is not healthy",
        FailureKind::WrongPlacement => "ranks were not where the plan has them",
        FailureKind::ProbeFailed => "the probe prompt was not answered as expected",
        FailureKind::FormationTimedOut => "pods, Ray nodes or an engine of the template were not up in time",
        FailureKind::LaunchRefused => "Ray did not take the engine's launch in time",
        FailureKind::StartTimedOut => "the engine was not ready in time",
        FailureKind::NotReady => "it had served and was not ready again in time",
        FailureKind::StopTimedOut => "the engine does not end",
        FailureKind::DashboardUnreachable => "the Ray dashboard does not answer",
    }
}

fn cure(group: &Group<'_>, kind: Option<FailureKind>) -> String {
    let namespace = group.namespace();
    let head = group.head().map_or("HEAD-POD", |head| &*head.metadata.name);
    let describe = format!("kubectl -n {namespace} describe pod {head}");
    let memory = group.pods.iter().any(|pod| pod_problem::out_of_memory(pod));
    if memory {
        return "raise resources.limits.memory in spec.template: a container of the group ran out of it"
            .to_owned();
    }
    match kind {
        Some(FailureKind::NodeLost) => {
            "see to the machine; once it is off for good: kubectl delete node NODE. The group is re-created elsewhere \
             as far as there is room"
                .to_owned()
        }
        Some(FailureKind::HeadLost | FailureKind::PodLost) => {
            format!("see why the pod went: {describe}, and kubectl -n {namespace} get events")
        }
        Some(FailureKind::PodStuck) => {
            "see the pod's finalizers and its node's kubelet; once that machine is off for good: kubectl delete node NODE"
                .to_owned()
        }
        Some(FailureKind::SeveralHeads) => {
            "none is needed: another group takes its place. If it comes again: see the log of KubeRay's operator, and whether \
             anybody else makes pods with this RayCluster as their owner"
                .to_owned()
        }
        Some(FailureKind::Hung) => {
            format!("{}; if requests may take that long, raise spec.failurePolicy.hungAfter", log(group, head))
        }
        Some(FailureKind::ProbeFailed) => {
            format!("compare spec.model.probe with what the model answers; {}", log(group, head))
        }
        Some(FailureKind::StartTimedOut) => {
            format!("if it only needs longer, raise spec.model.startTimeout; else {}", log(group, head))
        }
        Some(FailureKind::FormationTimedOut) => {
            format!("{describe}; if it only needs longer, raise spec.model.startTimeout")
        }
        Some(FailureKind::LaunchRefused) => {
            "correct what Ray's words name (event LaunchFailed): GPUs, runtime environment or the version of Ray".to_owned()
        }
        Some(FailureKind::DashboardUnreachable) => {
            "admit namespace rayfleet-system in the NetworkPolicies (manifests/fleet-network-policy.yaml), and see the \
             head's log"
                .to_owned()
        }
        _ => log(group, head),
    }
}

/// Where the engine's log is. With `spec.model` it is that of a Ray job, named by group, engine and launch.
fn log(group: &Group<'_>, head: &str) -> String {
    let (status, namespace) = (group.status, group.namespace());
    if is_whole(&group.case.of.pods) && group.head().is_none() {
        let fleet = group.case.name();
        return format!(
            "its head is gone, and the engine's log with it; see kubectl -n {namespace} describe rayclusterfleet {fleet}"
        );
    }
    if group.case.of.fleet.spec.model.is_none() {
        return format!("read the engine's log: kubectl -n {namespace} logs {head}");
    }
    let launch =
        if status.phase == Phase::Failed { status.launch } else { status.launch.saturating_sub(1).max(1) };
    let engine = status.engine_revision.as_deref().unwrap_or_default();
    format!(
        "read the engine's log: kubectl -n {namespace} exec {head} -- tail -n 200 \
         /tmp/ray/session_latest/logs/job-driver-{}.{engine}.{launch}.log",
        status.name
    )
}
