//! How many groups count as what. Nothing is decided here.

use super::classify::{RevisionMatch, is_available, is_ready, revision_match};
use super::planner::Planner;

/// Groups by what they count as.
pub(super) struct Counts {
    pub(super) wanted: i32,
    pub(super) replicas: i32,
    /// Of the revision to go to.
    pub(super) updated: i32,
    /// Of the revision that the fleet asks for: another one during a rollback.
    pub(super) of_asked: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
}

impl Counts {
    pub(super) fn new(planner: &Planner<'_>) -> Self {
        let (fleet, now) = (planner.fleet, planner.inputs.now);
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let groups = || planner.groups.iter();
        let asked = planner.inputs.target.asked();
        let of = |fleet| {
            number(
                planner
                    .active()
                    .filter(|group| revision_match(fleet, group) == RevisionMatch::UpToDate)
                    .count(),
            )
        };
        Self {
            wanted: i32::try_from(fleet.replicas).unwrap_or(i32::MAX),
            replicas: number(planner.groups.len()),
            updated: of(fleet),
            // Of a revision that is refused there is no group.
            of_asked: if planner.inputs.held.is_some_and(|held| held.stands_in) { 0 } else { of(asked) },
            ready: number(groups().filter(|group| is_ready(group)).count()),
            available: number(groups().filter(|group| is_available(fleet, group, now)).count()),
        }
    }

    pub(super) fn updated_in_words(&self) -> String {
        // A surge group of that revision is one more than wanted.
        format!("{} of {} groups are of the wanted revision", self.updated.min(self.wanted), self.wanted)
    }
}
