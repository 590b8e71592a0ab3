//! An orchestrator works: its lease is renewed, or the statuses of fleets follow their specs.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::valid::after;
use rayfleet_cli_kit::age;

use super::pod_problem;
use super::words::{ago, missing, not_read, quoted};
use crate::diagnose::answer::{NoAnswer, is_whole, items};
use crate::diagnose::facts::{Facts, FleetFacts};
use crate::diagnose::finding::{Finding, Subject, Verdict};
use crate::diagnose::objects::{LEASE, LeaseSpec, SYSTEM};

/// A change of a spec is observed within seconds; a new leader takes half a minute.
const PATIENCE: Duration = Duration::from_mins(1);
/// Clocks that are no further apart are alike.
const ALIKE: Duration = Duration::from_secs(5);
/// Pods that are shown.
const MOST: usize = 5;

/// Somebody leads, as far as that is known.
pub(crate) fn leads(facts: &Facts) -> Verdict {
    match &facts.lease {
        Ok(lease) => held(&lease.spec, facts).unwrap_or_else(|what| none(facts, what)),
        Err(answer) => by_statuses(facts, answer),
    }
}

/// Who leads, or that nobody does.
fn held(lease: &LeaseSpec, facts: &Facts) -> Result<Verdict, String> {
    let place = format!("lease {LEASE} in namespace {SYSTEM}");
    let holder = lease.holder_identity.as_deref().unwrap_or_default();
    if holder.is_empty() {
        return Err(format!("no orchestrator leads: {place} has no holder"));
    }
    let Some(renewed) = lease.renewed() else {
        return Err(format!("no orchestrator leads: {place} has no time of its renewal"));
    };
    let apart = if renewed > facts.now && renewed <= after(facts.now, ALIKE) {
        "just now".to_owned()
    } else if renewed > facts.now {
        format!("{} ahead of the API server's clock", age::span(age::between(facts.now, renewed)))
    } else {
        ago(Some(renewed), facts.now)
    };
    if lease.is_fresh(facts.now) {
        return Ok(Verdict::Ok(format!("{} leads, lease renewed {apart}", quoted(holder))));
    }
    match facts.renews {
        Some(true) => Ok(Verdict::Ok(format!(
            "{} leads and renews its lease; its clock differs: the lease before was written {apart}",
            quoted(holder)
        ))),
        None => {
            Ok(Verdict::Unknown(format!("{place} was last renewed {apart}, and could not be read again")))
        }
        Some(false) => Err(format!("no orchestrator leads: {place} was last renewed {apart}")),
    }
}

/// Without the lease: statuses that follow their specs show that an orchestrator works.
fn by_statuses(facts: &Facts, answer: &NoAnswer) -> Verdict {
    let lease = format!("lease {LEASE} in namespace {SYSTEM}: {}", not_read(answer));
    let fleets = items(&facts.fleets);
    let late: Vec<&FleetFacts> = fleets.iter().filter(|of| is_late(of, facts.now)).collect();
    match (late.first(), answer) {
        // One that is late beside others that are not may be left out with --namespaces: that is said of it alone. A status says
        // nothing of whether anybody works now.
        _ if fleets.iter().any(FleetFacts::is_observed) => {
            Verdict::Unknown(format!("the statuses of fleets follow their specs; {lease}"))
        }
        (Some(of), _) => {
            let more = match late.len() {
                1 => String::new(),
                all => format!(", and {} others are late, too", all - 1),
            };
            none(facts, format!("no orchestrator works: {}{more}", lateness(of, facts.now)))
        }
        (None, NoAnswer::Missing) if fleets.is_empty() => {
            none(facts, format!("no orchestrator works: {lease}"))
        }
        (None, _) => Verdict::Unknown(lease),
    }
}

/// Whether a spec has not been observed although there was time.
pub(super) fn is_late(of: &FleetFacts, now: Timestamp) -> bool {
    let had_time = of.written.is_some_and(|written| after(written, PATIENCE) < now);
    had_time && !of.is_observed()
}

/// Which generation has not been observed, and since when.
pub(super) fn lateness(of: &FleetFacts, now: Timestamp) -> String {
    let generation = of.fleet.metadata.generation.unwrap_or_default();
    let name = of.fleet.metadata.name.as_deref().unwrap_or_default();
    let since = age::since(of.written, now);
    match of.fleet.status.as_ref().and_then(|status| status.observed_generation) {
        Some(observed) => format!(
            "fleet {name} has been at generation {generation} for {since}, and its status is of generation {observed}"
        ),
        None => format!("fleet {name} has had no status for {since}"),
    }
}

fn none(facts: &Facts, what: String) -> Verdict {
    let pods = items(&facts.orchestrators);
    let mut evidence: Vec<String> = pods.iter().take(MOST).map(pod_problem::in_words).collect();
    evidence.extend(missing("the orchestrator's pods", &facts.orchestrators));
    let known = is_whole(&facts.orchestrators);
    if known && pods.is_empty() {
        evidence.push(format!("namespace {SYSTEM} has no pod of the orchestrator"));
    }
    let cure = if !pods.is_empty() {
        format!(
            "see kubectl -n {SYSTEM} describe pods, and kubectl -n {SYSTEM} logs deployment/{LEASE}; an installation \
             with another --lease-namespace has its lease there"
        )
    } else if known {
        format!("install it: docs/operations.md#install (kubectl -n {SYSTEM} get deployments,pods,leases)")
    } else {
        format!(
            "ask whoever runs it to see kubectl -n {SYSTEM} get deployments,pods,leases, and whether its --namespaces \
             (RAYFLEET_NAMESPACES) has this one"
        )
    };
    let subject = Subject::new("Lease", SYSTEM, LEASE);
    Verdict::Wrong(Finding { subject, about: None, what, evidence, cure })
}
