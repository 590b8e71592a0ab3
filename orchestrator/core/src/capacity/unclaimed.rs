//! What is free on the nodes beside what was claimed in the same decision.

use std::collections::BTreeMap;

use super::kind::Free;
use super::node_room::NodeRoom;
use super::requests::{Resources, add};

/// What is free after subtracting what was claimed here.
pub(super) struct Unclaimed<'a> {
    nodes: &'a [NodeRoom],
    pub(super) claimed: BTreeMap<usize, Resources>,
}

impl<'a> Unclaimed<'a> {
    /// Nothing claimed yet.
    pub(super) fn of(nodes: &'a [NodeRoom]) -> Self {
        Self { nodes, claimed: BTreeMap::new() }
    }

    pub(super) fn claim(&mut self, node: usize, asked: &Resources) {
        add(self.claimed.entry(node).or_default(), asked);
    }
}

impl Free for Unclaimed<'_> {
    fn free(&self, node: usize, resource: &str) -> i128 {
        let Some(room) = self.nodes.get(node) else { return 0 };
        let claimed = self.claimed.get(&node).and_then(|claimed| claimed.get(resource));
        room.free(resource).saturating_sub(claimed.copied().unwrap_or_default())
    }
}
