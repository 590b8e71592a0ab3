//! A group takes traffic: its gate is open and the fleet's Service lists its head. Or it leaves, and drains.

use std::time::Duration;

use rayfleet_api::names::GATE_SERVING;
use rayfleet_api::status::Phase;
use rayfleet_api::valid::after;

use super::group::{Group, Stop, Trouble};
use super::pod_problem;
use super::words::{quoted, said};
use crate::diagnose::answer::{NoAnswer, is_whole, items};
use crate::diagnose::objects::Pod;

/// The gate is opened before a group is called Ready, and EndpointSlices follow within moments.
const PATIENCE: Duration = Duration::from_secs(30);
/// Addresses that are shown.
const ADDRESSES: usize = 8;

pub(super) fn flows(group: &Group<'_>) -> Stop {
    let status = group.status;
    if status.phase != Phase::Ready {
        return Stop::Waits(group.message());
    }
    // A group whose gate is shut, or whose head is listed as not ready, has no `readySince`.
    let since = status.ready_since.as_ref().or(status.phase_since.as_ref());
    let waited = since.is_some_and(|since| after(since.0, PATIENCE) < group.case.facts.now);
    if !waited {
        return Stop::No;
    }
    let Some(head) = group.head() else {
        return if is_whole(&group.case.of.pods) { Stop::Wrong(no_head(group)) } else { Stop::No };
    };
    gated(group, head).or_else(|| unlisted(group, head)).map_or(Stop::No, Stop::Wrong)
}

fn no_head(group: &Group<'_>) -> Trouble {
    Trouble {
        key: "head".to_owned(),
        subject: group.subject(),
        about: Some("status.groups[].phase".to_owned()),
        what: "Ready, but has no head pod that stays, so it gets no requests".to_owned(),
        evidence: group.pods.iter().map(|pod| pod_problem::in_words(pod)).collect(),
        cure: "the orchestrator sees that within seconds and repairs the group; ask again".to_owned(),
    }
}

fn gated(group: &Group<'_>, head: &Pod) -> Option<Trouble> {
    let (name, namespace) = (&head.metadata.name, group.namespace());
    let gated = head.spec.readiness_gates.iter().flatten().any(|gate| gate.condition_type == GATE_SERVING);
    (gated && !pod_problem::is_true(head, GATE_SERVING)).then(|| Trouble {
        key: "gate".to_owned(),
        subject: group.pod_subject(head),
        about: Some(GATE_SERVING.to_owned()),
        what: format!("Ready, but the gate of its head {name} is not open, so it gets no requests"),
        evidence: vec![pod_problem::in_words(head)],
        cure: format!(
            "see whether the orchestrator may patch pods/status (manifests/rbac.yaml), and what else writes that \
             condition: kubectl -n {namespace} get pod {name} -o yaml --show-managed-fields"
        ),
    })
}

/// The Service is not there or does not list the head.
fn unlisted(group: &Group<'_>, head: &Pod) -> Option<Trouble> {
    let of = group.case.of;
    let (fleet, name, namespace) = (group.case.name(), &head.metadata.name, group.namespace());
    let address = head.status.pod_ip.as_deref().unwrap_or_default();
    let endpoints = items(&of.endpoints);
    let gone = matches!(of.service, Err(NoAnswer::Missing));
    let listed = endpoints.iter().any(|it| it.address == address && it.ready);
    if !gone && (listed || !is_whole(&of.endpoints)) {
        return None;
    }
    // Whoever refuses the Service is the cause.
    let refused = group.case.condition("ServiceFailed", "True");
    let what = match (gone, endpoints.is_empty()) {
        (true, _) => format!("Ready, but Service {fleet} is not there"),
        (false, true) => format!("Ready, but Service {fleet} has no endpoints"),
        (false, false) => {
            format!("Ready, but Service {fleet} does not list its head {name} ({address}) as ready")
        }
    };
    let mut evidence: Vec<String> = refused.into_iter().map(said).collect();
    let known: Vec<&str> = endpoints.iter().take(ADDRESSES).map(|it| it.address.as_str()).collect();
    if !known.is_empty() {
        evidence.push(quoted(&format!("Service {fleet} lists {}", known.join(", "))));
    }
    evidence.push(pod_problem::in_words(head));
    let cure = match (refused, gone) {
        (Some(_), _) => "the condition ServiceFailed names who refuses the Service, or whose it is".to_owned(),
        (None, true) => {
            "the orchestrator makes it again within a minute; if it does not, see its log: kubectl -n rayfleet-system \
             logs deployment/rayfleet-orchestrator"
                .to_owned()
        }
        (None, false) => format!(
            "compare the Service's selector with the head's labels: kubectl -n {namespace} describe service {fleet}; \
             kubectl -n {namespace} get pod {name} --show-labels"
        ),
    };
    let about = refused.map_or_else(|| "endpoints".to_owned(), |it| format!("ServiceFailed/{}", it.reason));
    let (key, subject) = ("endpoints".to_owned(), group.pod_subject(head));
    Some(Trouble { key, subject, about: Some(about), what, evidence, cure })
}
