//! The search for room: all pods of a group together, the hardest first, each on the node that it fills best,
//! with backtracking.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::kind::{Free, Kind};
use super::requests::{add, scarce};
use super::rules::{Balance, Spread, agree, domain};
use super::{NodeRoom, Resources};

/// The most placements and nodes that are tried before the search gives up. Pods of one kind use nodes in one
/// order only, so groups of a few kinds of pods are decided much earlier; for others "no room" is the
/// conservative answer.
const TRIES: u32 = 20_000;
const LOOKS: u32 = 2_000_000;

/// A pod that needs a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Index in the shape.
    pub(super) position: usize,
    /// Index of its kind; pods with the same index are identical.
    pub(super) kind: usize,
}

/// A node for each pod, by index.
pub(super) fn search(
    nodes: &[NodeRoom],
    free: &impl Free,
    kinds: &[Kind],
    mut asked: Vec<Asked>,
) -> Option<Vec<usize>> {
    asked.sort_by_key(|pod| {
        let kind = &kinds[pod.kind];
        (Reverse(scarce(&kind.asked).values().copied().max()), kind.count(), pod.kind)
    });
    let mut budget = (TRIES, LOOKS);
    for candidates in choices(nodes, kinds, &asked) {
        let balances = balances(nodes, kinds, &asked, &candidates);
        let mut search = Search {
            nodes,
            free,
            kinds,
            asked: &asked,
            candidates: &candidates,
            chosen: Vec::new(),
            claimed: BTreeMap::new(),
            balances,
            budget,
        };
        if search.next() {
            let mut places = vec![0; asked.len()];
            for (pod, (_, node)) in asked.iter().zip(&search.chosen) {
                places[pod.position] = *node;
            }
            return Some(places);
        }
        budget = search.budget;
    }
    None
}

/// Candidate nodes, by kind. Pods that must share a domain are tried in one domain after the other.
fn choices(nodes: &[NodeRoom], kinds: &[Kind], asked: &[Asked]) -> Vec<BTreeMap<usize, Vec<usize>>> {
    let used: BTreeSet<usize> = asked.iter().map(|pod| pod.kind).collect();
    let all: BTreeMap<usize, Vec<usize>> =
        used.iter().map(|kind| (*kind, kinds[*kind].candidates().collect())).collect();
    let Some(key) = used.iter().find_map(|kind| kinds[*kind].rules.together.first()) else {
        return vec![all];
    };
    let bound: Vec<usize> =
        used.iter().copied().filter(|kind| kinds[*kind].rules.together.contains(key)).collect();
    let mut domains: BTreeMap<&str, BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
    for kind in &bound {
        for node in &all[kind] {
            if let Some(name) = domain(&nodes[*node], key) {
                domains.entry(name).or_default().entry(*kind).or_default().push(*node);
            }
        }
    }
    let free: BTreeMap<usize, Vec<usize>> =
        all.iter().filter(|(kind, _)| !bound.contains(kind)).map(|(kind, of)| (*kind, of.clone())).collect();
    let complete = domains.into_values().filter(|of| of.len() == bound.len());
    complete.map(|of| of.into_iter().chain(free.clone()).collect()).collect()
}

/// A balance for each spread rule. Rules of several kinds about one label count as one.
fn balances(
    nodes: &[NodeRoom],
    kinds: &[Kind],
    asked: &[Asked],
    candidates: &BTreeMap<usize, Vec<usize>>,
) -> Vec<Balance> {
    // Groups that were placed earlier may have had such a rule about other pods.
    let used: BTreeSet<usize> = asked.iter().map(|pod| pod.kind).collect();
    let mut balances: Vec<Balance> = Vec::new();
    for rule in asked.iter().flat_map(|pod| &kinds[pod.kind].rules.spread) {
        if balances.iter().any(|balance| balance.spread == *rule) {
            continue;
        }
        let with = |kind: usize| used.contains(&kind) && kinds[kind].rules.spread.contains(rule);
        let pods = asked.iter().filter(|pod| with(pod.kind)).count();
        let of = candidates.iter().filter(|(kind, _)| with(**kind)).flat_map(|(_, nodes)| nodes);
        let domains: BTreeSet<&str> = of.filter_map(|node| domain(&nodes[*node], &rule.key)).collect();
        balances.push(Balance::new(rule, pods, there(kinds, &with, rule, &domains)));
    }
    balances
}

