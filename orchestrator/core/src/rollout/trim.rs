//! Scaling down, and taking back the surge after a rollout.

use rayfleet_api::status::Goal;

use super::board::{Board, count};
use super::budget::Budget;
use super::view::{Age, active, age};

/// A pause keeps the groups that the rollout has brought so far, but lets none in beside them.
fn surge_to_keep(board: &Board<'_>) -> u32 {
    let surge = board.surge();
    if board.fleet.paused {
        let brought = board.active().filter(|group| age(board.fleet, group) == Age::Current);
        surge.min(count(brought))
    } else {
        surge
    }
}

/// Retires groups above `replicas` and the surge that the rollout may have now.
pub(super) fn trim(board: &mut Board<'_>) {
    let (fleet, now) = (board.fleet, board.inputs.now);
    let wanted = fleet.replicas.saturating_add(surge_to_keep(board));
    let mut surplus = board.active_count().saturating_sub(wanted);
    if surplus == 0 {
        return;
    }
    let mut budget = Budget::new(fleet, &board.groups, board.inputs.now);
    let kept = board.kept.clone();
    let standing = board.standing.clone();
    board.set_goals(
        Goal::Retire,
        &format!("more groups than the {wanted} wanted"),
        |group| active(group).then(|| (kept.contains(&group.name), standing.order(fleet, group, now))),
        |group| {
            // Where the first can not go yet, none goes in its stead: it only has to wait for others.
            let retire = surplus > 0 && budget.take(group);
            surplus = if retire { surplus - 1 } else { 0 };
            retire
        },
    );
}
