//! Groups on nodes that are to be emptied: cordoned, or tainted by something that will take the node away.
//! The whole group moves by the rules of a rollout, before anybody evicts its pods: surge where there is
//! room, within the budget otherwise. Where it can go nowhere it stays, and that is reported. On machines
//! that end by themselves it goes at once: nothing can keep it.

use std::collections::{BTreeMap, BTreeSet};

use rayfleet_api::status::{Goal, GroupStatus};

use super::avoid;
use super::classify::{counts_as_serving, is_ready};
use super::create::ROOM_UNKNOWN;
use super::planner::Planner;
use crate::capacity::Leaving;
use crate::observed::ObservedGroup;

/// Which groups have to move, and from where.
#[derive(Clone, Debug, Default)]
pub(super) struct Moving {
    /// By group: how soon it has to go, and what is the matter with its node.
    groups: BTreeMap<String, (Leaving, String)>,
    nodes: BTreeSet<String>,
}

impl Moving {
    pub(super) fn new(observed: &BTreeMap<String, ObservedGroup>, groups: &[GroupStatus]) -> Self {
        let mut moving = Self::default();
        for group in groups {
            let pods = observed.get(&group.name).into_iter().flat_map(|observed| &observed.pods);
            for pod in pods.filter(|pod| !pod.deleting) {
                if let (Some(node), Some(closing)) = (&pod.node, &pod.node_closing) {
                    moving.nodes.insert(node.clone());
                    let found = (closing.how, format!("node {node} {}", closing.what));
                    let known = moving.groups.entry(group.name.clone()).or_insert_with(|| found.clone());
                    if known.0 < found.0 {
                        *known = found;
                    }
                }
            }
        }
        moving
    }

    /// A group has a pod on such a node.
    pub(super) fn has(&self, group: &GroupStatus) -> bool {
        self.groups.contains_key(&group.name)
    }

    /// It is lost soon with its machine, whatever is done.
    pub(super) fn is_lost_soon(&self, group: &GroupStatus) -> bool {
        self.groups.get(&group.name).is_some_and(|(how, _)| *how >= Leaving::Ends)
    }

    /// What drives a group off.
    pub(super) fn why(&self, group: &GroupStatus) -> Option<&str> {
        self.groups.get(&group.name).map(|(_, why)| why.as_str())
    }

    /// The nodes.
    pub(super) fn nodes(&self) -> Vec<String> {
        self.nodes.iter().cloned().collect()
    }
}

/// Groups that go now, because their machines end, with the reason. Neither the budget nor a partition, a
/// pause or a refused spec can keep them, and what they have in flight ends only if it is let end.
pub(super) fn goes_now(planner: &Planner<'_>) -> BTreeMap<String, String> {
    let kept = last(planner).map(|group| group.name.clone());
    let (fleet, now) = (planner.fleet, planner.inputs.now);
    planner
        .active()
        .filter(|group| planner.moving.is_lost_soon(group))
        // What serves nobody loses nothing; it leaves like any other.
        .filter(|group| counts_as_serving(fleet, group, now) || group.goal == Goal::SwapEngine)
        .filter(|group| Some(&group.name) != kept.as_ref())
        .filter_map(|group| Some((group.name.clone(), planner.moving.why(group)?.to_owned())))
        .collect()
}

/// The last group of several that serves, if all that do are on machines that are said to end. It stays until
/// another one serves: whoever taints all nodes, by mistake or on purpose, does not end a fleet by that.
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

/// What is said of a group that stays although its machine may end.
pub(super) fn last_in_words(planner: &Planner<'_>) -> Option<String> {
    let group = last(planner)?;
    let (name, why) = (&group.name, planner.moving.why(group)?);
    Some(format!(
        "{name} goes on serving until another group does, although {why}: so do the nodes of all others that serve; if no machine ends, \
         undo that"
    ))
}

/// Groups that may leave, with the reason: another one serves in their stead, or has room elsewhere.
pub(super) fn may_leave(planner: &Planner<'_>) -> BTreeMap<String, String> {
    let moving = || planner.active().filter(|group| planner.moving.has(group));
    // Where nothing can be made, what leaves would be gone for good.
    let no_other = planner.inputs.held.is_some_and(|held| !held.creates);
    if no_other || moving().next().is_none() {
        return BTreeMap::new();
    }
    // Whoever stands in for it is there already.
    let spare = planner.active_count() > planner.fleet.replicas;
    let goes = |group: &&GroupStatus| spare || stays_for(planner, group).is_none();
    moving()
        .filter(goes)
        .filter_map(|group| Some((group.name.clone(), planner.moving.why(group)?.to_owned())))
        .collect()
}

/// Why a group that has to move has nowhere to go, in words.
fn stays_for(planner: &Planner<'_>, group: &GroupStatus) -> Option<String> {
    let missing = avoid::elsewhere(planner, &planner.moving.nodes(), Some(group)).err()?;
    Some(missing.map_or_else(|| ROOM_UNKNOWN.to_owned(), |words| words.to_string()))
}

/// A group that has to move and stays, and what would help.
pub(super) fn stays(planner: &Planner<'_>) -> Option<String> {
    if planner.active_count() > planner.fleet.replicas {
        return None;
    }
    planner.active().find_map(|group| {
        let (why, missing) = (planner.moving.why(group)?, stays_for(planner, group)?);
        let name = &group.name;
        Some(format!("group {name} stays where it is although {why}: no other place: {missing}; add nodes or uncordon it"))
    })
}
