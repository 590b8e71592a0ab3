//! The search for room: all pods of a group at once, hardest first, each on the node that it fills best,
//! with backtracking.

use std::cmp::Reverse;

use rayfleet_api::valid::PodShape;
use serde_json::Value;

use super::eligible::{eligible, keeps_apart};
use super::requests::{requests, scarce};
use super::{Capacity, NoRoom, NodeRoom, Resources};

/// Placements tried before the search gives up. Pods of one kind take nodes in one order only, so groups
/// of a few kinds of pods are settled long before; for others "no room" is the careful answer.
const TRIES: u32 = 20_000;

/// What is free on each node.
pub(crate) struct Room<'a> {
    pub(super) nodes: &'a [NodeRoom],
    pub(super) free: Vec<Resources>,
}

/// A pod that is looked for a node for.
struct Asked {
    /// Position in the shape.
    position: usize,
    /// Pods with the same number are alike.
    kind: usize,
    requests: Resources,
    apart: bool,
}

impl<'a> Room<'a> {
    /// What is free once every pending pod that fits somewhere has its node.
    pub(crate) fn of(capacity: &'a Capacity) -> Self {
        let free = capacity.nodes.iter().map(free).collect();
        let mut room = Self { nodes: &capacity.nodes, free };
        let mut pending: Vec<_> = capacity.pending.iter().collect();
        pending.sort_by(|a, b| a.name.cmp(&b.name));
        for pod in pending {
            room.take_one(&pod.spec);
        }
        room
    }

    /// Takes room for one pod, if there is any.
    pub(crate) fn take_one(&mut self, spec: &Value) {
        let asked = requests(spec);
        if let Some(node) = self.candidates(spec, &asked).first() {
            take(&mut self.free[*node], &asked, 1);
        }
    }

    /// Takes room for all the pods or for none. Gives the node of each.
    pub(crate) fn place(&mut self, pods: &[PodShape]) -> Result<Vec<String>, NoRoom> {
        let mut kinds: Vec<&Value> = Vec::new();
        let mut asked: Vec<Asked> =
            pods.iter().enumerate().map(|(position, pod)| ask(position, pod, &mut kinds)).collect();
        let candidates: Vec<Vec<usize>> =
            kinds.iter().map(|spec| self.candidates(spec, &requests(spec))).collect();
        asked.sort_by_key(|pod| {
            (Reverse(scarce(&pod.requests).values().copied().max()), candidates[pod.kind].len(), pod.kind)
        });
        let mut search = Search { asked: &asked, candidates: &candidates, chosen: Vec::new(), tries: TRIES };
        let mut after = self.free.clone();
        if !search.next(&mut after) {
            return Err(NoRoom::explain(self, pods));
        }
        let mut places = vec![String::new(); pods.len()];
        for (pod, (_, node)) in asked.iter().zip(&search.chosen) {
            places[pod.position].clone_from(&self.nodes[*node].name);
        }
        self.free = after;
        Ok(places)
    }

    /// Nodes that one such pod fits on, the fullest first: large free nodes are kept for large groups.
    fn candidates(&self, spec: &Value, asked: &Resources) -> Vec<usize> {
        let mut nodes: Vec<usize> = (0..self.nodes.len())
            .filter(|node| has(&self.free[*node], asked) && eligible(spec, &self.nodes[*node]))
            .collect();
        let room = |node: usize| -> i128 {
            let names = scarce(asked);
            names.keys().filter_map(|name| self.free[node].get(name)).sum()
        };
        nodes.sort_by_cached_key(|node| (room(*node), &self.nodes[*node].name));
        nodes
    }
}

fn ask<'p>(position: usize, pod: &'p PodShape, kinds: &mut Vec<&'p Value>) -> Asked {
    let kind = kinds.iter().position(|kind| **kind == pod.spec).unwrap_or_else(|| {
        kinds.push(&pod.spec);
        kinds.len() - 1
    });
    Asked { position, kind, requests: requests(&pod.spec), apart: keeps_apart(&pod.spec) }
}

fn free(node: &NodeRoom) -> Resources {
    let mut free = node.allocatable.clone();
    take(&mut free, &node.requested, 1);
    free
}

/// Whether everything that is asked for is free. What nobody has is free of nobody.
fn has(free: &Resources, asked: &Resources) -> bool {
    asked.iter().all(|(name, amount)| *amount <= 0 || free.get(name).is_some_and(|free| free >= amount))
}

fn take(free: &mut Resources, asked: &Resources, times: i128) {
    for (name, amount) in asked {
        if let Some(free) = free.get_mut(name) {
            *free = free.saturating_sub(amount.saturating_mul(times));
        }
    }
}

struct Search<'s> {
    asked: &'s [Asked],
    candidates: &'s [Vec<usize>],
    /// For each pod so far: position in its candidates, and node.
    chosen: Vec<(usize, usize)>,
    tries: u32,
}

impl Search<'_> {
    fn next(&mut self, free: &mut [Resources]) -> bool {
        let Some(pod) = self.asked.get(self.chosen.len()) else { return true };
        let nodes = &self.candidates[pod.kind];
        for (place, &node) in nodes.iter().enumerate().skip(self.first_place(pod)) {
            if self.tries == 0 {
                return false;
            }
            self.tries -= 1;
            if !has(&free[node], &pod.requests) || self.kept_apart(pod, node) {
                continue;
            }
            take(&mut free[node], &pod.requests, 1);
            self.chosen.push((place, node));
            if self.next(free) {
                return true;
            }
            self.chosen.pop();
            take(&mut free[node], &pod.requests, -1);
        }
        false
    }

    /// Pods of one kind are exchangeable: each goes no earlier in the list than the one before it.
    fn first_place(&self, pod: &Asked) -> usize {
        let before = self.chosen.last().zip(self.asked.get(self.chosen.len().wrapping_sub(1)));
        before.filter(|(_, other)| other.kind == pod.kind).map_or(0, |((place, _), _)| *place)
    }

    fn kept_apart(&self, pod: &Asked, node: usize) -> bool {
        let others = self.chosen.iter().zip(self.asked);
        others.into_iter().any(|((_, taken), other)| *taken == node && (pod.apart || other.apart))
    }
}
