//! Scaling down, and taking back the surge after a rollout.

use rayfleet_api::status::Goal;

use super::board::Board;
use super::budget::Budget;
use super::view::{active, dispensable};

/// Retires groups above `replicas` and the surge that the rollout may have now.
pub(super) fn trim(board: &mut Board<'_>) {
    let fleet = board.fleet;
    let wanted = fleet.replicas + board.surge();
    let mut surplus = board.active_count().saturating_sub(wanted);
    let mut budget = Budget::new(fleet, &board.groups, board.inputs.now);
    let kept = board.kept.clone();
    board.set_goals(
        Goal::Retire,
        &format!("more groups than the {wanted} wanted"),
        |group| active(group).then(|| (kept.contains(&group.name), dispensable(fleet, group))),
        |group| {
            let retire = surplus > 0 && budget.take(group);
            surplus -= u32::from(retire);
            retire
        },
    );
}
