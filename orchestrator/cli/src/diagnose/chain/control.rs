//! The fleet is Rayfleet's to work on: no other controller, no other CRD, and the orchestrator observes it.

use std::time::Duration;

use kube::ResourceExt;
use rayfleet_api::names::{ANNOTATION_TAKE_OVER, KIND};
use rayfleet_api::valid::after;

use super::orchestrator;
use super::words::{missing, not_read, quoted, said};
use crate::diagnose::answer::items;
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Finding, Subject, Verdict};

/// Reasons of the orchestrator, of a condition and of an event.
const OWNED_BY_AIBRIX: &str = "OwnedByAIBrix";
const CRD_REPLACED: &str = "CRDReplaced";
/// An event of a state that lasts comes again within this time.
const RECENT: Duration = Duration::from_mins(30);

/// A fleet, as `namespace/name`, that is not of the form that its CRD demands.
pub(crate) fn unreadable(key: &str) -> Verdict {
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    Verdict::Wrong(Finding {
        subject: Subject::new(KIND, namespace, name),
        about: None,
        what: format!("fleet {key} cannot be read"),
        evidence: Vec::new(),
        cure: format!(
            "see kubectl -n {namespace} get rayclusterfleet {name} -o json, and whether this program is as \
                       new as the orchestrator"
        ),
    })
}

/// Nobody else writes, and the orchestrator has observed the spec.
pub(crate) fn own(case: &Case<'_>) -> Verdict {
    let (name, namespace) = (case.name(), case.namespace());
    let finding = |about: Option<&str>, what: String, evidence: Vec<String>, cure: String| Finding {
        subject: Subject::new(KIND, &namespace, &name),
        about: about.map(str::to_owned),
        what,
        evidence,
        cure,
    };
    let sets = items(&case.of.replica_sets);
    let stalled = case.condition("Stalled", "True").filter(|it| it.reason == OWNED_BY_AIBRIX);
    if stalled.is_some() || !sets.is_empty() {
        let agreed = case.of.fleet.annotations().get(ANNOTATION_TAKE_OVER).is_some_and(|it| it == "true");
        if agreed && stalled.is_none() {
            return Verdict::Waits(format!(
                "{} RayClusterReplicaSets of AIBrix are being taken over",
                sets.len()
            ));
        }
        let mut evidence: Vec<String> = stalled.into_iter().map(said).collect();
        if let Some(set) = sets.first() {
            let more = if sets.len() > 1 { format!(" and {} more", sets.len() - 1) } else { String::new() };
            evidence.push(format!("RayClusterReplicaSet {}{more} is owned by the fleet", set.name));
        }
        return Verdict::Wrong(finding(
            Some("Stalled/OwnedByAIBrix"),
            format!(
                "fleet {namespace}/{name} is AIBrix's: its controller works on it or did, so Rayfleet changes nothing"
            ),
            evidence,
            format!(
                "switch AIBrix's controller for fleets off, then: kubectl -n {namespace} annotate rayclusterfleet {name} \
                 {ANNOTATION_TAKE_OVER}=true (docs/from-aibrix.md#take-the-groups-over)"
            ),
        ));
    }
    let late = orchestrator::is_late(case.of, case.facts.now);
    let replaced = items(&case.of.events).iter().find(|event| {
        let recent = event.at().is_some_and(|at| after(at, RECENT) > case.facts.now);
        recent && event.reason.as_deref() == Some(CRD_REPLACED) && event.involved_object.kind == KIND
    });
    if let Some(event) = replaced.filter(|_| late) {
        return Verdict::Wrong(finding(
            Some(CRD_REPLACED),
            format!("fleet {namespace}/{name} has lost fields to AIBrix's CRD, so Rayfleet changes nothing"),
            vec![format!("event {CRD_REPLACED}: {}", quoted(event.message.as_deref().unwrap_or_default()))],
            "apply Rayfleet's CRD, then the fleet's manifest again: docs/from-aibrix.md#the-crd".to_owned(),
        ));
    }
    if late {
        let leads = match &case.facts.lease {
            Ok(_) => "an orchestrator leads, and works on other fleets or on none".to_owned(),
            Err(answer) => format!("whether an orchestrator leads is not known: {}", not_read(answer)),
        };
        let mut evidence = vec![leads];
        evidence.extend(missing("events", &case.of.events));
        return Verdict::Wrong(finding(
            Some("status.observedGeneration"),
            orchestrator::lateness(case.of, case.facts.now),
            evidence,
            format!(
                "if it has --namespaces (RAYFLEET_NAMESPACES), add {namespace}; else see its log: kubectl -n \
                 rayfleet-system logs deployment/rayfleet-orchestrator"
            ),
        ));
    }
    if case.of.fleet.metadata.deletion_timestamp.is_some() {
        return Verdict::Waits("it is being deleted: its groups drain first".to_owned());
    }
    // The orchestrator reports another controller, too.
    Verdict::Ok(match missing("RayClusterReplicaSets", &case.of.replica_sets) {
        None => "only Rayfleet works on it".to_owned(),
        Some(missing) => format!("no other controller is reported; not checked: {missing}"),
    })
}
