//! A group's RayCluster was made, is KubeRay's, and KubeRay acts on it.

use std::time::Duration;

use rayfleet_api::status::{Phase, RolloutStep};
use rayfleet_api::valid::after;
use rayfleet_cli_kit::age;

use super::group::{Group, Stop, Trouble};
use super::words::{quoted, said};
use super::{failure, kuberay};
use crate::diagnose::answer::is_whole;
use crate::diagnose::objects::{Cluster, condition};
use crate::fleets::KUBERAY_OPERATOR;

/// `spec.managedBy` of a RayCluster that KubeRay's operator looks after; the default.
const KUBERAY: &str = "ray.io/kuberay-operator";
/// KubeRay has had the time to see a RayCluster and to make its pods.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn made(group: &Group<'_>) -> Stop {
    let phase = group.status.phase;
    if phase == Phase::Suspended {
        return Stop::Waits(group.message());
    }
    if phase == Phase::Pending && group.cluster.is_none() {
        return not_made(group);
    }
    let Some(cluster) = group.cluster else { return Stop::No };
    match refused(group, cluster).or_else(|| ignored(group, cluster)) {
        Some(trouble) if !group.leaves() => Stop::Wrong(trouble),
        _ => Stop::No,
    }
}

fn not_made(group: &Group<'_>) -> Stop {
    let case = &group.case;
    if failure::recovers(group.status) {
        return Stop::Waits(group.message());
    }
    let failed = case.condition("ReplicaFailure", "True");
    let failed = failed.filter(|it| it.reason == RolloutStep::CreateRefused.as_str());
    let Some(failed) = failed else { return Stop::Waits(group.message()) };
    let warnings =
        group.fleet_warnings("CreateRefused").into_iter().chain(group.fleet_warnings("CreateFailed"));
    let evidence = warnings.take(1).map(|event| quoted(event.message.as_deref().unwrap_or_default()));
    Stop::Wrong(Trouble {
        key: "refused".to_owned(),
        subject: group.subject(),
        about: Some("ReplicaFailure/CreateRefused".to_owned()),
        what: "the API server refuses the RayCluster: a quota, a policy, a webhook or a right".to_owned(),
        evidence: std::iter::once(said(failed)).chain(evidence).collect(),
        cure: "the API server's words name who refuses: change that or the template; it is tried again within a minute"
            .to_owned(),
    })
}

/// KubeRay does not take it, or cannot make its pods.
fn refused(group: &Group<'_>, cluster: &Cluster) -> Option<Trouble> {
    let name = &cluster.metadata.name;
    let trouble = |key: &str, about: &str, what: String, evidence: Vec<String>, cure: String| Trouble {
        key: key.to_owned(),
        subject: group.subject(),
        about: Some(about.to_owned()),
        what,
        evidence,
        cure,
    };
    if let Some(other) = cluster.spec.managed_by.as_deref().filter(|who| *who != KUBERAY) {
        return Some(trouble(
            other,
            "spec.managedBy",
            format!("its RayCluster is managed by {}, so KubeRay makes no pods here", quoted(other)),
            Vec::new(),
            format!(
                "keep Kueue's MultiKueue off this namespace or queue, then: kubectl -n {} delete raycluster {name}",
                group.namespace()
            ),
        ));
    }
    let conditions = cluster.status.as_ref().and_then(|status| status.conditions.as_ref());
    if let Some(failed) = condition(conditions, "ReplicaFailure").filter(|it| it.status == "True") {
        let reason = failed.reason.as_deref().unwrap_or("ReplicaFailure");
        let words = quoted(failed.message.as_deref().unwrap_or_default());
        return Some(trouble(
            reason,
            "ReplicaFailure",
            "KubeRay cannot make its pods".to_owned(),
            vec![format!("RayCluster {name}, condition ReplicaFailure ({reason}): {words}")],
            "give the namespace the quota, or KubeRay the rights, that it asks for".to_owned(),
        ));
    }
    // An event may be of an earlier RayCluster of this name.
    let created = cluster.metadata.created();
    let warnings = group.warnings("RayCluster", name);
    let warning =
        warnings.into_iter().find(|event| event.at().is_none_or(|at| created.is_none_or(|it| at >= it)));
    warning.filter(|_| group.pods.is_empty() && group.status.phase == Phase::Provisioning).map(|event| {
        let (reason, words) = (event.reason.as_deref().unwrap_or("Warning"), event.message.as_deref());
        trouble(
            reason,
            "events",
            "KubeRay refuses its RayCluster".to_owned(),
            vec![format!("event {reason} of RayCluster {name}: {}", quoted(words.unwrap_or_default()))],
            "correct the template by these words, or see KubeRay's log".to_owned(),
        )
    })
}

/// KubeRay does nothing about it.
fn ignored(group: &Group<'_>, cluster: &Cluster) -> Option<Trouble> {
    let now = group.case.facts.now;
    let old = |since: Option<jiff::Timestamp>| since.is_some_and(|since| after(since, PATIENCE) < now);
    let created = cluster.metadata.created();
    let unread = cluster.status.is_none() && old(created);
    let missing = group.status.phase == Phase::Provisioning
        && old(group.status.phase_since.as_ref().map(|time| time.0))
        && old(created)
        && is_whole(&group.case.of.pods)
        && !group.pods.iter().any(|pod| pod.metadata.deletion_timestamp.is_some())
        && cluster.spec.pods().and_then(|pods| usize::try_from(pods).ok()) > Some(group.live().count());
    if !unread && !missing {
        return None;
    }
    let name = &cluster.metadata.name;
    let what = if unread {
        format!("KubeRay has not acted on its RayCluster for {}", age::since(created, now))
    } else {
        let pods = cluster.spec.pods().unwrap_or_default();
        format!("KubeRay has made {} of its {pods} pods and makes no more", group.pods.len())
    };
    let mut evidence = vec![if unread {
        format!("RayCluster {name} has no status")
    } else {
        format!("group {name} is {}", group.message())
    }];
    evidence.extend(kuberay::operator(group.case.facts));
    Some(Trouble {
        key: "operator".to_owned(),
        subject: group.subject(),
        about: Some("status".to_owned()),
        what,
        evidence,
        cure: format!(
            "start KubeRay's operator, or let it watch this namespace: kubectl get pods -A -l {KUBERAY_OPERATOR}, and its log"
        ),
    })
}
