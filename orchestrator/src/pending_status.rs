//! The status of a fleet that was decided and is not written yet. Decisions go on from them as if they were, so nothing is reported or
//! done twice; if they are lost, the next look comes to them again. What may wait, and how long, is decided elsewhere.

use std::time::{Duration, Instant};

use rayfleet_api::{RayClusterFleet, RayClusterFleetStatus};

/// What is not written yet, of one fleet.
#[derive(Debug, Default)]
pub(crate) struct PendingStatus {
    waiting: Option<Status>,
}

#[derive(Debug)]
struct Status {
    /// UID of the fleet; another one of its name starts again.
    uid: Option<String>,
    /// What the API server has; when somebody else writes there, that counts.
    base: RayClusterFleetStatus,
    next: RayClusterFleetStatus,
    due: Instant,
}

impl PendingStatus {
    /// The fleet with its newest status, written or not.
    pub(crate) fn overlay(&mut self, mut fleet: RayClusterFleet) -> RayClusterFleet {
        if let Some(status) = &self.waiting {
            if status.uid == fleet.metadata.uid && fleet.status.as_ref() == Some(&status.base) {
                fleet.status = Some(status.next.clone());
            } else {
                self.waiting = None;
            }
        }
        fleet
    }

    /// Keeps a status that may wait as long from `now`, or says nothing new. What waits already keeps its time if that is
    /// sooner. The fleet is as the API server has it. Gives the moment when it has to be written, `None` if that is now.
    pub(crate) fn defer(
        &mut self,
        fleet: &RayClusterFleet,
        next: RayClusterFleetStatus,
        wait: Option<Duration>,
        now: Instant,
    ) -> Option<Instant> {
        // A first status is wanted by everybody who waits for the fleet to be observed.
        let base = fleet.status.clone()?;
        let waiting = self.waiting.as_ref().map(|status| status.due);
        let due = wait.and_then(|wait| now.checked_add(wait)).into_iter().chain(waiting).min()?;
        if due <= now {
            return None;
        }
        self.waiting = Some(Status { uid: fleet.metadata.uid.clone(), base, next, due });
        Some(due)
    }

    /// Nothing waits any more.
    pub(crate) fn forget(&mut self) {
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const LONG: Option<Duration> = Some(Duration::from_secs(3));
    const SHORT: Option<Duration> = Some(Duration::from_secs(1));
    const SECOND: Duration = Duration::from_secs(1);

    fn status(ready: i32) -> RayClusterFleetStatus {
        RayClusterFleetStatus { ready_replicas: ready, ..RayClusterFleetStatus::default() }
    }

    fn fleet(ready: i32) -> RayClusterFleet {
        let mut fleet = crate::fixtures::raw_fleet();
        fleet.status = Some(status(ready));
        fleet
    }

    fn observed(pending: &mut PendingStatus, fleet: RayClusterFleet) -> i32 {
        pending.overlay(fleet).status.unwrap().ready_replicas
    }

    #[test]
    fn decisions_go_on_from_what_is_not_written_yet() {
        let (mut pending, now) = (PendingStatus::default(), clock::monotonic());
        assert_eq!(pending.defer(&fleet(0), status(1), LONG, now), Some(now + 3 * SECOND));
        assert_eq!(observed(&mut pending, fleet(0)), 1);
        pending.forget();
        assert_eq!(observed(&mut pending, fleet(0)), 0);
    }

    #[test]
    fn a_status_that_another_wrote_counts() {
        let (mut pending, now) = (PendingStatus::default(), clock::monotonic());
        pending.defer(&fleet(0), status(1), LONG, now);
        assert_eq!(observed(&mut pending, fleet(5)), 5);
        assert_eq!(observed(&mut pending, fleet(0)), 0, "it is not taken up again");
        pending.defer(&fleet(0), status(1), LONG, now);
        let mut other = fleet(0);
        other.metadata.uid = Some("another".into());
        assert_eq!(observed(&mut pending, other), 0);
    }

    #[test]
    fn the_first_deferred_change_sets_the_time() {
        let (mut pending, now) = (PendingStatus::default(), clock::monotonic());
        pending.defer(&fleet(0), status(1), LONG, now);
        assert_eq!(pending.defer(&fleet(0), status(2), LONG, now + SECOND), Some(now + 3 * SECOND));
        assert_eq!(pending.defer(&fleet(0), status(3), SHORT, now + SECOND), Some(now + 2 * SECOND));
        assert_eq!(pending.defer(&fleet(0), status(3), None, now + SECOND), Some(now + 2 * SECOND));
        assert_eq!(pending.defer(&fleet(0), status(3), None, now + 2 * SECOND), None, "it is due");
        assert_eq!(pending.defer(&fleet(0), status(4), Some(Duration::ZERO), now), None);
    }

    #[test]
    fn a_first_status_does_not_wait() {
        let mut fresh = fleet(0);
        fresh.status = None;
        assert_eq!(PendingStatus::default().defer(&fresh, status(1), LONG, clock::monotonic()), None);
    }
}
