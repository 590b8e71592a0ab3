//! A group's pods are scheduled, their volumes, networks and images come, and their containers stay up.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::status::Phase;
use rayfleet_api::valid::after;
use rayfleet_cli_kit::age;
use rayfleet_core::observed::PodProblem;

use super::ended;
use super::group::{Group, Stop, Trouble, comes_up};
use super::pod_problem;
use super::words::quoted;
use crate::diagnose::objects::{Event, Pod};

/// Warnings about what a node does not give a pod, the one that explains the others first.
const NOT_GIVEN: [&str; 6] = [
    "FailedAttachVolume",
    "FailedMount",
    "FailedMapVolume",
    "NetworkNotReady",
    "FailedCreatePodSandBox",
    "FailedPrepareDynamicResources",
];
/// A kubelet that still fails says so again within this time.
const RECENT: Duration = Duration::from_mins(5);
/// Condition of a pod whose volumes and network are there.
const STARTS: &str = "PodReadyToStartContainers";
/// Condition of a pod all of whose containers are ready, whatever its gate says.
const READY: &str = "ContainersReady";
/// A pod that ends takes no longer after its grace period.
const STUCK: Duration = Duration::from_mins(1);

pub(super) fn started(group: &Group<'_>) -> Stop {
    if group.status.phase == Phase::Ready {
        return Stop::No;
    }
    let worst = group
        .live()
        .filter_map(|pod| Some((severity(&pod_problem::problem(pod)?), pod)))
        .min_by_key(|it| it.0);
    if let Some((_, pod)) = worst
        && let Some(problem) = pod_problem::problem(pod)
        && !group.leaves()
    {
        // An autoscaler may add nodes; that wait has an end of its own.
        if let Some(end) = &group.status.pend_until
            && problem.reason == "Unschedulable"
        {
            return Stop::Waits(format!("waits until {} for nodes (strategy.whenNoRoom: Pend)", end.0));
        }
        return Stop::Wrong(troubled(group, pod, &problem));
    }
    if let Some(trouble) = ended::container(group).filter(|_| !group.leaves()) {
        return Stop::Wrong(trouble);
    }
    if let Some(trouble) = group.live().find_map(|pod| not_given(group, pod)).filter(|_| !group.leaves()) {
        return Stop::Wrong(trouble);
    }
    if let Some(trouble) = group.pods.iter().find_map(|pod| stuck(group, pod)) {
        return Stop::Wrong(trouble);
    }
    if group.status.phase != Phase::Provisioning {
        return Stop::No;
    }
    if let Some(since) = &group.status.not_ready_since {
        return Stop::Wrong(not_ready(group, since.0));
    }
    let waits = group.live().find_map(|pod| Some((pod, pod_problem::init_container(pod)?)));
    Stop::Waits(match waits {
        Some((pod, init)) => {
            let (name, namespace) = (&pod.metadata.name, group.namespace());
            format!("{}; see kubectl -n {namespace} logs {name} -c {init}", group.message())
        }
        None => group.message(),
    })
}

/// What hinders most comes first: no other pod's trouble goes away before it.
fn severity(problem: &PodProblem) -> u8 {
    match problem.reason.as_str() {
        _ if problem.no_image() => 0,
        "CrashLoopBackOff" => 1,
        "Unschedulable" => 3,
        _ => 2,
    }
}

fn troubled(group: &Group<'_>, pod: &Pod, problem: &PodProblem) -> Trouble {
    let (name, namespace) = (&pod.metadata.name, group.namespace());
    let mut evidence = vec![pod_problem::in_words(pod)];
    evidence.extend(pod_problem::endings(pod));
    let waits = group
        .status
        .message
        .as_deref()
        .map(|_| format!("group {} is {}", group.status.name, group.message()));
    evidence.extend(waits);
    let describe = format!("kubectl -n {namespace} describe pod {name}");
    let (key, what, cure) = match problem.reason.as_str() {
        _ if problem.no_image() => (
            format!("image {}", problem.subject),
            format!("image {} cannot be pulled", quoted(&problem.subject)),
            format!("correct the image or its imagePullSecrets in spec.template; see {describe}"),
        ),
        "CrashLoopBackOff" if pod_problem::out_of_memory(pod) => (
            "OOMKilled".to_owned(),
            format!("container {} of pod {name} runs out of memory again and again", problem.subject),
            "raise resources.limits.memory of that container in spec.template".to_owned(),
        ),
        "CrashLoopBackOff" => (
            format!("crash {}", problem.subject),
            format!("container {} of pod {name} keeps ending", problem.subject),
            format!("see kubectl -n {namespace} logs -p {name} -c {}{}", problem.subject, group.case.or_undo()),
        ),
        "Unschedulable" => (
            "Unschedulable".to_owned(),
            "no node has room for the pods".to_owned(),
            "add nodes, free what the pods request, or lower spec.replicas; the scheduler's words say what is missing"
                .to_owned(),
        ),
        "SchedulingGated" => (
            "SchedulingGated".to_owned(),
            format!("pod {name} is held back by a scheduling gate"),
            format!("see who sets spec.schedulingGates: {describe}"),
        ),
        "Evicted" => (
            "Evicted".to_owned(),
            format!("pod {name} was evicted by its node"),
            format!("give the node or the pod what its message says ran out: {describe}"),
        ),
        reason => (reason.to_owned(), format!("pod {name}: {reason}"), format!("see {describe}{}", group.case.or_undo())),
    };
    Trouble {
        key,
        subject: group.pod_subject(pod),
        about: Some(problem.reason.clone()),
        what,
        evidence,
        cure,
    }
}

