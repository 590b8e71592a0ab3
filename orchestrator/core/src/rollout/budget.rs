//! The availability budget: how many serving groups may be taken out of service now.

use jiff::Timestamp;
use rayfleet_api::ValidFleet;
use rayfleet_api::spec::StrategyType;
use rayfleet_api::status::GroupStatus;

use super::classify::{counts_as_serving, is_available};

/// The number of available groups, and the minimum.
#[derive(Clone)]
pub(super) struct Budget<'a> {
    fleet: &'a ValidFleet,
    now: Timestamp,
    available: u32,
    floor: u32,
}

impl<'a> Budget<'a> {
    pub(super) fn new(fleet: &'a ValidFleet, groups: &[GroupStatus], now: Timestamp) -> Self {
        let strategy = &fleet.strategy;
        // Without a surge none could ever be replaced.
        let least = u32::from(strategy.kind == StrategyType::Recreate);
        let available = groups.iter().filter(|group| is_available(fleet, group, now)).count();
        Self {
            fleet,
            now,
            available: u32::try_from(available).unwrap_or(u32::MAX),
            floor: fleet.replicas.saturating_sub(strategy.max_unavailable.max(least)),
        }
    }

    /// Whether this group may be taken out of service; if so, the budget counts it as gone.
    ///
    /// A group that does not serve costs nothing. One that serves, even if it is not ready or not available
    /// yet, may go only while enough others are available.
    pub(super) fn take(&mut self, group: &GroupStatus) -> bool {
        let allowed = self.allows(group);
        if allowed {
            self.available -= self.costs(group);
        }
        allowed
    }

    /// Whether it may be taken now. If not, it may not later either: a budget only shrinks.
    pub(super) fn allows(&self, group: &GroupStatus) -> bool {
        let left = self.available.checked_sub(self.costs(group));
        !counts_as_serving(self.fleet, group, self.now) || left.is_some_and(|left| left >= self.floor)
    }

    fn costs(&self, group: &GroupStatus) -> u32 {
        u32::from(is_available(self.fleet, group, self.now))
    }
}
