//! What the pods that are there mean for one more: domains that they keep it off, domains that it wants to be in, ports that are taken,
//! and how many there are of those that it is to be spread with. As the scheduler's filters have it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::NodeRoom;
use super::budget::Budget;
use super::neighbours::{Neighbour, Term, terms};
use super::rules::{HOSTNAME, domain};

/// One more pod, and which of those that are there it minds.
#[derive(Clone, Debug, Default)]
pub(super) struct Beside {
    me: Arc<Neighbour>,
    /// Which pods it has to be near.
    near: Vec<Term>,
    /// Which pods count where it is spread, for each such rule.
    pub(super) spread: Vec<Term>,
}

/// What the pods that are there rule out.
#[derive(Clone, Debug, Default)]
pub(super) struct Ruled {
    /// By label: domains in which it must not be.
    off: BTreeMap<String, BTreeSet<String>>,
    /// By label: domains in which it must be, where such pods are at all.
    near: BTreeMap<String, BTreeSet<String>>,
    /// Nodes whose ports it asks for are taken.
    taken: BTreeSet<usize>,
}

/// What one pod more changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The node that it is on is ruled out.
    Node,
    /// Other nodes are, too.
    Domain,
    /// Nodes may come into question that did not.
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

    /// The pod as others see it.
    pub(super) fn me(&self) -> &Arc<Neighbour> {
        &self.me
    }

    /// Whether it minds nobody by itself: only those matter that mind others.
    pub(super) fn minds_nobody(&self) -> bool {
        self.near.is_empty() && self.spread.is_empty() && self.me.apart.is_empty() && self.me.ports.is_empty()
    }

    /// A pod has to fulfil all terms to be one of those to be near.
    fn is_near(&self, other: &Neighbour, budget: &mut Budget) -> bool {
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
        budget: &mut Budget,
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
