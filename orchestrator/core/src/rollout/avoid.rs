//! Keeps groups off nodes on which this fleet has failed, as long as there is room elsewhere. A preference:
//! an avoided node is better than no group.

use rayfleet_api::NodeName;
use rayfleet_api::status::{Goal, GroupStatus, Phase};
use rayfleet_api::valid::PodShape;

use super::blocked::ROOM_UNKNOWN;
use super::classify::is_retained;
use super::planner::Planner;
use crate::capacity::{self, Capacity, Room};

/// Nodes that a new group must avoid: all avoided ones, or none if it would have no room then.
pub(super) fn for_new_group(planner: &Planner<'_>) -> Vec<NodeName> {
    // Pods that tolerate everything would return to such a node.
    let mut closing = planner.moving.nodes();
    let avoided = avoided(planner);
    if !avoided.is_empty() && has_room(planner, &avoided, None) {
        closing.extend(avoided);
    }
    closing.sort();
    closing.dedup();
    closing
}

/// Re-creates a group that failed on an avoided node, instead of trying the same node again.
pub(super) fn leave(planner: &mut Planner<'_>) {
    let avoided = avoided(planner);
    if avoided.is_empty() {
        return;
    }
    let stuck: Vec<(usize, NodeName)> = planner
        .groups
        .iter()
        .enumerate()
        .filter(|(_, group)| is_retained(group) && group.phase == Phase::Failed)
        .filter_map(|(at, group)| {
            let node = group.nodes.iter().find(|node| avoided.contains(node))?.clone();
            has_room(planner, &avoided, Some(group)).then_some((at, node))
        })
        .collect();
    for (at, node) in stuck {
        let group = &mut planner.groups[at];
        let cause = group.goal_reason.clone().unwrap_or_default();
        group.failures = group.failures.saturating_add(1);
        group.goal = Goal::Retire;
        group.goal_reason = Some(format!("{cause}; recreated without node {node}, which is avoided"));
    }
}

fn avoided(planner: &Planner<'_>) -> Vec<NodeName> {
    planner.inputs.nodes.iter().filter(|entry| entry.avoided).map(|entry| entry.node.clone()).collect()
}

/// Whether a whole group fits without these nodes, once `instead_of` is gone. No, while the capacity is not known.
pub(super) fn has_room(
    planner: &Planner<'_>,
    avoided: &[NodeName],
    instead_of: Option<&GroupStatus>,
) -> bool {
    let has_room = |room: &mut Room<'_>| room.has_room_for(&planner.fleet.shape);
    elsewhere(planner, avoided, instead_of, has_room).unwrap_or_default()
}

/// Why no whole group fits without these nodes, once `instead_of` is gone. `None`: one does.
pub(super) fn missing(
    planner: &Planner<'_>,
    avoided: &[NodeName],
    instead_of: &GroupStatus,
) -> Option<String> {
    let missing = |room: &mut Room<'_>| Some(room.place(&planner.fleet.shape).err()?.to_string());
    elsewhere(planner, avoided, Some(instead_of), missing).unwrap_or_else(|| Some(ROOM_UNKNOWN.to_owned()))
}

/// Asks about the room without these nodes, once `instead_of` is gone. All such questions of a pass have one budget: there may be as many
/// as groups.
fn elsewhere<T>(
    planner: &Planner<'_>,
    avoided: &[NodeName],
    instead_of: Option<&GroupStatus>,
    ask: impl FnOnce(&mut Room<'_>) -> T,
) -> Option<T> {
    let source = planner.inputs.capacity?;
    let mut rest = source.capacity().copy_within(&planner.looks);
    rest.nodes.retain(|node| !avoided.contains(&node.name));
    if let Some(group) = instead_of {
        free(planner, &mut rest, group);
    }
    Some(ask(&mut Room::within(&rest, planner.looks.clone())))
}

/// Gives back the requests of a group's pods.
fn free(planner: &Planner<'_>, capacity: &mut Capacity, group: &GroupStatus) {
    let Some(observed) = planner.inputs.observed.get(&group.name) else { return };
    for pod in &observed.pods {
        let is_head = |shape: &&PodShape| (shape.role == "head") == pod.head;
        let shape = planner.fleet.shape.roles.iter().find(is_head);
        let node = capacity.nodes.iter_mut().find(|node| Some(&node.name) == pod.node.as_ref());
        if let (Some(shape), Some(node)) = (shape, node) {
            node.give_back(&capacity::requests(&shape.spec));
            node.forget_group(&planner.fleet.namespace, &group.name);
        }
    }
}
