//! The search for room: all pods of a group together, the hardest first, each on the node that it fills best,
//! with backtracking.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::budget::{Budget, amounts};
use super::domains::Domains;
use super::kind::Kind;
use super::node_room::NodeRoom;
use super::requests::{Resources, add, scarce};
use super::rules::{Balance, Spread, domain};
use super::unclaimed::Unclaimed;

/// Placements tried before the search gives up. Pods of one kind take nodes in one order only, so groups of a few kinds of pods are settled
/// long before, however many pods they have; for others "no room" is the careful answer, as it is where the budget is spent.
const TRIES: u32 = 20_000;

/// A pod that needs a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Index in the shape.
    pub(super) position: usize,
    /// Index of its kind; pods with the same index are identical.
    pub(super) kind: usize,
}

/// Nodes to choose from, by kind.
type Candidates<'c> = BTreeMap<usize, &'c [usize]>;

/// A node for each pod, by position. A look at a node costs what the pod asks for and as many rules as there are between the group's pods.
pub(super) fn search(
    nodes: &[NodeRoom],
    free: &Unclaimed<'_>,
    kinds: &[Kind],
    mut asked: Vec<Asked>,
    budget: &Budget,
) -> Option<Vec<usize>> {
    asked.sort_by_cached_key(|pod| {
        let kind = &kinds[pod.kind];
        (Reverse(scarce(&kind.asked).values().copied().max()), kind.count(), pod.kind)
    });
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for pod in &asked {
        *counts.entry(pod.kind).or_default() += 1;
    }
    let all: BTreeMap<usize, Vec<usize>> =
        counts.keys().map(|kind| (*kind, kinds[*kind].candidates().collect())).collect();
    let mut tries = TRIES;
    let domains = by_domain(nodes, kinds, &all);
    let choices = domains.as_ref().map_or(1, Vec::len);
    let keys: usize = counts.keys().map(|kind| kinds[*kind].rules.apart.len()).sum();
    for choice in 0..choices {
        if tries == 0 || budget.is_spent() {
            break;
        }
        let mut candidates: Candidates<'_> = all.iter().map(|(kind, of)| (*kind, of.as_slice())).collect();
        let bound = domains.iter().filter_map(|domains| domains.get(choice)).flatten();
        candidates.extend(bound.map(|(kind, of)| (*kind, of.as_slice())));
        budget.spend(candidates.len() + keys);
        let (balances, rules) = balances(nodes, kinds, &counts, &candidates, budget)?;
        let mut search = Search {
            nodes,
            free,
            kinds,
            asked: &asked,
            candidates: &candidates,
            chosen: Vec::new(),
            domains: Domains::of(counts.keys().map(|kind| &kinds[*kind])),
            claimed: BTreeMap::new(),
            balances,
            rules,
            tries,
            budget,
        };
        if search.next() {
            let mut places = vec![0; asked.len()];
            for (pod, (_, node)) in asked.iter().zip(&search.chosen) {
                places[pod.position] = *node;
            }
            return Some(places);
        }
        tries = search.tries;
    }
    None
}

/// Where pods have to be together: for each domain, the nodes of the kinds with that rule. They are tried in one domain after the other.
fn by_domain(
    nodes: &[NodeRoom],
    kinds: &[Kind],
    all: &BTreeMap<usize, Vec<usize>>,
) -> Option<Vec<BTreeMap<usize, Vec<usize>>>> {
    let key = all.keys().find_map(|kind| kinds[*kind].rules.together.first())?;
    let bound: Vec<usize> =
        all.keys().copied().filter(|kind| kinds[*kind].rules.together.contains(key)).collect();
    let mut domains: BTreeMap<&str, BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
    for kind in &bound {
        for node in &all[kind] {
            if let Some(name) = domain(&nodes[*node], key) {
                domains.entry(name).or_default().entry(*kind).or_default().push(*node);
            }
        }
    }
    Some(domains.into_values().filter(|of| of.len() == bound.len()).collect())
}

/// Positions in a list, by kind of pod.
type Positions = BTreeMap<usize, Vec<usize>>;

