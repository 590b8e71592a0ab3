//! What is free on the nodes beside what was claimed in the same decision.

use std::collections::BTreeMap;

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

    /// Whether all requested amounts are free on the node at this index. A resource that no node has is never free.
    pub(super) fn has(&self, node: usize, asked: &Resources) -> bool {
        // Names with a slash sort after `cpu` and before `memory`; the scarce resources exclude most nodes,
        // so they come first.
        let by_scarcity = asked.iter().filter(|(name, _)| name.contains('/'));
        let rest = asked.iter().filter(|(name, _)| !name.contains('/'));
        by_scarcity.chain(rest).all(|(name, amount)| *amount <= 0 || self.free(node, name) >= *amount)
    }

    /// Free amount on the node at this index.
    pub(super) fn free(&self, node: usize, resource: &str) -> i128 {
        let Some(room) = self.nodes.get(node) else { return 0 };
        let claimed = self.claimed.get(&node).and_then(|claimed| claimed.get(resource));
        room.free(resource).saturating_sub(claimed.copied().unwrap_or_default())
    }
}
