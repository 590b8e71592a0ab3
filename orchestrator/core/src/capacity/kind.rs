//! Pods that are alike, and the nodes that one of them fits on.

use serde_json::Value;

use super::eligible::eligible;
use super::requests::{requests, scarce};
use super::rules::Rules;
use super::{NodeRoom, Resources};

/// What is free of a resource on each node.
pub(super) trait Free {
    /// Amount on the node at this position.
    fn free(&self, node: usize, resource: &str) -> i128;

    /// Whether everything that is asked for is free. What nobody has is free of nobody.
    fn has(&self, node: usize, asked: &Resources) -> bool {
        // Names with a slash sort behind `cpu` and before `memory`; what is scarce rules most nodes out.
        let by_scarcity = asked.iter().filter(|(name, _)| name.contains('/'));
        let rest = asked.iter().filter(|(name, _)| !name.contains('/'));
        by_scarcity.chain(rest).all(|(name, amount)| *amount <= 0 || self.free(node, name) >= *amount)
    }
}

/// Pods of one spec.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) spec: Value,
    pub(super) asked: Resources,
    pub(super) rules: Rules,
    /// Nodes that one such pod fits on, the fullest first: large free nodes are kept for large groups.
    candidates: Vec<(i128, usize)>,
}

impl Kind {
    pub(super) fn new(spec: &Value, nodes: &[NodeRoom], free: &impl Free) -> Self {
        let (asked, rules) = (requests(spec), Rules::of(spec));
        let mut kind = Self { spec: spec.clone(), asked, rules, candidates: Vec::new() };
        let fits = |(_, node): &(usize, &NodeRoom)| eligible(spec, node) && kind.rules.has_labels(node);
        let fitting = nodes.iter().enumerate().filter(|(at, _)| free.has(*at, &kind.asked)).filter(fits);
        let mut candidates: Vec<_> = fitting.map(|(at, _)| (kind.room_on(at, free), at)).collect();
        candidates.sort_unstable();
        kind.candidates = candidates;
        kind
    }

    fn room_on(&self, node: usize, free: &impl Free) -> i128 {
        scarce(&self.asked).keys().map(|name| free.free(node, name)).sum()
    }

    /// The nodes, in the order in which they are to be taken.
    pub(super) fn candidates(&self) -> impl Iterator<Item = usize> {
        self.candidates.iter().map(|(_, node)| *node)
    }

    pub(super) fn count(&self) -> usize {
        self.candidates.len()
    }

    /// A node has less room than it had.
    pub(super) fn changed(&mut self, node: usize, free: &impl Free) {
        let Some(at) = self.candidates.iter().position(|(_, candidate)| *candidate == node) else { return };
        self.candidates.remove(at);
        if free.has(node, &self.asked) {
            let entry = (self.room_on(node, free), node);
            let place = self.candidates.partition_point(|candidate| *candidate < entry);
            self.candidates.insert(place, entry);
        }
    }
}
