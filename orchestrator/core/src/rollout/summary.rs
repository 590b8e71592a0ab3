//! The fleet's status after a pass: counts, rollout, conditions.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::names;
use rayfleet_api::status::{RayClusterFleetStatus, RolloutStatus};

use super::classify::available_from;
use super::counts::Counts;
use super::planner::Planner;
use super::{admission, blocker, conditions, pend, progress, progress_deadline, size};
use crate::{ending_times, startup_times};

/// What a pass leads to.
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
    let ending_times = ending_times::measure(before, &groups, planner.inputs.now);
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
        ending_times,
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
    let overdue = progress_deadline::deadline(rollout, counts.available < counts.wanted, limit);
    let moments = available
        .chain(overdue)
        .chain(blocker::wake(planner))
        .chain(pend::wake(planner))
        .chain(admission::wake(planner));
    moments.filter(|moment| *moment > planner.inputs.now).min()
}
