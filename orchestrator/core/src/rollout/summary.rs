//! The fleet's status after a pass: counts, rollout, conditions.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::names;
use rayfleet_api::status::{RayClusterFleetStatus, RolloutStatus};

use super::board::Board;
use super::view::{Age, age, available, available_from, ready};
use super::{admission, conditions, obstacle, pend, progress, size};
use crate::pace;

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
    fn new(board: &Board<'_>) -> Self {
        let (fleet, now) = (board.fleet, board.inputs.now);
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let groups = || board.groups.iter();
        let asked = board.inputs.course.asked();
        let of = |fleet| number(board.active().filter(|group| age(fleet, group) == Age::Current).count());
        Self {
            wanted: i32::try_from(fleet.replicas).unwrap_or(i32::MAX),
            replicas: number(board.groups.len()),
            updated: of(fleet),
            // Of a revision that is refused there is no group.
            of_asked: if board.inputs.held.is_some_and(|held| held.stands_in) { 0 } else { of(asked) },
            ready: number(groups().filter(|group| ready(group)).count()),
            available: number(groups().filter(|group| available(fleet, group, now)).count()),
        }
    }

    pub(super) fn updated_in_words(&self) -> String {
        format!("{} of {} groups are of the wanted revision", self.updated, self.wanted)
    }
}

/// What a pass leads to.
pub(crate) struct Summary {
    /// The status.
    pub(crate) status: RayClusterFleetStatus,
    /// When it changes by the passing of time alone.
    pub(crate) wake: Option<Timestamp>,
}

/// Sums the board up, and takes its groups.
pub(crate) fn summarize(board: &mut Board<'_>, before: &RayClusterFleetStatus, lost: u32) -> Summary {
    let counts = Counts::new(board);
    let fleet = board.fleet;
    let (rollout, hold) = progress::progress(board, before, &counts, lost);
    let limit = pace::progress_deadline(fleet, before);
    let conditions = conditions::conditions(board, &counts, &rollout, hold, limit, &before.conditions);
    let wake = wake(board, &counts, &rollout, limit);
    let mut groups = std::mem::take(&mut board.groups);
    let pace = pace::measure(fleet, before, &mut groups, board.inputs.now);
    let mut status = RayClusterFleetStatus {
        observed_generation: Some(fleet.generation),
        replicas: counts.replicas,
        updated_replicas: counts.of_asked,
        ready_replicas: counts.ready,
        available_replicas: counts.available,
        unavailable_replicas: (counts.wanted - counts.available).max(0),
        collision_count: before.collision_count,
        scaling_target_selector: Some(format!(
            "{}={},{}=head",
            names::LABEL_FLEET,
            fleet.name,
            names::RAY_LABEL_NODE_TYPE
        )),
        conditions,
        rollout: Some(rollout),
        groups,
        node_failures: board.inputs.nodes.to_vec(),
        pace,
        unreadable: Vec::new(),
    };
    let truncated = size::fit(&mut status);
    let truncated = truncated.map(|verdict| conditions::dated(verdict, &before.conditions, board.inputs.now));
    status.conditions.extend(truncated);
    Summary { status, wake }
}

/// A group becomes available, the rollout is overdue, or a RayCluster that is to go counts as held.
fn wake(board: &Board<'_>, counts: &Counts, rollout: &RolloutStatus, limit: Duration) -> Option<Timestamp> {
    let available = board.groups.iter().filter_map(|group| available_from(board.fleet, group));
    let overdue = progress::deadline(rollout, counts.available < counts.wanted, limit);
    let moments = available
        .chain(overdue)
        .chain(obstacle::wake(board))
        .chain(pend::wake(board))
        .chain(admission::wake(board));
    moments.filter(|moment| *moment > board.inputs.now).min()
}
