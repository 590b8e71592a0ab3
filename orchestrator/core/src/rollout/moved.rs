//! Whether a rollout has moved since the pass before: what holds the progress deadline off. That a group fails, and that it or another
//! one in its stead comes back, is no progress, however often it happens.

use std::collections::BTreeSet;

use rayfleet_api::status::{GroupStatus, RayClusterFleetStatus, RolloutStatus};

use super::board::Board;
use super::progress::{COMPLETE, ROLLED_BACK, waits};
use super::summary::Counts;
use super::view::{Age, active, age, available_from, ready};
use crate::held;
use crate::ledger::by_name;

/// The status of the pass before, and what this one makes of it.
pub(super) struct Since<'a> {
    pub(super) status: &'a RayClusterFleetStatus,
    pub(super) rollout: &'a RolloutStatus,
}

/// Something that a rollout is made of has moved on, or there is something to wait for that was not there before.
pub(super) fn moved(board: &Board<'_>, before: &Since<'_>, counts: &Counts, to: &str, step: &str) -> bool {
    let (status, old) = (before.status, before.rollout);
    let begins = waits(step, counts.available < counts.wanted)
        && !waits(&old.step, status.available_replicas < counts.wanted)
        && !relapse(board, before);
    begins
        || old.last_progress.is_none()
        || old.to != to
        || held::is_step(&old.step) && board.inputs.held.is_none()
        || status.observed_generation != Some(board.fleet.generation)
        || came_or_went(board, status)
        || serves_more(board, before)
}

/// It has no failure that it has not left behind (`group::serve`).
fn sound(group: &GroupStatus) -> bool {
    group.failures == 0 && group.restarts == 0
}

/// Groups came, went or changed to the revision asked for, and not because one failed.
fn came_or_went(board: &Board<'_>, before: &RayClusterFleetStatus) -> bool {
    let asked = board.inputs.course.asked();
    // Pods that wait for nodes have moved nothing yet.
    let placed = |group: &&GroupStatus| group.pend_until.is_none();
    let sound = |group: &&GroupStatus| {
        placed(group) && (group.failures == 0 || age(board.fleet, group) != Age::Current)
    };
    let names = |groups: &[GroupStatus]| -> BTreeSet<String> {
        groups.iter().filter(sound).map(|group| group.name.clone()).collect()
    };
    let updated = |groups: &[GroupStatus]| {
        let updated = |group: &&GroupStatus| active(group) && age(asked, group) == Age::Current;
        groups.iter().filter(updated).filter(sound).count()
    };
    let known = |groups: &[GroupStatus]| -> BTreeSet<String> {
        groups.iter().filter(placed).map(|group| group.name.clone()).collect()
    };
    let came = !names(&board.groups).is_subset(&known(&before.groups));
    let went = !names(&before.groups).is_subset(&known(&board.groups));
    came || went || updated(&board.groups) > updated(&before.groups)
}

/// A group takes traffic, or has now taken it for long enough. One that only comes back to where it was, after a failure or after it
/// wavered, brings the rollout no further.
fn serves_more(board: &Board<'_>, before: &Since<'_>) -> bool {
    let known = by_name(&before.status.groups);
    let now = board.inputs.now;
    let last = before.rollout.last_progress.as_ref().map(|last| last.0);
    board.groups.iter().filter(|group| sound(group) && ready(group)).any(|group| {
        match known.get(group.name.as_str()) {
            Some(was) if ready(was) => {
                let waited = !board.fleet.min_ready.is_zero();
                let moment = available_from(board.fleet, group).filter(|moment| waited && *moment <= now);
                moment.is_some_and(|moment| last.is_none_or(|last| last < moment))
            }
            Some(was) => was.wavers_since.is_none(),
            None => true,
        }
    })
}

/// What was complete is no longer, and only by groups that had failed a short while before: they have not come back for good.
fn relapse(board: &Board<'_>, before: &Since<'_>) -> bool {
    if !matches!(before.rollout.step.as_str(), COMPLETE | ROLLED_BACK) {
        return false;
    }
    let now = by_name(&board.groups);
    let lost = |group: &&GroupStatus| !now.get(group.name.as_str()).is_some_and(|now| ready(now));
    let mut lost = before.status.groups.iter().filter(|group| ready(group)).filter(lost).peekable();
    lost.peek().is_some() && lost.all(|group| !sound(group))
}
