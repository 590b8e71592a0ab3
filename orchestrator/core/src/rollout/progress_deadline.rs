//! When a rollout must have made progress, and whether it is waited for at all. Only by the status.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::ValidFleet;
use rayfleet_api::status::{RayClusterFleetStatus, RolloutStatus, RolloutStep};

use crate::{held, startup_times, time};

/// Whether a step, with groups missing or not, is one that something has to follow.
pub(super) fn waits(step: RolloutStep, missing: bool) -> bool {
    use RolloutStep::{Complete, Paused, RolledBack, Suspended, WaitingForNodes};
    match step {
        // Whoever suspended a group resumes it, and pods that wait for nodes have an end of their own.
        Complete | RolledBack | Suspended | WaitingForNodes => false,
        // What is held is the rollout, not the repair of what is there.
        Paused => missing,
        refused if held::is_step(refused) => missing,
        _ => true,
    }
}

/// The time by which there must be progress.
pub(super) fn deadline(rollout: &RolloutStatus, missing: bool, limit: Duration) -> Option<Timestamp> {
    time::end_of(rollout.last_progress.as_ref(), limit).filter(|_| waits(rollout.step, missing))
}

/// Whether there was no progress for too long, according to the status and for its spec.
pub(super) fn overdue(fleet: &ValidFleet, status: &RayClusterFleetStatus, now: Timestamp) -> bool {
    let rollout = status.rollout.as_ref().filter(|_| status.observed_generation == Some(fleet.generation));
    let limit = startup_times::progress_deadline(fleet, status);
    let missing = status.unavailable_replicas > 0;
    rollout.and_then(|rollout| deadline(rollout, missing, limit)).is_some_and(|end| end <= now)
}
