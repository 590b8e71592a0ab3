//! What the pods of a group that were given a node so far mean for the next one: by the domains that they are in, not pod by pod, so that
//! a look at a node costs as much for the last pod of a group as for the first.

use std::collections::{BTreeSet, HashMap};

use super::budget::Budget;
use super::kind::Kind;
use super::node_room::NodeRoom;
use super::rules::domain;

/// Pods of a group in one domain.
#[derive(Clone, Copy, Debug, Default)]
struct Inside {
    pods: usize,
    /// Those of them that no other one may be beside.
    alone: usize,
}

/// The domains that the pods of a group are in.
#[derive(Debug)]
pub(super) struct Domains<'s> {
    /// Labels in which some of the group's pods have to be apart from the others.
    apart: Vec<&'s str>,
    /// By label and domain.
    inside: HashMap<(&'s str, &'s str), Inside>,
    /// By label in which pods have to be together: where they are, and how many.
    together: HashMap<&'s str, (&'s str, usize)>,
    /// By node: kinds of pods that hold ports of the host.
    ports: HashMap<usize, Vec<&'s Kind>>,
}

impl<'s> Domains<'s> {
    /// Of a group of these kinds of pods, of which none has a node yet.
    pub(super) fn of(kinds: impl Iterator<Item = &'s Kind>) -> Self {
        let apart: BTreeSet<&str> = kinds.flat_map(|kind| &kind.rules.apart).map(String::as_str).collect();
        Self {
            apart: apart.into_iter().collect(),
            inside: HashMap::new(),
            together: HashMap::new(),
            ports: HashMap::new(),
        }
    }

    /// Whether a pod may be on a node beside those that have one.
    pub(super) fn lets(&self, kind: &Kind, (at, node): (usize, &'s NodeRoom), budget: &Budget) -> bool {
        budget.spend(self.apart.len() + kind.rules.together.len());
        let clash = |key: &&str| {
            let inside = domain(node, key).and_then(|name| self.inside.get(&(*key, name)));
            inside.is_some_and(|inside| {
                inside.alone > 0 || (inside.pods > 0 && kind.rules.apart.contains(*key))
            })
        };
        if self.apart.iter().any(clash) {
            return false;
        }
        let with = |key: &String| {
            self.together.get(key.as_str()).is_none_or(|(name, _)| domain(node, key) == Some(name))
        };
        if !kind.rules.together.iter().all(with) {
            return false;
        }
        let mut beside = self.ports.get(&at).into_iter().flatten();
        !beside.any(|other| kind.beside.me().collides(other.beside.me(), budget))
    }

    /// A pod is given a node.
    pub(super) fn enter(&mut self, kind: &'s Kind, (at, node): (usize, &'s NodeRoom), budget: &Budget) {
        budget.spend(self.apart.len() + kind.rules.together.len());
        for key in &self.apart {
            let Some(name) = domain(node, key) else { continue };
            let inside = self.inside.entry((*key, name)).or_default();
            inside.pods += 1;
            inside.alone += usize::from(kind.rules.apart.contains(*key));
        }
        for key in &kind.rules.together {
            if let Some(name) = domain(node, key) {
                self.together.entry(key).or_insert((name, 0)).1 += 1;
            }
        }
        if kind.beside.me().holds_ports() {
            self.ports.entry(at).or_default().push(kind);
        }
    }

    /// The pod that was given its node last has it no more.
    pub(super) fn leave(&mut self, kind: &Kind, (at, node): (usize, &'s NodeRoom), budget: &Budget) {
        budget.spend(self.apart.len() + kind.rules.together.len());
        for key in &self.apart {
            let inside = domain(node, key).and_then(|name| self.inside.get_mut(&(*key, name)));
            if let Some(inside) = inside {
                inside.pods -= 1;
                inside.alone -= usize::from(kind.rules.apart.contains(*key));
            }
        }
        for key in &kind.rules.together {
            if let Some((_, pods)) = self.together.get_mut(key.as_str()) {
                *pods -= 1;
                if *pods == 0 {
                    self.together.remove(key.as_str());
                }
            }
        }
        if kind.beside.me().holds_ports()
            && let Some(kinds) = self.ports.get_mut(&at)
        {
            kinds.pop();
        }
    }
}
