//! Which group goes first when one of several must go. One order for replacing and for scaling down.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rayfleet_api::ValidFleet;
use rayfleet_api::status::GroupStatus;

use super::board::Inputs;
use super::view::{age, holds};
use crate::capacity::NodeRoom;

/// The label of a node that names what its neighbours share.
const ZONE: &str = "topology.kubernetes.io/zone";

/// How well the groups of a fleet are placed. Every other part of the order is written on the group itself.
#[derive(Debug, Default)]
pub(super) struct Standing {
    placed: BTreeMap<String, Placed>,
}

/// How well a group is placed; less is better, and the first field counts most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Placed {
    /// Nodes that take no pods any more: cordoned, not ready or gone.
    closing: usize,
    /// Zones that it spans: its ranks talk across them.
    zones: usize,
    /// Nodes that it spans.
    nodes: usize,
}

impl Standing {
    pub(super) fn new(inputs: &Inputs<'_>, groups: &[GroupStatus]) -> Self {
        let Some(capacity) = inputs.capacity else { return Self::default() };
        let used: BTreeSet<&str> = groups.iter().flat_map(|group| &group.nodes).map(String::as_str).collect();
        let nodes = capacity.nodes.iter().filter(|node| used.contains(node.name.as_str()));
        let nodes: BTreeMap<&str, &NodeRoom> = nodes.map(|node| (node.name.as_str(), node)).collect();
        let placed = groups.iter().map(|group| (group.name.clone(), placed(group, &nodes)));
        Self { placed: placed.collect() }
    }

    /// What serves nobody goes first, then the oldest revision, the worst placed, the least loaded, and among
    /// equals the highest slot.
    pub(super) fn order(&self, fleet: &ValidFleet, group: &GroupStatus, now: Timestamp) -> impl Ord + use<> {
        let placed = self.placed.get(&group.name).copied().unwrap_or_default();
        (
            holds(fleet, group, now),
            age(fleet, group),
            Reverse(placed),
            // Slots are given out from below, so this one was borrowed or is too many by now.
            group.slot < fleet.replicas,
            group.in_flight.unwrap_or_default(),
            Reverse(group.slot),
        )
    }
}

fn placed(group: &GroupStatus, nodes: &BTreeMap<&str, &NodeRoom>) -> Placed {
    let names: BTreeSet<&str> = group.nodes.iter().map(String::as_str).collect();
    let known = || names.iter().filter_map(|name| nodes.get(name));
    let open = known().filter(|node| node.ready && !node.unschedulable).count();
    let zones: BTreeSet<_> = known().filter_map(|node| node.labels.get(ZONE)).collect();
    Placed { closing: names.len() - open, zones: zones.len(), nodes: names.len() }
}
