//! Goals that are obsolete, because the spec changed while groups were leaving.

use rayfleet_api::GroupName;
use rayfleet_api::status::{Goal, Phase};

use super::classify::{RevisionMatch, is_retained, revision_match};
use super::planner::Planner;
use super::replace;

pub(super) fn cancel_obsolete_goals(planner: &mut Planner<'_>) {
    let fleet = planner.fleet;
    for group in &mut planner.groups {
        if group.goal != Goal::SwapEngine {
            continue;
        }
        let age = revision_match(fleet, group);
        let kept = planner.kept.contains(&group.name);
        if age == RevisionMatch::PodsOutdated && !kept && !fleet.paused {
            group.goal = Goal::Retire;
            group.goal_reason = Some(replace::reason(&fleet.revision));
        } else if (age == RevisionMatch::UpToDate || kept) && group.phase != Phase::Stopping {
            group.goal = Goal::Serve;
            group.goal_reason = None;
        }
    }
}

/// A draining group that is wanted again need not end, if its engine was not stopped.
pub(super) fn cancel_drains(planner: &mut Planner<'_>) {
    let fleet = planner.fleet;
    let mut missing = fleet.replicas.saturating_sub(planner.active_count());
    let (moving, observed) = (planner.moving.clone(), planner.inputs.observed);
    let ends = |name: &GroupName| {
        observed.get(name).is_some_and(|observed| observed.pods.iter().any(|pod| pod.deleting))
    };
    for group in &mut planner.groups {
        // A group that loses its pods anyway is not wanted again.
        let stays = !moving.has(group) && !ends(&group.name);
        let drains = !is_retained(group) && group.phase == Phase::Draining && stays;
        if missing > 0 && drains && revision_match(fleet, group) == RevisionMatch::UpToDate {
            group.goal = Goal::Serve;
            group.goal_reason = None;
            missing -= 1;
        }
    }
}
