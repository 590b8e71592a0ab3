//! What a replica does about a lease that it has read. Pure: no client, no clock.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// How long a lease lasts after a renewal.
pub(super) const DURATION: Duration = Duration::from_secs(15);

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseAction {
    /// There is none.
    Create,
    /// It is ours.
    Renew,
    /// It is nobody's, or its holder has let it run out.
    TakeOver,
    /// It is another's.
    Wait,
}

/// A state of the lease, and when it was first observed by our own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObservedLease {
    version: Option<String>,
    since: Instant,
}

/// What to do about the lease as it was just read. `now` is a time after the answer came: a renewal that is
/// in it was made before. Gives also what was observed, for the next time.
///
/// Times in the lease do not matter, since clocks of machines differ: only that it changed does.
pub(super) fn next(
    lease: Option<&Lease>,
    identity: &str,
    before: Option<ObservedLease>,
    now: Instant,
) -> (LeaseAction, Option<ObservedLease>) {
    let Some(lease) = lease else { return (LeaseAction::Create, None) };
    let version = &lease.metadata.resource_version;
    let sighting = match before {
        Some(before) if before.version == *version => before,
        _ => ObservedLease { version: version.clone(), since: now },
    };
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    let step = if holder == identity {
        LeaseAction::Renew
    } else if holder.is_empty() || now.saturating_duration_since(sighting.since) >= DURATION {
        LeaseAction::TakeOver
    } else {
        LeaseAction::Wait
    };
    (step, Some(sighting))
}

/// The lease as it is to be written. Its metadata carries the resource version that was read, so that a
/// change in between makes the API server refuse it.
pub(super) fn held(lease: Lease, identity: &str, step: LeaseAction, now: Timestamp) -> Lease {
    let before = lease.spec.unwrap_or_default();
    let transitions = before.lease_transitions.unwrap_or_default();
    let (acquired, transitions) = match step {
        LeaseAction::Renew => (before.acquire_time.clone().unwrap_or(MicroTime(now)), transitions),
        LeaseAction::TakeOver => (MicroTime(now), transitions.saturating_add(1)),
        LeaseAction::Create | LeaseAction::Wait => (MicroTime(now), 0),
    };
    let spec = LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: Some(acquired),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions),
        ..before
    };
    Lease { metadata: lease.metadata, spec: Some(spec) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(version: &str, holder: &str) -> Lease {
        serde_json::from_value(json!({
            "metadata": {"name": "l", "namespace": "n", "resourceVersion": version},
            "spec": {
                "holderIdentity": holder, "leaseTransitions": 4, "leaseDurationSeconds": 15,
                // Long ago by the wall clock.
                "acquireTime": "2001-01-01T00:00:00.000000Z", "renewTime": "2001-01-01T00:00:00.000000Z"
            }
        }))
        .unwrap()
    }

    fn steps(looks: &[(u64, &str, &str)]) -> Vec<LeaseAction> {
        let start = clock::monotonic();
        let mut sighting = None;
        looks
            .iter()
            .map(|(second, version, holder)| {
                let now = start + SECOND * u32::try_from(*second).unwrap();
                let step;
                (step, sighting) = next(Some(&lease(version, holder)), "me", sighting.take(), now);
                step
            })
            .collect()
    }

    #[test]
    fn a_lease_of_another_is_taken_only_after_it_was_watched_for_its_whole_duration() {
        let looks = [(0, "1", "other"), (1, "1", "other"), (14, "1", "other"), (15, "1", "other")];
        assert_eq!(
            steps(&looks),
            [LeaseAction::Wait, LeaseAction::Wait, LeaseAction::Wait, LeaseAction::TakeOver]
        );
    }

    #[test]
    fn a_first_look_never_takes_it_however_late() {
        assert_eq!(steps(&[(1000, "1", "other")]), [LeaseAction::Wait]);
    }

    #[test]
    fn any_change_starts_the_wait_again() {
        let looks = [(0, "1", "other"), (14, "2", "other"), (28, "2", "other"), (29, "2", "other")];
        assert_eq!(
            steps(&looks),
            [LeaseAction::Wait, LeaseAction::Wait, LeaseAction::Wait, LeaseAction::TakeOver]
        );
    }

    #[test]
    fn a_lease_that_was_given_back_is_taken_at_once() {
        assert_eq!(steps(&[(0, "1", "")]), [LeaseAction::TakeOver]);
        let unheld = Lease { spec: None, ..lease("1", "") };
        assert_eq!(next(Some(&unheld), "me", None, clock::monotonic()).0, LeaseAction::TakeOver);
    }

    #[test]
    fn our_own_is_renewed_whenever_it_is_read() {
        assert_eq!(steps(&[(0, "1", "me"), (100, "1", "me")]), [LeaseAction::Renew, LeaseAction::Renew]);
    }

    #[test]
    fn a_missing_one_is_created_and_what_was_seen_of_it_forgotten() {
        let start = clock::monotonic();
        let (_, sighting) = next(Some(&lease("1", "other")), "me", None, start);
        assert_eq!(next(None, "me", sighting, start + SECOND), (LeaseAction::Create, None));
    }

    #[test]
    fn a_renewal_keeps_who_took_it_when_and_how_often() {
        let now = Timestamp::from_second(2_000_000_000).unwrap();
        let before = lease("7", "me");
        let spec = held(before.clone(), "me", LeaseAction::Renew, now).spec.unwrap();
        assert_eq!(spec.lease_transitions, Some(4));
        assert_eq!(spec.acquire_time, before.spec.unwrap().acquire_time);
        assert_eq!(spec.renew_time, Some(MicroTime(now)));
    }

    #[test]
    fn taking_it_over_counts_and_carries_the_version_that_was_read() {
        let now = Timestamp::from_second(2_000_000_000).unwrap();
        let taken = held(lease("7", "other"), "me", LeaseAction::TakeOver, now);
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("7"));
        let spec = taken.spec.unwrap();
        assert_eq!((spec.lease_transitions, spec.acquire_time), (Some(5), Some(MicroTime(now))));
        assert_eq!(spec.holder_identity.as_deref(), Some("me"));
    }
}
