//! Whether a rollout made progress since the previous pass, which extends the progress deadline. A group that
//! fails and comes back, or is replaced by another one, is no progress, however often it happens.

use std::collections::BTreeSet;

use rayfleet_api::GroupName;
use rayfleet_api::revision::Revision;
use rayfleet_api::status::{GroupStatus, RayClusterFleetStatus, RolloutStatus, RolloutStep};

use super::classify::{RevisionMatch, available_from, is_ready, is_retained, revision_match};
use super::counts::Counts;
use super::planner::Planner;
use super::progress_deadline::waits;
use crate::held;
use crate::ledger::by_name;

/// The status of the previous pass, and that of this one.
pub(super) struct Since<'a> {
    pub(super) status: &'a RayClusterFleetStatus,
    pub(super) rollout: &'a RolloutStatus,
}

/// A part of the rollout has advanced, or there is something new to wait for.
pub(super) fn moved(
    planner: &Planner<'_>,
    before: &Since<'_>,
    counts: &Counts,
    to: &Revision,
    step: RolloutStep,
) -> bool {
    let (status, old) = (before.status, before.rollout);
    let begins = waits(step, counts.available < counts.wanted)
        && !waits(old.step, status.available_replicas < counts.wanted)
        && !relapse(planner, before);
    begins
        || old.last_progress.is_none()
        || old.to != *to
        || held::is_step(old.step) && planner.inputs.held.is_none()
        || status.observed_generation != Some(planner.fleet.generation)
        || came_or_went(planner, status)
        || serves_more(planner, before)
}

/// It has no failure from which it has not recovered (`group::readiness`).
fn sound(group: &GroupStatus) -> bool {
    group.failures == 0 && group.restarts == 0
}

/// Groups were added, removed or changed to the wanted revision, and not because one failed.
fn came_or_went(planner: &Planner<'_>, before: &RayClusterFleetStatus) -> bool {
    let asked = planner.inputs.target.asked();
    // Pods that wait for nodes are no progress.
    let placed = |group: &&GroupStatus| group.pend_until.is_none();
    let sound = |group: &&GroupStatus| {
        placed(group)
            && (group.failures == 0 || revision_match(planner.fleet, group) != RevisionMatch::UpToDate)
    };
    let names = |groups: &[GroupStatus]| -> BTreeSet<GroupName> {
        groups.iter().filter(sound).map(|group| group.name.clone()).collect()
    };
    let updated = |groups: &[GroupStatus]| {
        let updated = |group: &&GroupStatus| {
            is_retained(group) && revision_match(asked, group) == RevisionMatch::UpToDate
        };
        groups.iter().filter(updated).filter(sound).count()
    };
    let known = |groups: &[GroupStatus]| -> BTreeSet<GroupName> {
        groups.iter().filter(placed).map(|group| group.name.clone()).collect()
    };
    let came = !names(&planner.groups).is_subset(&known(&before.groups));
    let went = !names(&before.groups).is_subset(&known(&planner.groups));
    came || went || updated(&planner.groups) > updated(&before.groups)
}

/// A group takes traffic, or has just become available. One that only returns to a state that it had before a
/// failure, or before it was not ready, is no progress.
fn serves_more(planner: &Planner<'_>, before: &Since<'_>) -> bool {
    let known = by_name(&before.status.groups);
    let now = planner.inputs.now;
    let last = before.rollout.last_progress.as_ref().map(|last| last.0);
    planner.groups.iter().filter(|group| sound(group) && is_ready(group)).any(|group| {
        match known.get(&group.name) {
            Some(was) if is_ready(was) => {
                let waited = !planner.fleet.min_ready.is_zero();
                let moment = available_from(planner.fleet, group).filter(|moment| waited && *moment <= now);
                moment.is_some_and(|moment| last.is_none_or(|last| last < moment))
            }
            Some(was) => was.not_ready_since.is_none(),
            None => true,
        }
    })
}

/// A complete rollout is no longer complete, only because of groups that failed shortly before: they had not
/// recovered for good.
fn relapse(planner: &Planner<'_>, before: &Since<'_>) -> bool {
    if !matches!(before.rollout.step, RolloutStep::Complete | RolloutStep::RolledBack) {
        return false;
    }
    let now = by_name(&planner.groups);
    let lost = |group: &&GroupStatus| !now.get(&group.name).is_some_and(|now| is_ready(now));
    let mut lost = before.status.groups.iter().filter(|group| is_ready(group)).filter(lost).peekable();
    lost.peek().is_some() && lost.all(|group| !sound(group))
}
