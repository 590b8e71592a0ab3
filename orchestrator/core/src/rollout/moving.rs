//! Groups on nodes that are being drained: cordoned, or tainted by something that will remove the node. The
//! whole group is replaced by the rules of a rollout, before its pods are evicted: with a surge if there is
//! room, within the budget otherwise. Without another place it stays, and that is reported. On machines that
//! are about to end it leaves at once, because nothing can keep it. A group that somebody wants replaced goes
//! by the same rules, and needs no other place than its own.

use std::collections::BTreeMap;

use rayfleet_api::GroupName;
use rayfleet_api::status::{Goal, GroupStatus};

use super::avoid;
use super::classify::{counts_as_serving, is_ready};
use super::planner::Planner;

/// Groups that leave now because their machines end, with the reason. Neither the budget nor a partition, a
/// pause or a refused spec can keep them, and draining them lets their requests end.
pub(super) fn goes_now(planner: &Planner<'_>) -> BTreeMap<GroupName, String> {
    let kept = last(planner).map(|group| group.name.clone());
    let (fleet, now) = (planner.fleet, planner.inputs.now);
    planner
        .active()
        .filter(|group| planner.moving.is_lost_soon(group))
        // A group that does not serve has nothing to drain; it leaves like any other.
        .filter(|group| counts_as_serving(fleet, group, now) || group.goal == Goal::SwapEngine)
        .filter(|group| Some(&group.name) != kept.as_ref())
        .filter_map(|group| Some((group.name.clone(), planner.moving.why(group)?.to_owned())))
        .collect()
}

/// The last serving group of several, if all serving ones are on machines that are about to end. It stays
/// until another one serves, so that a taint on all nodes, by mistake or on purpose, does not end a fleet.
pub(super) fn last<'b>(planner: &'b Planner<'_>) -> Option<&'b GroupStatus> {
    let (fleet, now) = (planner.fleet, planner.inputs.now);
    let others = planner.active().any(|group| is_ready(group) && !planner.moving.is_lost_soon(group));
    if fleet.replicas < 2 || others {
        return None;
    }
    let ends = planner
        .active()
        .filter(|group| planner.moving.is_lost_soon(group) && counts_as_serving(fleet, group, now));
    ends.max_by(|one, other| {
        planner
            .retirement_order
            .order(fleet, one, now)
            .cmp(&planner.retirement_order.order(fleet, other, now))
    })
}

/// The message about a group that stays although its machine may end.
pub(super) fn last_in_words(planner: &Planner<'_>) -> Option<String> {
    let group = last(planner)?;
    let (name, why) = (&group.name, planner.moving.why(group)?);
    Some(format!(
        "{name} goes on serving until another group does, although {why}: so do the nodes of all others that serve; if no machine ends, \
         undo that"
    ))
}

/// Groups that may leave, with the reason: another one serves instead, or there is room elsewhere.
pub(super) fn may_leave(planner: &Planner<'_>) -> BTreeMap<GroupName, String> {
    let moving = || planner.active().filter(|group| planner.moving.has(group));
    // If no group can be created, one that leaves would not be replaced.
    let no_other = planner.inputs.held.is_some_and(|held| !held.creates);
    if no_other || moving().next().is_none() {
        return BTreeMap::new();
    }
    // Its replacement exists already.
    let spare = planner.active_count() > planner.fleet.replicas;
    let goes = |group: &&GroupStatus| {
        spare
            || planner.moving.may_stay_in_place(group)
            || avoid::has_room(planner, &planner.moving.nodes(), Some(group))
    };
    moving()
        .filter(goes)
        .filter_map(|group| Some((group.name.clone(), planner.moving.why(group)?.to_owned())))
        .collect()
}

/// A group that must move but stays, and the cure.
pub(super) fn stays(planner: &Planner<'_>) -> Option<String> {
    if planner.active_count() > planner.fleet.replicas {
        return None;
    }
    planner.active().filter(|group| !planner.moving.may_stay_in_place(group)).find_map(|group| {
        let (why, missing) =
            (planner.moving.why(group)?, avoid::missing(planner, &planner.moving.nodes(), group)?);
        let name = &group.name;
        Some(format!(
            "group {name} stays although {why}: no other place: {missing}; add nodes or uncordon it"
        ))
    })
}
