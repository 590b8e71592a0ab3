//! Groups are kept off nodes that this fleet has failed on, as long as there is room elsewhere: a soft wish. A node
//! that is avoided is better than no group.

use rayfleet_api::status::{Goal, GroupStatus, Phase};
use rayfleet_api::valid::PodShape;

use super::board::Board;
use super::view::active;
use crate::capacity::{self, Capacity, NoRoom, Room};

/// Nodes that a new group is to keep off: all that are avoided, or none if it would have no room then.
pub(super) fn for_new_group(board: &Board<'_>) -> Vec<String> {
    // Pods that tolerate everything would come to such a node again.
    let mut closing = board.moving.nodes();
    let avoided = avoided(board);
    if !avoided.is_empty() && elsewhere(board, &avoided, None).is_ok() {
        closing.extend(avoided);
    }
    closing.sort();
    closing.dedup();
    closing
}

/// A group that has failed on a node that is avoided now is recreated, instead of trying the same node again.
pub(super) fn leave(board: &mut Board<'_>) {
    let avoided = avoided(board);
    if avoided.is_empty() {
        return;
    }
    let stuck: Vec<(usize, String)> = board
        .groups
        .iter()
        .enumerate()
        .filter(|(_, group)| active(group) && group.phase == Phase::Failed)
        .filter_map(|(at, group)| {
            let node = group.nodes.iter().find(|node| avoided.contains(node))?.clone();
            elsewhere(board, &avoided, Some(group)).is_ok().then_some((at, node))
        })
        .collect();
    for (at, node) in stuck {
        let group = &mut board.groups[at];
        let cause = group.goal_reason.clone().unwrap_or_default();
        group.failures = group.failures.saturating_add(1);
        group.goal = Goal::Retire;
        group.goal_reason = Some(format!("{cause}; recreated without node {node}, which is avoided"));
    }
}

fn avoided(board: &Board<'_>) -> Vec<String> {
    board.inputs.nodes.iter().filter(|entry| entry.avoided).map(|entry| entry.node.clone()).collect()
}

/// Whether a whole group fits beside these nodes, once `instead_of` is gone. `Err(None)`: what the nodes have is not known.
pub(super) fn elsewhere(
    board: &Board<'_>,
    avoided: &[String],
    instead_of: Option<&GroupStatus>,
) -> Result<(), Option<NoRoom>> {
    let source = board.inputs.capacity.ok_or(None)?;
    let mut rest = source.capacity().clone();
    rest.nodes.retain(|node| !avoided.contains(&node.name));
    if let Some(group) = instead_of {
        free(board, &mut rest, group);
    }
    Room::of(&rest).place(&board.fleet.shape).map(drop).map_err(Some)
}

/// Gives back what the pods of a group hold.
fn free(board: &Board<'_>, capacity: &mut Capacity, group: &GroupStatus) {
    let Some(seen) = board.inputs.seen.get(&group.name) else { return };
    for pod in &seen.pods {
        let is_head = |shape: &&PodShape| (shape.role == "head") == pod.head;
        let shape = board.fleet.shape.roles.iter().find(is_head);
        let node = capacity.nodes.iter_mut().find(|node| Some(&node.name) == pod.node.as_ref());
        if let (Some(shape), Some(node)) = (shape, node) {
            node.give_back(&capacity::requests(&shape.spec));
            node.forget_group(&board.fleet.namespace, &group.name);
        }
    }
}
