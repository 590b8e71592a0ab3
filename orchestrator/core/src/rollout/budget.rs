//! The budget of availability: how many serving groups may be taken out of service now.

use jiff::Timestamp;
use rayfleet_api::ValidFleet;
use rayfleet_api::status::GroupStatus;

use super::view::{available, holds};

/// Groups that are available, and the number that must stay so.
pub(super) struct Budget<'a> {
    fleet: &'a ValidFleet,
    now: Timestamp,
    available: u32,
    floor: u32,
}

impl<'a> Budget<'a> {
    pub(super) fn new(fleet: &'a ValidFleet, groups: &[GroupStatus], now: Timestamp) -> Self {
        let available = groups.iter().filter(|group| available(fleet, group, now)).count();
        Self {
            fleet,
            now,
            available: u32::try_from(available).unwrap_or(u32::MAX),
            floor: fleet.replicas.saturating_sub(fleet.strategy.max_unavailable),
        }
    }

    /// Whether this group may be taken out of service; if so it is counted as gone.
    ///
    /// A group that serves nobody is free. One that serves, even if not for long enough to be available, or
    /// that wavers, may go only while enough others are available.
    pub(super) fn take(&mut self, group: &GroupStatus) -> bool {
        if !holds(self.fleet, group, self.now) {
            return true;
        }
        let costs = u32::from(available(self.fleet, group, self.now));
        let allowed = self.available.checked_sub(costs).is_some_and(|left| left >= self.floor);
        if allowed {
            self.available -= costs;
        }
        allowed
    }
}
