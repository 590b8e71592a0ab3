//! Pods that wait for a node are given one before a group is looked at: the scheduler has them in its queue already. Each kind of pod
//! looks through the nodes once, and all of them together cost no more than so many looks, so that nobody's pods take the time of
//! others' fleets.

use std::collections::{BTreeMap, HashMap};

use super::beside::Beside;
use super::budget::{Budget, amounts, values};
use super::kind::Kind;
use super::neighbours::{Crowd, Neighbour};
use super::node_room::NodeRoom;
use super::source::{Capacity, PendingPod};
use super::unclaimed::Unclaimed;

/// Looks that all that wait may cost together: at their specs, at nodes, and at the labels, namespaces and ports by which pods mind each
/// other. A pod of which it is not known by then where it fits is not counted, nor are those after it: the scheduler finds a node within
/// seconds for one that fits, so those that wait for long are no measure of what is free.
pub(super) const LOOKS: usize = 2_000_000;

/// The nodes of waiting pods.
pub(super) struct Settled<'a> {
    pub(super) free: Unclaimed<'a>,
    /// By index of the node.
    pub(super) joined: BTreeMap<usize, Crowd>,
    pub(super) budget: Budget,
}

/// Every waiting pod that fits gets the node that it fills best; the own namespace's pods first, then by
/// name.
pub(super) fn settle(capacity: &Capacity) -> Settled<'_> {
    let nodes = capacity.nodes.as_slice();
    let mut settled = Settled::without_pending(capacity);
    for (pod, count) in alike(capacity) {
        if settled.budget.is_spent() {
            break;
        }
        settled.place(nodes, pod, count);
    }
    settled
}

/// Identical pods and their number, in the order of the first of each.
fn alike(capacity: &Capacity) -> Vec<(&PendingPod, usize)> {
    let mut pending: Vec<&PendingPod> = capacity.pending.iter().collect();
    pending.sort_by_key(|pod| (pod.pod.namespace != capacity.namespace, &pod.name));
    let mut kinds: Vec<(&PendingPod, usize)> = Vec::new();
    let mut known = HashMap::new();
    for pod in pending {
        let at = *known.entry((&*pod.spec, &*pod.pod)).or_insert(kinds.len());
        match kinds.get_mut(at) {
            Some((_, count)) => *count += 1,
            None => kinds.push((pod, 1)),
        }
    }
    kinds
}

impl<'a> Settled<'a> {
    /// No waiting pod has a node yet.
    pub(super) fn without_pending(capacity: &'a Capacity) -> Self {
        Self { free: Unclaimed::of(&capacity.nodes), joined: BTreeMap::new(), budget: Budget::of(LOOKS) }
    }

    /// Looks that it took.
    pub(super) fn cost(&self) -> usize {
        LOOKS - self.budget.left()
    }

    fn place(&mut self, nodes: &[NodeRoom], pod: &PendingPod, count: usize) {
        self.budget.spend(values(&pod.spec));
        let beside = Beside::new(pod.pod.clone(), &pod.spec);
        let pods = there(nodes, &self.joined, beside.minds_nobody());
        let budget = &self.budget;
        let Some(mut kind) = Kind::new(&pod.spec, beside, nodes, pods, &self.free, budget) else { return };
        let mut left = count;
        let candidates: Vec<usize> = kind.candidates().collect();
        for at in candidates {
            let Some(node) = nodes.get(at) else { continue };
            // A node that was the fullest is so after each pod that it takes.
            while left > 0
                && !self.budget.is_spent()
                && self.free.has(at, &kind.asked)
                && kind.there.lets(at, node)
            {
                self.free.claim(at, &kind.asked);
                self.joined.entry(at).or_default().add(&pod.pod, 1);
                kind.add(at, nodes, &pod.pod, 1, &self.budget);
                self.budget.spend(amounts(&kind.asked) + kind.there.cost());
                left -= 1;
            }
        }
    }
}

/// The pods on the nodes that matter for a kind of pod, and their numbers.
pub(super) fn there<'n>(
    nodes: &'n [NodeRoom],
    joined: &'n BTreeMap<usize, Crowd>,
    minds_nobody: bool,
) -> impl Iterator<Item = (usize, &'n Neighbour, usize)> {
    let before = nodes.iter().enumerate().map(|(at, node)| (at, &node.pods));
    let crowds = before.chain(joined.iter().map(|(at, crowd)| (*at, crowd)));
    crowds
        .flat_map(move |(at, crowd)| crowd.heeded(minds_nobody).map(move |(pod, count)| (at, &**pod, count)))
}

impl Capacity {
    /// The same after every waiting pod that fits somewhere has a node.
    #[must_use]
    pub fn settled(mut self) -> Self {
        let settled = settle(&self);
        let (claimed, joined) = (settled.free.claimed, settled.joined);
        for (at, asked) in claimed {
            if let Some(node) = self.nodes.get_mut(at) {
                node.take(&asked);
            }
        }
        for (at, crowd) in joined {
            if let Some(node) = self.nodes.get_mut(at) {
                crowd.iter().for_each(|(pod, count)| node.pods.add(pod, count));
            }
        }
        self.pending.clear();
        self
    }
}
