//! Identical pods, and the nodes on which one of them fits.

use std::collections::BTreeMap;

use serde_json::Value;

use super::beside::{Beside, Change, Ruled};
use super::eligible::eligible;
use super::neighbours::Neighbour;
use super::requests::{requests, scarce};
use super::rules::{Rules, domain};
use super::{NodeRoom, Resources};

/// The free amount of each resource on each node.
pub(super) trait Free {
    /// Free amount on the node at this index.
    fn free(&self, node: usize, resource: &str) -> i128;

    /// Whether all requested amounts are free. A resource that no node has is never free.
    fn has(&self, node: usize, asked: &Resources) -> bool {
        // Names with a slash sort after `cpu` and before `memory`; the scarce resources exclude most nodes,
        // so they come first.
        let by_scarcity = asked.iter().filter(|(name, _)| name.contains('/'));
        let rest = asked.iter().filter(|(name, _)| !name.contains('/'));
        by_scarcity.chain(rest).all(|(name, amount)| *amount <= 0 || self.free(node, name) >= *amount)
    }
}

/// Pods with one spec that match the rules of others in the same way.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) spec: Value,
    pub(super) asked: Resources,
    pub(super) rules: Rules,
    pub(super) beside: Beside,
    /// What existing pods exclude.
    pub(super) there: Ruled,
    /// For each spread rule, the number of matching pods in each domain of nodes that the pod may use, full
    /// nodes included.
    pub(super) spread: Vec<BTreeMap<String, usize>>,
    /// Number of nodes with room that are excluded by the pods on them.
    pub(super) ruled_out: usize,
    /// Number of pods that were compared with it.
    pub(super) compared: usize,
    /// Nodes on which one such pod fits, the fullest first: large free nodes are left for large groups.
    candidates: Vec<(i128, usize)>,
}

impl Kind {
    /// `pods`: existing pods, with the index of their node and their number.
    pub(super) fn new<'n>(
        spec: &Value,
        beside: Beside,
        nodes: &[NodeRoom],
        pods: impl Iterator<Item = (usize, &'n Neighbour, usize)>,
        free: &impl Free,
    ) -> Self {
        let (asked, rules) = (requests(spec), Rules::of(spec));
        let domains = rules.spread.iter().map(|rule| {
            let usable = nodes.iter().filter(|node| eligible(spec, node));
            usable.filter_map(|node| Some((domain(node, &rule.key)?.to_owned(), 0))).collect()
        });
        let spread = domains.collect();
        let mut kind = Self {
            spec: spec.clone(),
            asked,
            rules,
            beside,
            there: Ruled::default(),
            spread,
            ruled_out: 0,
            compared: 0,
            candidates: Vec::new(),
        };
        for (at, pod, count) in pods {
            kind.compared += 1;
            kind.add(at, nodes, pod, count);
        }
        let fits = |(_, node): &(usize, &NodeRoom)| eligible(spec, node) && kind.rules.has_labels(node);
        let fitting = nodes.iter().enumerate().filter(|(at, _)| free.has(*at, &kind.asked)).filter(fits);
        let (open, closed): (Vec<_>, Vec<_>) = fitting.partition(|(at, node)| kind.there.lets(*at, node));
        let mut candidates: Vec<_> = open.into_iter().map(|(at, _)| (kind.room_on(at, free), at)).collect();
        candidates.sort_unstable();
        kind.candidates = candidates;
        kind.ruled_out = closed.len();
        kind
    }

    fn room_on(&self, node: usize, free: &impl Free) -> i128 {
        scarce(&self.asked).keys().map(|name| free.free(node, name)).sum()
    }

    /// The nodes, in order of preference.
    pub(super) fn candidates(&self) -> impl Iterator<Item = usize> {
        self.candidates.iter().map(|(_, node)| *node)
    }

    pub(super) fn count(&self) -> usize {
        self.candidates.len()
    }

    /// A node has less room than before.
    pub(super) fn changed(&mut self, node: usize, free: &impl Free) {
        let Some(at) = self.candidates.iter().position(|(_, candidate)| *candidate == node) else { return };
        self.candidates.remove(at);
        if free.has(node, &self.asked) {
            let entry = (self.room_on(node, free), node);
            let place = self.candidates.partition_point(|candidate| *candidate < entry);
            self.candidates.insert(place, entry);
        }
    }

    /// Adds existing pods on a node.
    pub(super) fn add(&mut self, at: usize, nodes: &[NodeRoom], pod: &Neighbour, count: usize) -> Change {
        let Some(node) = nodes.get(at) else { return Change::None };
        let means = self
            .beside
            .spread
            .iter()
            .zip(&self.rules.spread)
            .map(|(term, rule)| domain(node, &rule.key).filter(|_| term.means(pod)));
        for (name, counts) in means.zip(&mut self.spread) {
            if let Some(sum) = name.and_then(|name| counts.get_mut(name)) {
                *sum = sum.saturating_add(count);
            }
        }
        self.there.add(&self.beside, at, node, pod)
    }

    /// Adds one pod on a node. `false` if the candidates may have changed in another way; then the kind must
    /// be rebuilt.
    pub(super) fn joined(&mut self, at: usize, nodes: &[NodeRoom], pod: &Neighbour) -> bool {
        let before = self.candidates.len();
        match self.add(at, nodes, pod, 1) {
            Change::None => {}
            Change::Node => self.candidates.retain(|(_, node)| *node != at),
            Change::Domain => {
                let lets = |node: usize| nodes.get(node).is_some_and(|room| self.there.lets(node, room));
                self.candidates.retain(|(_, node)| lets(*node));
            }
            Change::More => return false,
        }
        self.ruled_out += before - self.candidates.len();
        true
    }
}
