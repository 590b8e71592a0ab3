//! The Ray nodes of a group have joined and its dashboard answers, as the orchestrator reports it.

use std::time::Duration;

use rayfleet_api::status::Phase;
use rayfleet_api::valid::after;
use rayfleet_cli_kit::age;

use super::group::{Group, Stop, Trouble};
use super::pod_problem;
use super::words::{ago, said};

/// Ray forms within seconds once all containers are ready: KubeRay's probes ask Ray itself.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) fn formed(group: &Group<'_>) -> Stop {
    if let Some(unreachable) = group.case.condition("Unreachable", "True").filter(|_| !group.leaves()) {
        return Stop::Wrong(Trouble {
            key: "unreachable".to_owned(),
            subject: group.subject(),
            about: Some("Unreachable".to_owned()),
            what: "no pod of the namespace answers the orchestrator, although Kubernetes reports them ready".to_owned(),
            evidence: vec![said(unreachable)],
            cure: "admit namespace rayfleet-system in the NetworkPolicies (manifests/fleet-network-policy.yaml), or \
                   check the network of the node on which the orchestrator's leader runs"
                .to_owned(),
        });
    }
    if group.status.phase != Phase::Forming {
        return Stop::No;
    }
    let now = group.case.facts.now;
    let since = group.status.phase_since.as_ref().map(|time| time.0);
    let served = group.status.not_ready_since.as_ref().map(|time| time.0);
    let long = since.is_some_and(|since| after(since, PATIENCE) < now);
    if !long && served.is_none() {
        return Stop::Waits(group.message());
    }
    let namespace = group.namespace();
    let head = group.head_name();
    let what = match served {
        Some(_) => format!("it served and lost Ray {}: {}", ago(served, now), group.message()),
        None => format!("its Ray cluster has not formed for {}, with all pods up", age::since(since, now)),
    };
    let mut evidence = vec![format!("group {} is {}", group.status.name, group.message())];
    let address = group.cluster.and_then(|it| it.status.as_ref()?.head.as_ref()?.pod_ip.as_deref());
    evidence.extend(address.is_none().then(|| "KubeRay names no address of the head".to_owned()));
    evidence.extend(group.pods.iter().flat_map(|pod| pod_problem::endings(pod)));
    Stop::Wrong(Trouble {
        key: "ray".to_owned(),
        subject: group.subject(),
        about: Some("status.groups[].phase".to_owned()),
        what,
        evidence,
        cure: format!(
            "if the dashboard does not answer: ray[default] in the image, and a NetworkPolicy that admits rayfleet-system; \
             if Ray nodes are missing: rayVersion is the Ray of the image; see kubectl -n {namespace} logs {head}"
        ),
    })
}
