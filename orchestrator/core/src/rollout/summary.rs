//! The fleet's status after a pass: counts, rollout, conditions.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::names;
use rayfleet_api::status::{RayClusterFleetStatus, RolloutStatus};

use super::classify::{RevisionMatch, available_from, is_available, is_ready, revision_match};
use super::planner::Planner;
use super::{admission, blocker, conditions, pend, progress, size};
use crate::startup_times;

/// Numbers of groups.
pub(super) struct Counts {
    pub(super) wanted: i32,
    pub(super) replicas: i32,
    /// Of the target revision.
    pub(super) updated: i32,
    /// Of the revision that the fleet asks for: another one during a rollback.
    pub(super) of_asked: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
}

impl Counts {
    fn new(planner: &Planner<'_>) -> Self {
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
            // A refused revision has no groups.
            of_asked: if planner.inputs.held.is_some_and(|held| held.stands_in) { 0 } else { of(asked) },
            ready: number(groups().filter(|group| is_ready(group)).count()),
            available: number(groups().filter(|group| is_available(fleet, group, now)).count()),
        }
    }

    pub(super) fn updated_in_words(&self) -> String {
        format!("{} of {} groups are of the wanted revision", self.updated, self.wanted)
    }
}

/// The result of a pass.
pub(crate) struct Summary {
    /// The status.
    pub(crate) status: RayClusterFleetStatus,
    /// When it changes because of time alone.
    pub(crate) wake: Option<Timestamp>,
}

/// Summarizes the planner and takes its groups.
pub(crate) fn summarize(planner: &mut Planner<'_>, before: &RayClusterFleetStatus, lost: u32) -> Summary {
    let counts = Counts::new(planner);
    let fleet = planner.fleet;
    let (rollout, hold) = progress::progress(planner, before, &counts, lost);
    let limit = startup_times::progress_deadline(fleet, before);
    let conditions = conditions::conditions(planner, &counts, &rollout, hold, limit, &before.conditions);
    let wake = wake(planner, &counts, &rollout, limit);
    let mut groups = std::mem::take(&mut planner.groups);
    let pace = startup_times::measure(fleet, before, &mut groups, planner.inputs.now);
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
        node_failures: planner.inputs.nodes.to_vec(),
        startup_times: pace,
        unreadable: Vec::new(),
    };
    let truncated = size::fit(&mut status);
    let truncated =
        truncated.map(|verdict| conditions::dated(verdict, &before.conditions, planner.inputs.now));
    status.conditions.extend(truncated);
    Summary { status, wake }
}

/// The next of: a group becomes available, the rollout is overdue, a RayCluster to be deleted counts as held.
fn wake(
    planner: &Planner<'_>,
    counts: &Counts,
    rollout: &RolloutStatus,
    limit: Duration,
) -> Option<Timestamp> {
    let available = planner.groups.iter().filter_map(|group| available_from(planner.fleet, group));
    let overdue = progress::deadline(rollout, counts.available < counts.wanted, limit);
    let moments = available
        .chain(overdue)
        .chain(blocker::wake(planner))
        .chain(pend::wake(planner))
        .chain(admission::wake(planner));
    moments.filter(|moment| *moment > planner.inputs.now).min()
}
