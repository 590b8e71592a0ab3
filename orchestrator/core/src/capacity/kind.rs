//! Identical pods, and the nodes on which one of them fits.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::beside::{Beside, Change, Ruled};
use super::budget::{Budget, amounts};
use super::eligible::eligible;
use super::neighbours::Neighbour;
use super::node_room::NodeRoom;
use super::requests::{Resources, requests, scarce};
use super::rules::{Rules, domain};
use super::unclaimed::Unclaimed;

/// Candidates that are passed over in the time of one look.
pub(super) const SCANNED: usize = 64;

/// Pods with one spec that match the rules of others in the same way.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) spec: Arc<Value>,
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
    /// Nodes that one such pod fits on, the fullest first: large free nodes are kept for large groups.
    candidates: Vec<(i128, usize)>,
}

impl Kind {
    /// `pods`: those that are there, with the position of their node, and how many are alike. `None`: the budget was spent before it was
    /// known where such a pod fits. No part of the answer is given then: the next pod that runs may rule out any node.
    pub(super) fn new<'n>(
        spec: &Arc<Value>,
        beside: Beside,
        nodes: &[NodeRoom],
        pods: impl Iterator<Item = (usize, &'n Neighbour, usize)>,
        free: &Unclaimed<'_>,
        budget: &Budget,
    ) -> Option<Self> {
        let (asked, rules) = (requests(spec), Rules::of(spec));
        let spread = domains(spec, &rules, nodes, budget)?;
        let mut kind = Self {
            spec: spec.clone(),
            asked,
            rules,
            beside,
            there: Ruled::default(),
            spread,
            ruled_out: 0,
            candidates: Vec::new(),
        };
        for (at, pod, count) in pods {
            if budget.is_spent() {
                return None;
            }
            budget.spend(1);
            kind.add(at, nodes, pod, count, budget);
        }
        let labels = kind.rules.together.len() + kind.rules.spread.len();
        for (at, node) in nodes.iter().enumerate() {
            if budget.is_spent() {
                return None;
            }
            budget.spend(amounts(&kind.asked));
            if !free.has(at, &kind.asked) || !eligible(spec, node, budget) {
                continue;
            }
            budget.spend(labels + kind.there.cost());
            if !kind.rules.has_labels(node) {
                continue;
            }
            if kind.there.lets(at, node) {
                // It is kept, and there may be as many kinds as a template has worker groups.
                budget.spend(2);
                kind.candidates.push((kind.room_on(at, free), at));
            } else {
                kind.ruled_out += 1;
            }
        }
        kind.candidates.sort_unstable();
        Some(kind)
    }

    fn room_on(&self, node: usize, free: &Unclaimed<'_>) -> i128 {
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
    pub(super) fn changed(&mut self, node: usize, free: &Unclaimed<'_>) {
        let Some(at) = self.candidates.iter().position(|(_, candidate)| *candidate == node) else { return };
        self.candidates.remove(at);
        if free.has(node, &self.asked) {
            let entry = (self.room_on(node, free), node);
            let place = self.candidates.partition_point(|candidate| *candidate < entry);
            self.candidates.insert(place, entry);
        }
    }

    /// Pods are on a node.
    pub(super) fn add(
        &mut self,
        at: usize,
        nodes: &[NodeRoom],
        pod: &Neighbour,
        count: usize,
        budget: &Budget,
    ) -> Change {
        let Some(node) = nodes.get(at) else { return Change::None };
        let rules = self.beside.spread.iter().zip(&self.rules.spread);
        for ((term, rule), counts) in rules.zip(&mut self.spread) {
            let name = domain(node, &rule.key).filter(|_| term.means(pod, budget));
            if let Some(sum) = name.and_then(|name| counts.get_mut(name)) {
                *sum = sum.saturating_add(count);
            }
        }
        self.there.add(&self.beside, (at, node), pod, budget)
    }

    /// One pod more is on a node. Says whether the candidates are still those; if not, the kind has to be made again. It has to where the
    /// budget is spent, too, and cannot.
    pub(super) fn joined(&mut self, at: usize, nodes: &[NodeRoom], pod: &Neighbour, budget: &Budget) -> bool {
        let before = self.candidates.len();
        match self.add(at, nodes, pod, 1, budget) {
            Change::None => {}
            Change::Node => {
                budget.spend(before / SCANNED);
                self.candidates.retain(|(_, node)| *node != at);
            }
            Change::Domain => {
                budget.spend(before.saturating_mul(self.there.cost()));
                if budget.is_spent() {
                    return false;
                }
                let lets = |node: usize| nodes.get(node).is_some_and(|room| self.there.lets(node, room));
                self.candidates.retain(|(_, node)| lets(*node));
            }
            Change::More => return false,
        }
        self.ruled_out += before - self.candidates.len();
        !budget.is_spent()
    }
}

/// For each hard rule to spread, the domains of the nodes that such a pod may use. `None`: the budget is spent.
fn domains(
    spec: &Value,
    rules: &Rules,
    nodes: &[NodeRoom],
    budget: &Budget,
) -> Option<Vec<BTreeMap<String, usize>>> {
    let mut domains = vec![BTreeMap::new(); rules.spread.len()];
    if domains.is_empty() {
        return Some(domains);
    }
    for node in nodes {
        if budget.is_spent() {
            return None;
        }
        if !eligible(spec, node, budget) {
            continue;
        }
        budget.spend(rules.spread.len());
        for (rule, counts) in rules.spread.iter().zip(&mut domains) {
            if let Some(name) = domain(node, &rule.key) {
                counts.entry(name.to_owned()).or_insert(0);
            }
        }
    }
    Some(domains)
}
