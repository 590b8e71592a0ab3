//! Groups of an old revision: those with old pods are retired (their successors are made by `create`),
//! those with an old engine alone swap it in place.

use std::collections::BTreeMap;

use rayfleet_api::spec::{StrategyType, WhenNoRoom};
use rayfleet_api::status::{Goal, GroupStatus};

use super::board::Board;
use super::budget::Budget;
use super::create::Blocked;
use super::moving;
use super::pend;
use super::view::{Age, active, age, holds};
use crate::group;

/// What ends with its machine goes while its requests can still end.
pub(super) fn before_machines_end(board: &mut Board<'_>) {
    for (name, why) in moving::goes_now(board) {
        board.set_goals(Goal::Retire, &why, |group| (group.name == name).then_some(()), |_| true);
    }
}

/// What serves nobody costs nothing. With `Recreate` nothing does: an outage is what was asked for.
pub(super) fn for_free(board: &mut Board<'_>) {
    let recreate = board.fleet.strategy.kind == StrategyType::Recreate;
    let (fleet, now) = (board.fleet, board.inputs.now);
    change(board, |group| recreate || !holds(fleet, group, now), |_| true);
}

/// What serves goes as far as the budget of availability allows.
pub(super) fn within_budget(board: &mut Board<'_>) {
    if !waits_for_room(board) {
        let mut budget = Budget::new(board.fleet, &board.groups, board.inputs.now);
        let whole = budget.clone();
        change(board, |group| whole.allows(group), |group| budget.take(group));
    }
}

/// Changes those groups of an old revision that are `meant`, one after the other, as far as they `may` be.
fn change(
    board: &mut Board<'_>,
    meant: impl Fn(&GroupStatus) -> bool,
    mut may: impl FnMut(&GroupStatus) -> bool,
) {
    let (fleet, now) = (board.fleet, board.inputs.now);
    if !fleet.paused {
        retarget(board);
    }
    let kept = board.kept.clone();
    let standing = board.standing.clone();
    let leave = moving::may_leave(board);
    replace_moving(board, &leave, &meant, &mut may);
    if fleet.paused {
        return;
    }
    for (of, goal) in [(Age::OldPods, Goal::Retire), (Age::OldEngine, Goal::SwapEngine)] {
        board.set_goals(
            goal,
            &format!("revision {} is to replace it", fleet.revision),
            |group| {
                let picked = active(group)
                    && group.goal != goal
                    && age(fleet, group) == of
                    && !kept.contains(&group.name)
                    && meant(group);
                picked.then(|| standing.order(fleet, group, now))
            },
            &mut may,
        );
    }
}

/// Replaces groups on nodes that are to be emptied, whatever their revision, a partition or a pause.
fn replace_moving(
    board: &mut Board<'_>,
    leave: &BTreeMap<String, String>,
    meant: &impl Fn(&GroupStatus) -> bool,
    may: &mut impl FnMut(&GroupStatus) -> bool,
) {
    let (fleet, now, standing) = (board.fleet, board.inputs.now, board.standing.clone());
    for (name, why) in leave {
        board.set_goals(
            Goal::Retire,
            why,
            |group| {
                let picked = group.name == *name && active(group) && meant(group);
                picked.then(|| standing.order(fleet, group, now))
            },
            &mut *may,
        );
    }
}

/// Where no engine was launched yet there is nothing to swap: the first one is the wanted one.
fn retarget(board: &mut Board<'_>) {
    let fleet = board.fleet;
    for group in &mut board.groups {
        let old = active(group) && age(fleet, group) == Age::OldEngine;
        if old && !board.kept.contains(&group.name) && group::no_engine_yet(group) {
            group.engine_revision.clone_from(&fleet.revision.engine);
        }
    }
}

/// With `whenNoRoom: Wait` no group is given up for a surge group that has no room; with `Pend` none while its pods wait for nodes.
fn waits_for_room(board: &Board<'_>) -> bool {
    let blocked = matches!(board.blocked, Some(Blocked::NoRoom(_) | Blocked::Unknown));
    let waits = blocked && board.when_no_room() != WhenNoRoom::Replace && board.surge() > 0;
    waits || board.groups.iter().any(pend::pends)
}
