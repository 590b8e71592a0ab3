//! Groups on nodes that are to be emptied: cordoned, or tainted by something that will take the node away. The whole group moves by
//! the rules of a rollout, before anybody evicts its pods: surge where there is room, within the budget otherwise. Where
//! it can go nowhere it stays, and that is reported.

use std::collections::{BTreeMap, BTreeSet};

use rayfleet_api::status::GroupStatus;

use super::avoid;
use super::board::Board;
use crate::seen::GroupSeen;

/// Which groups have to move, and from where.
#[derive(Clone, Debug, Default)]
pub(super) struct Moving {
    /// By group: a node, and what is the matter with it.
    groups: BTreeMap<String, (String, String)>,
    nodes: BTreeSet<String>,
}

impl Moving {
    pub(super) fn new(seen: &BTreeMap<String, GroupSeen>, groups: &[GroupStatus]) -> Self {
        let mut moving = Self::default();
        for group in groups {
            let pods = seen.get(&group.name).into_iter().flat_map(|seen| &seen.pods);
            for pod in pods.filter(|pod| !pod.deleting) {
                if let (Some(node), Some(what)) = (&pod.node, &pod.node_closing) {
                    moving.nodes.insert(node.clone());
                    let found = (node.clone(), format!("node {node} {what}"));
                    moving.groups.entry(group.name.clone()).or_insert(found);
                }
            }
        }
        moving
    }

    /// A group has a pod on such a node.
    pub(super) fn has(&self, group: &GroupStatus) -> bool {
        self.groups.contains_key(&group.name)
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

/// Groups that may leave, with the reason: another one serves in their stead, or has room elsewhere.
pub(super) fn may_leave(board: &Board<'_>) -> BTreeMap<String, String> {
    let moving = || board.active().filter(|group| board.moving.has(group));
    // Where nothing can be made, what leaves would be gone for good.
    let no_other = board.inputs.held.is_some_and(|held| !held.creates);
    if no_other || moving().next().is_none() {
        return BTreeMap::new();
    }
    // Whoever stands in for it is there already.
    let spare = board.active_count() > board.fleet.replicas;
    let goes = |group: &&GroupStatus| spare || stays_for(board, group).is_none();
    moving()
        .filter(goes)
        .filter_map(|group| Some((group.name.clone(), board.moving.why(group)?.to_owned())))
        .collect()
}

/// Why a group that has to move has nowhere to go, in words.
fn stays_for(board: &Board<'_>, group: &GroupStatus) -> Option<String> {
    let missing = avoid::elsewhere(board, &board.moving.nodes(), Some(group)).err()?;
    Some(missing.map_or_else(
        || "what the nodes have room for is not known yet".to_owned(),
        |words| words.to_string(),
    ))
}

/// A group that has to move and stays, and what would help.
pub(super) fn stays(board: &Board<'_>) -> Option<String> {
    if board.active_count() > board.fleet.replicas {
        return None;
    }
    board.active().find_map(|group| {
        let (why, missing) = (board.moving.why(group)?, stays_for(board, group)?);
        let name = &group.name;
        Some(format!("group {name} stays where it is although {why}: no other place: {missing}; add nodes or uncordon it"))
    })
}
