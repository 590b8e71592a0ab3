//! Groups of an old revision: those with old pods are retired (`create` adds their replacements), those with
//! only an old engine swap it in place.

use std::collections::BTreeMap;
use std::fmt::Display;

use rayfleet_api::GroupName;
use rayfleet_api::spec::{StrategyType, WhenNoRoom};
use rayfleet_api::status::{Goal, GroupStatus};

use super::blocked::Blocked;
use super::budget::Budget;
use super::classify::{RevisionMatch, counts_as_serving, is_retained, revision_match};
use super::moving;
use super::pend;
use super::planner::Planner;
use crate::group;

/// Why a group goes for the revision that is rolled out.
pub(super) fn reason(to: &impl Display) -> String {
    format!("revision {to} is to replace it")
}

/// Groups on machines that are about to end drain while their requests can still end.
pub(super) fn before_machines_end(planner: &mut Planner<'_>) {
    for (name, why) in moving::goes_now(planner) {
        planner.set_goals(Goal::Retire, &why, |group| (group.name == name).then_some(()), |_| true);
    }
}

/// Groups that do not serve cost nothing. With `Recreate` none of an old revision does: the outage was asked for. One that is to be
/// replaced alone, or must leave its nodes, has asked for none.
pub(super) fn for_free(planner: &mut Planner<'_>) {
    let recreate = planner.fleet.strategy.kind == StrategyType::Recreate;
    let (fleet, now) = (planner.fleet, planner.inputs.now);
    let idle = |group: &GroupStatus| !counts_as_serving(fleet, group, now);
    change(planner, idle, |group| recreate || idle(group), |_| true);
}

/// Serving groups go as far as the availability budget allows.
pub(super) fn within_budget(planner: &mut Planner<'_>) {
    if !waits_for_room(planner) {
        let mut budget = Budget::new(planner.fleet, &planner.groups, planner.inputs.now);
        let whole = budget.clone();
        change(planner, |group| whole.allows(group), |group| whole.allows(group), |group| budget.take(group));
    }
}

/// Replaces the groups that must move, as far as that is `moving`, and changes the `meant` ones of an old revision, one after the other
/// and as far as they `may` be.
fn change(
    planner: &mut Planner<'_>,
    moving: impl Fn(&GroupStatus) -> bool,
    meant: impl Fn(&GroupStatus) -> bool,
    mut may: impl FnMut(&GroupStatus) -> bool,
) {
    let (fleet, now) = (planner.fleet, planner.inputs.now);
    if !fleet.paused {
        retarget(planner);
    }
    let kept = planner.kept.clone();
    let standing = planner.retirement_order.clone();
    let leave = moving::may_leave(planner);
    replace_moving(planner, &leave, &moving, &mut may);
    if fleet.paused {
        return;
    }
    for (of, goal) in
        [(RevisionMatch::PodsOutdated, Goal::Retire), (RevisionMatch::EngineOutdated, Goal::SwapEngine)]
    {
        planner.set_goals(
            goal,
            &reason(&fleet.revision),
            |group| {
                let picked = is_retained(group)
                    && group.goal != goal
                    && revision_match(fleet, group) == of
                    && !kept.contains(&group.name)
                    && meant(group);
                picked.then(|| standing.order(fleet, group, now))
            },
            &mut may,
        );
    }
}

/// Replaces groups on nodes that are being drained, whatever their revision, a partition or a pause.
fn replace_moving(
    planner: &mut Planner<'_>,
    leave: &BTreeMap<GroupName, String>,
    meant: &impl Fn(&GroupStatus) -> bool,
    may: &mut impl FnMut(&GroupStatus) -> bool,
) {
    let (fleet, now, standing) = (planner.fleet, planner.inputs.now, planner.retirement_order.clone());
    for (name, why) in leave {
        planner.set_goals(
            Goal::Retire,
            why,
            |group| {
                let picked = group.name == *name && is_retained(group) && meant(group);
                picked.then(|| standing.order(fleet, group, now))
            },
            &mut *may,
        );
    }
}

/// A group without an engine needs no swap: its first engine is the wanted one.
fn retarget(planner: &mut Planner<'_>) {
    let fleet = planner.fleet;
    for group in &mut planner.groups {
        let old = is_retained(group) && revision_match(fleet, group) == RevisionMatch::EngineOutdated;
        if old && !planner.kept.contains(&group.name) && group::no_engine_yet(group) {
            group.engine_revision.clone_from(&fleet.revision.engine);
        }
    }
}

/// With `whenNoRoom: Wait` no group is given up for a surge group without room; with `Pend` none while its
/// pods wait for nodes.
fn waits_for_room(planner: &Planner<'_>) -> bool {
    let blocked = matches!(planner.blocked, Some(Blocked::NoRoom(_) | Blocked::Unknown));
    let waits = blocked && pend::when_no_room(planner) != WhenNoRoom::Replace && planner.surge() > 0;
    waits || planner.groups.iter().any(pend::pends)
}
