//! Scaling down, and removing the surge after a rollout.

use rayfleet_api::status::Goal;

use super::budget::Budget;
use super::classify::{RevisionMatch, is_retained, revision_match};
use super::planner::{Planner, count};

/// A pause keeps the surge that the rollout has created so far, and what stands in for a group that has to leave, but allows no more.
fn surge_to_keep(planner: &Planner<'_>) -> u32 {
    let surge = planner.surge();
    if planner.fleet.paused {
        let brought = planner.active().filter(|group| {
            revision_match(planner.fleet, group) == RevisionMatch::UpToDate || planner.moving.has(group)
        });
        surge.min(count(brought))
    } else {
        surge
    }
}

/// Why a group goes that is one too many.
pub(super) fn reason(wanted: u32) -> String {
    format!("more groups than the {wanted} wanted")
}

/// Retires groups above `replicas` and above the surge that the rollout may have now.
pub(super) fn scale_down(planner: &mut Planner<'_>) {
    let (fleet, now) = (planner.fleet, planner.inputs.now);
    let wanted = fleet.replicas.saturating_add(surge_to_keep(planner));
    let mut surplus = planner.active_count().saturating_sub(wanted);
    if surplus == 0 {
        return;
    }
    let mut budget = Budget::new(fleet, &planner.groups, planner.inputs.now);
    let kept = planner.kept.clone();
    let standing = planner.retirement_order.clone();
    planner.set_goals(
        Goal::Retire,
        &reason(wanted),
        |group| is_retained(group).then(|| (kept.contains(&group.name), standing.order(fleet, group, now))),
        |group| {
            // If the first one cannot go yet, none goes instead: it only waits for others.
            let retire = surplus > 0 && budget.take(group);
            surplus = if retire { surplus - 1 } else { 0 };
            retire
        },
    );
}
