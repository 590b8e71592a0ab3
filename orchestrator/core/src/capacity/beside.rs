//! The effect of existing pods on one more pod: domains that they exclude, domains that it must be in, host
//! ports in use, and the pods that it must be spread with. Follows the scheduler's filters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::budget::Budget;
use super::neighbours::{Neighbour, Term, terms};
use super::node_room::NodeRoom;
use super::rules::{HOSTNAME, domain};

/// One more pod, and its rules about existing pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Beside {
    me: Arc<Neighbour>,
    /// Pods that it must be near (required affinity).
    near: Vec<Term>,
    /// Pods that count for each of its spread rules.
    pub(super) spread: Vec<Term>,
}

/// What existing pods exclude.
#[derive(Clone, Debug, Default)]
pub(super) struct Ruled {
    /// By label: domains in which it must not be.
    off: BTreeMap<String, BTreeSet<String>>,
    /// By label: domains in which it must be, if there are such pods at all.
    near: BTreeMap<String, BTreeSet<String>>,
    /// Nodes on which its host ports are in use.
    taken: BTreeSet<usize>,
}

/// The effect of one more pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// None.
    None,
    /// Its node is excluded.
    Node,
    /// Other nodes are excluded too.
    Domain,
    /// Nodes that were excluded may be eligible now.
    More,
}

impl Beside {
    pub(super) fn new(me: Arc<Neighbour>, spec: &Value) -> Self {
        let spread = spec["topologySpreadConstraints"].as_array().into_iter().flatten();
        let hard = spread.filter(|rule| rule["whenUnsatisfiable"] != "ScheduleAnyway");
        Self {
            near: terms(&spec["affinity"]["podAffinity"], &me.namespace, &me.labels),
            spread: hard.filter_map(|rule| Term::of(rule, &me.namespace, &me.labels)).collect(),
            me,
        }
    }

    /// The pod as other pods' rules match it.
    pub(super) fn me(&self) -> &Arc<Neighbour> {
        &self.me
    }

    /// Whether it has no rules itself: then only pods with anti-affinity of their own matter.
    pub(super) fn minds_nobody(&self) -> bool {
        self.near.is_empty() && self.spread.is_empty() && self.me.apart.is_empty() && self.me.ports.is_empty()
    }

    /// A pod has to fulfil all terms to be one of those to be near.
    fn is_near(&self, other: &Neighbour, budget: &Budget) -> bool {
        !self.near.is_empty() && self.near.iter().all(|term| term.means(other, budget))
    }
}

impl Ruled {
    /// A pod is on a node.
    pub(super) fn add(
        &mut self,
        beside: &Beside,
        (at, node): (usize, &NodeRoom),
        other: &Neighbour,
        budget: &Budget,
    ) -> Change {
        let mut change = Change::None;
        let mine = beside.me.apart.iter().map(|term| (term, other));
        let theirs = other.apart.iter().map(|term| (term, &*beside.me));
        for (term, whom) in mine.chain(theirs) {
            if !term.means(whom, budget) {
                continue;
            }
            let Some(name) = domain(node, &term.key) else { continue };
            if self.off.entry(term.key.to_string()).or_default().insert(name.to_owned()) {
                change = change.max(if term.key == HOSTNAME { Change::Node } else { Change::Domain });
            }
        }
        if beside.me.collides(other, budget) && self.taken.insert(at) {
            change = change.max(Change::Node);
        }
        if beside.is_near(other, budget) {
            for term in &beside.near {
                let Some(name) = domain(node, &term.key) else { continue };
                let domains = self.near.entry(term.key.to_string()).or_default();
                let first = domains.is_empty();
                if domains.insert(name.to_owned()) {
                    change = change.max(if first { Change::Domain } else { Change::More });
                }
            }
        }
        change
    }

    /// What it costs to ask about one node.
    pub(super) fn cost(&self) -> usize {
        1 + self.off.len() + self.near.len()
    }

    /// Whether a node is open to the pod.
    pub(super) fn lets(&self, at: usize, node: &NodeRoom) -> bool {
        let is_in = |(key, names): (&String, &BTreeSet<String>)| {
            domain(node, key).is_some_and(|name| names.contains(name))
        };
        !self.off.iter().any(is_in) && self.near.iter().all(is_in) && !self.taken.contains(&at)
    }
}