/// Existing pods that a rule matches, by domain. Domains without room count if they have such pods, because
/// the skew includes them.
fn there(
    kinds: &[Kind],
    with: &impl Fn(usize) -> bool,
    rule: &Spread,
    domains: &BTreeSet<&str>,
) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = domains.iter().map(|name| ((*name).to_owned(), 0)).collect();
    for (_, kind) in kinds.iter().enumerate().filter(|(at, _)| with(*at)) {
        let ours = kind.rules.spread.iter().position(|spread| spread == rule);
        let Some(known) = ours.and_then(|at| kind.spread.get(at)) else { continue };
        if known.values().all(|count| *count == 0) {
            continue;
        }
        for (name, count) in known {
            let entry = counts.entry(name.clone()).or_default();
            *entry = (*entry).max(*count);
        }
    }
    counts
}

struct Search<'s, F> {
    nodes: &'s [NodeRoom],
    free: &'s F,
    kinds: &'s [Kind],
    asked: &'s [Asked],
    candidates: &'s BTreeMap<usize, Vec<usize>>,
    /// For each pod so far: index in its candidates, and node.
    chosen: Vec<(usize, usize)>,
    /// Requests of the pods so far.
    claimed: BTreeMap<usize, Resources>,
    balances: Vec<Balance>,
    budget: (u32, u32),
}

impl<F: Free> Search<'_, F> {
    fn next(&mut self) -> bool {
        let Some(pod) = self.asked.get(self.chosen.len()).copied() else {
            return self.balances.iter().all(Balance::is_even);
        };
        let candidates = self.candidates;
        let Some(nodes) = candidates.get(&pod.kind) else { return false };
        for (place, &node) in nodes.iter().enumerate().skip(self.first_place(pod)) {
            if self.budget.0 == 0 || self.budget.1 == 0 {
                return false;
            }
            self.budget.1 -= 1;
            if !self.fits(pod, node) {
                continue;
            }
            self.budget.0 -= 1;
            if self.take(pod, place, node) && self.next() {
                return true;
            }
            self.give_back(pod, node);
        }
        false
    }

    /// Pods of one kind are interchangeable: each starts at the candidate of the one before it.
    fn first_place(&self, pod: Asked) -> usize {
        let before = self.chosen.last().zip(self.asked.get(self.chosen.len().wrapping_sub(1)));
        before.filter(|(_, other)| other.kind == pod.kind).map_or(0, |((place, _), _)| *place)
    }

    fn fits(&self, pod: Asked, node: usize) -> bool {
        let kind = &self.kinds[pod.kind];
        let others = self.chosen.iter().zip(self.asked);
        let mut others = others.map(|((_, taken), other)| (&self.kinds[other.kind], *taken));
        let beside = others.all(|(other, taken)| {
            agree((&kind.rules, &self.nodes[node]), (&other.rules, &self.nodes[taken]))
                && !(taken == node && kind.beside.me().collides(other.beside.me()))
        });
        beside && self.has(node, &kind.asked)
    }

    /// Whether there is room beside the pods so far. A candidate has room for one pod.
    fn has(&self, node: usize, asked: &Resources) -> bool {
        let Some(claimed) = self.claimed.get(&node) else { return true };
        let of = |name: &String| claimed.get(name).copied().unwrap_or_default();
        asked.iter().all(|(name, amount)| *amount <= 0 || self.free.free(node, name) >= *amount + of(name))
    }

    /// Takes a node; returns whether the rules can still be met.
    fn take(&mut self, pod: Asked, place: usize, node: usize) -> bool {
        let kind = &self.kinds[pod.kind];
        self.chosen.push((place, node));
        add(self.claimed.entry(node).or_default(), &kind.asked);
        let mut even = true;
        for balance in self.balances.iter_mut().filter(|of| kind.rules.spread.contains(&of.spread)) {
            even &= balance.add(&self.nodes[node]);
        }
        even
    }

    fn give_back(&mut self, pod: Asked, node: usize) {
        let kind = &self.kinds[pod.kind];
        self.chosen.pop();
        if let Some(claimed) = self.claimed.get_mut(&node) {
            for (name, amount) in &kind.asked {
                if let Some(sum) = claimed.get_mut(name) {
                    *sum -= amount;
                }
            }
        }
        for balance in self.balances.iter_mut().filter(|of| kind.rules.spread.contains(&of.spread)) {
            balance.remove(&self.nodes[node]);
        }
    }
}
