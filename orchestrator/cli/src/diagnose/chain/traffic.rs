//! A group takes traffic: its gate is open and the fleet's Service lists its head. Or it leaves, and drains.

use std::time::Duration;

use rayfleet_api::names::GATE_SERVING;
use rayfleet_api::status::Phase;
use rayfleet_api::valid::after;

use super::groups::{Group, Stop, Trouble};
use super::pod_problem;

/// The gate is opened before a group is called Ready, and EndpointSlices follow within moments.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn flows(group: &Group<'_>) -> Stop {
    let status = group.status;
    if status.phase != Phase::Ready {
        return Stop::Waits(group.message());
    }
    let (Ok(_), Some(since)) = (&group.case.of.pods, status.ready_since.as_ref()) else { return Stop::No };
    if after(since.0, PATIENCE) >= group.case.facts.now {
        return Stop::No;
    }
    let namespace = group.namespace();
    let Some(head) = group.head() else { return Stop::No };
    let name = &head.metadata.name;
    let trouble = |key: &str, about: &str, what: String, evidence: Vec<String>, cure: String| {
        Stop::Wrong(Trouble {
            key: key.to_owned(),
            subject: group.pod_subject(head),
            about: Some(about.to_owned()),
            what,
            evidence,
            cure,
        })
    };
    let gated = head.spec.readiness_gates.iter().flatten().any(|gate| gate.condition_type == GATE_SERVING);
    if gated && !pod_problem::is_true(head, GATE_SERVING) {
        return trouble(
            "gate",
            GATE_SERVING,
            format!("it is Ready, but the gate of its head {name} is not open, so it gets no requests"),
            vec![pod_problem::in_words(head)],
            format!(
                "see whether the orchestrator may patch pods/status (manifests/rbac.yaml), and what else writes that \
                 condition: kubectl -n {namespace} get pod {name} -o yaml --show-managed-fields"
            ),
        );
    }
    let address = head.status.pod_ip.as_deref().unwrap_or_default();
    let listed = |endpoints: &Vec<_>| {
        endpoints.iter().any(|it: &crate::diagnose::facts::Endpoint| it.address == address && it.ready)
    };
    match &group.case.of.endpoints {
        Ok(endpoints) if !endpoints.is_empty() && !listed(endpoints) => {
            let fleet = group.case.name();
            let known: Vec<&str> = endpoints.iter().take(8).map(|it| it.address.as_str()).collect();
            trouble(
                "endpoints",
                "endpoints",
                format!(
                    "it is Ready, but Service {fleet} does not list its head {name} ({address}) as ready"
                ),
                vec![format!("Service {fleet} lists {}", known.join(", ")), pod_problem::in_words(head)],
                format!(
                    "compare the Service's selector with the head's labels: kubectl -n {namespace} describe service \
                     {fleet}; kubectl -n {namespace} get pod {name} --show-labels"
                ),
            )
        }
        _ => Stop::No,
    }
}
