//! Pods that are alike, and the nodes that one of them fits on.

use std::collections::BTreeMap;

use serde_json::Value;

use super::beside::{Beside, Change, Ruled};
use super::eligible::eligible;
use super::neighbours::Neighbour;
use super::requests::{requests, scarce};
use super::rules::{Rules, domain};
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

/// Pods of one spec that others see in one way.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) spec: Value,
    pub(super) asked: Resources,
    pub(super) rules: Rules,
    pub(super) beside: Beside,
    /// What the pods that are there rule out.
    pub(super) there: Ruled,
    /// For each rule to spread, the pods that it means in each domain of nodes that the pod may use, full ones too.
    pub(super) spread: Vec<BTreeMap<String, usize>>,
    /// Nodes with room that the pods on them rule out.
    pub(super) ruled_out: usize,
    /// Pods that were compared with it.
    pub(super) compared: usize,
    /// Nodes that one such pod fits on, the fullest first: large free nodes are kept for large groups.
    candidates: Vec<(i128, usize)>,
}

impl Kind {
    /// `pods`: those that are there, with the position of their node, and how many are alike.
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

    /// Pods are on a node.
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

    /// One pod more is on a node. Says whether the candidates are still those; if not, the kind has to be made again.
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
