//! Groups of an old revision: those with old pods are retired (their successors are made by `create`),
//! those with an old engine alone swap it in place.

use rayfleet_api::spec::WhenNoRoom;
use rayfleet_api::status::Goal;

use super::board::Board;
use super::budget::Budget;
use super::create::Blocked;
use super::view::{Age, active, age, dispensable, serving};

/// Within the budget of availability. What serves nobody goes first and costs nothing.
pub(super) fn rolling(board: &mut Board<'_>) {
    let fleet = board.fleet;
    let waits = waits_for_room(board);
    let mut budget = Budget::new(fleet, &board.groups, board.inputs.now);
    change(board, |group| (!waits || !serving(group)) && budget.take(group));
}

/// Recreate: an outage is what was asked for.
pub(super) fn all_at_once(board: &mut Board<'_>) {
    change(board, |_| true);
}

fn change(board: &mut Board<'_>, mut may: impl FnMut(&rayfleet_api::status::GroupStatus) -> bool) {
    let fleet = board.fleet;
    let kept = board.kept.clone();
    for (of, goal) in [(Age::OldPods, Goal::Retire), (Age::OldEngine, Goal::SwapEngine)] {
        board.set_goals(
            goal,
            &format!("revision {} is to replace it", fleet.revision),
            |group| {
                let picked = active(group)
                    && group.goal != goal
                    && age(fleet, group) == of
                    && !kept.contains(&group.name);
                picked.then(|| dispensable(fleet, group))
            },
            &mut may,
        );
    }
}

/// With `whenNoRoom: Wait` no group is given up for a surge group that has no room.
fn waits_for_room(board: &Board<'_>) -> bool {
    let blocked = matches!(board.blocked, Some(Blocked::NoRoom(_) | Blocked::Unknown));
    blocked && board.fleet.strategy.when_no_room == WhenNoRoom::Wait && board.surge() > 0
}