/// A balance for each spread rule, and the positions of those that a kind of pod counts in. Rules of several kinds about one label are
/// one rule. `None`: the budget is spent.
fn balances(
    nodes: &[NodeRoom],
    kinds: &[Kind],
    counts: &BTreeMap<usize, usize>,
    candidates: &Candidates<'_>,
    budget: &Budget,
) -> Option<(Vec<Balance>, Positions)> {
    let mut balances: Vec<Balance> = Vec::new();
    let mut positions: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for kind in counts.keys() {
        for rule in &kinds[*kind].rules.spread {
            budget.spend(1 + balances.len());
            let known = balances.iter().position(|balance| balance.spread == *rule);
            let at = if let Some(at) = known {
                at
            } else {
                // Groups that were placed before may have had such a rule about other pods.
                let with: Vec<usize> =
                    counts.keys().copied().filter(|kind| kinds[*kind].rules.spread.contains(rule)).collect();
                let of = || with.iter().filter_map(|kind| candidates.get(kind)).copied().flatten();
                budget.spend(counts.len() + of().count());
                let domains: BTreeSet<&str> =
                    of().filter_map(|node| domain(&nodes[*node], &rule.key)).collect();
                let pods = with.iter().filter_map(|kind| counts.get(kind)).sum();
                balances.push(Balance::new(rule, pods, there(kinds, &with, rule, &domains, budget)));
                balances.len() - 1
            };
            let of_kind = positions.entry(*kind).or_default();
            if !of_kind.contains(&at) {
                of_kind.push(at);
            }
            if budget.is_spent() {
                return None;
            }
        }
    }
    Some((balances, positions))
}

/// Existing pods that a rule matches, by domain. Domains without room count if they have such pods, because
/// the skew includes them.
fn there(
    kinds: &[Kind],
    with: &[usize],
    rule: &Spread,
    domains: &BTreeSet<&str>,
    budget: &Budget,
) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = domains.iter().map(|name| ((*name).to_owned(), 0)).collect();
    for kind in with.iter().filter_map(|at| kinds.get(*at)) {
        let ours = kind.rules.spread.iter().position(|spread| spread == rule);
        let Some(known) = ours.and_then(|at| kind.spread.get(at)) else { continue };
        budget.spend(known.len());
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

struct Search<'s> {
    nodes: &'s [NodeRoom],
    free: &'s Unclaimed<'s>,
    kinds: &'s [Kind],
    asked: &'s [Asked],
    candidates: &'s Candidates<'s>,
    /// For each pod so far: position in its candidates, and node.
    chosen: Vec<(usize, usize)>,
    /// Where the pods so far are.
    domains: Domains<'s>,
    /// What the pods so far take.
    claimed: BTreeMap<usize, Resources>,
    balances: Vec<Balance>,
    /// By kind: which of the balances are its own.
    rules: BTreeMap<usize, Vec<usize>>,
    tries: u32,
    budget: &'s Budget,
}

impl Search<'_> {
    fn next(&mut self) -> bool {
        let Some(pod) = self.asked.get(self.chosen.len()).copied() else {
            self.budget.spend(self.balances.iter().map(Balance::domains).sum());
            return self.balances.iter().all(Balance::is_even);
        };
        let candidates = self.candidates;
        let Some(nodes) = candidates.get(&pod.kind) else { return false };
        for (place, &node) in nodes.iter().enumerate().skip(self.first_place(pod)) {
            if self.tries == 0 || self.budget.is_spent() {
                return false;
            }
            if !self.fits(pod, node) {
                continue;
            }
            self.tries -= 1;
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

    fn fits(&mut self, pod: Asked, node: usize) -> bool {
        let kind = &self.kinds[pod.kind];
        self.budget.spend(amounts(&kind.asked));
        self.has(node, &kind.asked) && self.domains.lets(kind, (node, &self.nodes[node]), self.budget)
    }

    /// Whether there is room beside the pods so far. A candidate has room for one pod.
    fn has(&self, node: usize, asked: &Resources) -> bool {
        let Some(claimed) = self.claimed.get(&node) else { return true };
        let of = |name: &String| claimed.get(name).copied().unwrap_or_default();
        asked.iter().all(|(name, amount)| *amount <= 0 || self.free.free(node, name) >= *amount + of(name))
    }

    /// Takes a node; returns whether the rules can still be met.
    fn take(&mut self, pod: Asked, place: usize, node: usize) -> bool {
        let (kind, room) = (&self.kinds[pod.kind], &self.nodes[node]);
        self.chosen.push((place, node));
        self.domains.enter(kind, (node, room), self.budget);
        add(self.claimed.entry(node).or_default(), &kind.asked);
        let mut even = true;
        for at in self.rules.get(&pod.kind).into_iter().flatten() {
            self.budget.spend(1);
            even &= self.balances[*at].add(room);
        }
        even
    }

    fn give_back(&mut self, pod: Asked, node: usize) {
        let (kind, room) = (&self.kinds[pod.kind], &self.nodes[node]);
        self.chosen.pop();
        self.domains.leave(kind, (node, room), self.budget);
        if let Some(claimed) = self.claimed.get_mut(&node) {
            for (name, amount) in &kind.asked {
                if let Some(sum) = claimed.get_mut(name) {
                    *sum -= amount;
                }
            }
        }
        for at in self.rules.get(&pod.kind).into_iter().flatten() {
            self.balances[*at].remove(room);
        }
    }
}
