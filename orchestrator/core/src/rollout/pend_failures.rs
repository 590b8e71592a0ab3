//! Waits for nodes that never came (`whenNoRoom: Pend`), as the status records them. When a group waits is decided in `pend`.

use jiff::Timestamp;
use rayfleet_api::status::RolloutStatus;

use crate::time;

/// Nodes were waited for in vain, for the revision to go to and the spec as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PendFailures {
    /// How often. Counts as far as waits grow with it.
    pub(super) times: u32,
    /// Before this moment no other group pends.
    pub(super) again: Timestamp,
}

impl PendFailures {
    /// As the status has it.
    pub(super) fn of(rollout: &RolloutStatus) -> Self {
        let again = rollout.pend_retry_after.as_ref().map_or(Timestamp::MIN, |again| again.0);
        Self { times: rollout.pend_failures.max(1), again }
    }

    /// Into the status.
    pub(super) fn record(self, rollout: &mut RolloutStatus) {
        rollout.pend_failed_revision = Some(rollout.to.clone());
        (rollout.pend_failures, rollout.pend_retry_after) = (self.times, Some(time::not_before(self.again)));
    }
}
