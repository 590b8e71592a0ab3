//! An orchestrator works: its lease is renewed, or the statuses of fleets follow their specs.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::valid::after;
use rayfleet_cli_kit::age;

use super::{ago, not_read, pod_problem, quoted};
use crate::diagnose::facts::{self, Facts, FleetFacts, LeaseSpec, NoAnswer};
use crate::diagnose::finding::{Finding, Subject, Verdict};
use crate::diagnose::read::{LEASE, SYSTEM};

/// A change of a spec is observed within seconds; a new leader takes half a minute.
const PATIENCE: Duration = Duration::from_mins(1);
/// What a lease may be older than its duration: clocks differ.
const SLACK: Duration = Duration::from_secs(15);
/// Duration of a lease that does not say it, in seconds.
const LEASE_SECONDS: i64 = 15;

/// Somebody leads, as far as that is known.
pub(crate) fn leads(facts: &Facts) -> Verdict {
    let late = || facts.fleets.iter().flatten().find(|of| is_late(of, facts.now));
    match &facts.lease {
        Ok(lease) => match held(&lease.spec, facts.now) {
            Ok(says) => Verdict::Ok(says),
            Err(what) => none(facts, what),
        },
        Err(answer) => {
            let lease = format!("lease {LEASE} in namespace {SYSTEM}: {}", not_read(answer));
            match late() {
                Some(of) => none(facts, format!("no orchestrator works: {}", lateness(of, facts.now))),
                None if facts.fleets.iter().flatten().next().is_none() => match answer {
                    NoAnswer::Missing => none(facts, format!("no orchestrator works: {lease}")),
                    _ => Verdict::Unknown(lease),
                },
                None => Verdict::Ok(format!("the statuses of fleets follow their specs; {lease}")),
            }
        }
    }
}

/// Who leads, or that nobody does.
fn held(lease: &LeaseSpec, now: Timestamp) -> Result<String, String> {
    let holder = lease.holder_identity.as_deref().unwrap_or_default();
    let renewed = facts::time(lease.renew_time.as_deref());
    if holder.is_empty() {
        return Err(format!("no orchestrator leads: lease {LEASE} in namespace {SYSTEM} has no holder"));
    }
    let seconds = lease.lease_duration_seconds.unwrap_or(LEASE_SECONDS).clamp(1, 3600);
    let lasts = Duration::from_secs(seconds.unsigned_abs()) + SLACK;
    let renewed_words = format!("renewed {}", ago(renewed, now));
    if renewed.is_some_and(|renewed| after(renewed, lasts) >= now) {
        Ok(format!("{} leads, lease {renewed_words}", quoted(holder)))
    } else {
        Err(format!("no orchestrator leads: lease {LEASE} in namespace {SYSTEM} was last {renewed_words}"))
    }
}

/// Whether a spec has not been observed although there was time.
pub(super) fn is_late(of: &FleetFacts, now: Timestamp) -> bool {
    let observed = of.fleet.status.as_ref().and_then(|status| status.observed_generation);
    let generation = of.fleet.metadata.generation.unwrap_or_default();
    let had_time = of.written.is_some_and(|written| after(written, PATIENCE) < now);
    had_time && observed.is_none_or(|observed| observed < generation)
}

/// Which generation has not been observed, and since when.
pub(super) fn lateness(of: &FleetFacts, now: Timestamp) -> String {
    let generation = of.fleet.metadata.generation.unwrap_or_default();
    let name = of.fleet.metadata.name.as_deref().unwrap_or_default();
    let since = age::since(of.written, now);
    match of.fleet.status.as_ref().and_then(|status| status.observed_generation) {
        Some(observed) => format!(
            "fleet {name} is at generation {generation} for {since}, and its status is of generation {observed}"
        ),
        None => format!("fleet {name} has had no status for {since}"),
    }
}

fn none(facts: &Facts, what: String) -> Verdict {
    let mut evidence = Vec::new();
    match &facts.orchestrators {
        Ok(pods) if pods.is_empty() => {
            evidence.push(format!("namespace {SYSTEM} has no pod of the orchestrator"));
        }
        Ok(pods) => evidence.extend(pods.iter().map(pod_problem::in_words)),
        Err(answer) => evidence.push(format!("the orchestrator's pods: {}", not_read(answer))),
    }
    let installed = facts.orchestrators.as_ref().is_ok_and(|pods| !pods.is_empty());
    let cure = if installed {
        format!(
            "see kubectl -n {SYSTEM} describe pods, and kubectl -n {SYSTEM} logs deployment/{LEASE}; an installation with another \
                 --lease-namespace has its lease there"
        )
    } else {
        format!("install it: docs/operations.md#install (kubectl -n {SYSTEM} get deployments,pods,leases)")
    };
    Verdict::Wrong(Finding {
        subject: Subject::new("Lease", SYSTEM, LEASE),
        about: None,
        what,
        evidence,
        cure,
    })
}