/// It served, and a container of it has ended or a pod is gone, without any other word of Kubernetes.
fn not_ready(group: &Group<'_>, since: Timestamp) -> Trouble {
    let mut evidence = vec![format!("group {} is {}", group.status.name, group.message())];
    evidence.extend(
        group
            .pods
            .iter()
            .filter(|pod| !pod_problem::is_true(pod, READY))
            .map(|pod| pod_problem::in_words(pod)),
    );
    evidence.extend(group.pods.iter().flat_map(|pod| pod_problem::endings(pod)));
    Trouble {
        key: "not ready".to_owned(),
        subject: group.subject(),
        about: Some("status.groups[].notReadySince".to_owned()),
        what: format!(
            "it served, and its pods have not all been ready for {}",
            age::since(Some(since), group.case.facts.now)
        ),
        evidence,
        cure: format!(
            "it may recover by itself, else it is launched again after spec.failurePolicy.hungAfter; see kubectl -n {} \
             describe pods -l ray.io/cluster={}",
            group.namespace(),
            group.status.name
        ),
    }
}

/// A pod none of whose containers has started, because its node does not give it something.
fn not_given(group: &Group<'_>, pod: &Pod) -> Option<Trouble> {
    if !comes_up(group.status) || pod_problem::has_started(pod) || pod_problem::is_true(pod, STARTS) {
        return None;
    }
    let (name, namespace) = (&pod.metadata.name, group.namespace());
    let warnings = group.warnings("Pod", name);
    let is_recent = |event: &Event| event.at().is_some_and(|at| after(at, RECENT) >= group.case.facts.now);
    let event = NOT_GIVEN.iter().find_map(|reason| {
        let is_it = |event: &&&Event| event.reason.as_deref() == Some(*reason) && is_recent(event);
        warnings.iter().find(is_it).map(|event| (*reason, *event))
    });
    let (reason, event) = event?;
    let node = pod.spec.node_name.as_deref().unwrap_or("no node");
    let what = match reason {
        "FailedAttachVolume" => format!("a volume of pod {name} cannot be attached to node {node}"),
        "FailedMount" | "FailedMapVolume" => {
            format!("a volume of pod {name} cannot be mounted on node {node}")
        }
        "FailedPrepareDynamicResources" => format!("node {node} does not give pod {name} its devices"),
        _ => format!("node {node} gives pod {name} no network"),
    };
    let cure = if reason == "FailedAttachVolume" {
        "a ReadWriteOnce claim is on one node at a time: give spec.template a claim that all pods may have \
         (ReadOnlyMany, ReadWriteMany)"
            .to_owned()
    } else {
        format!(
            "see kubectl -n {namespace} describe pod {name}, and the kubelet of {node}{}",
            group.case.or_undo()
        )
    };
    Some(Trouble {
        key: reason.to_owned(),
        subject: group.pod_subject(pod),
        about: Some(reason.to_owned()),
        what,
        evidence: vec![format!(
            "event {reason} of pod {name}: {}",
            quoted(event.message.as_deref().unwrap_or_default())
        )],
        cure,
    })
}

/// A pod that does not end.
fn stuck(group: &Group<'_>, pod: &Pod) -> Option<Trouble> {
    let ends = pod.metadata.deleted()?;
    if after(ends, STUCK) >= group.case.facts.now {
        return None;
    }
    let (name, node) = (&pod.metadata.name, pod.spec.node_name.as_deref().unwrap_or("no node"));
    Some(Trouble {
        key: format!("stuck {node}"),
        subject: group.pod_subject(pod),
        about: Some("metadata.deletionTimestamp".to_owned()),
        what: format!("pod {name} on {node} does not end, and keeps what it holds"),
        evidence: vec![format!("it was to have ended at {ends}"), pod_problem::in_words(pod)],
        cure: format!(
            "see kubectl -n {} describe pod {name} (a finalizer?) and the kubelet of {node}; once that machine is off \
             for good: kubectl delete node {node}",
            group.namespace()
        ),
    })
}
