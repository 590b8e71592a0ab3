//! Nodes and their labels as a tree: nested domains with units, which a stage's tensor ranks never leave, as
//! leaves. Stages do not belong here.

use std::collections::HashMap;

use super::{Policy, RayNode};

/// A living node that may get ranks.
pub(super) struct Member<'a> {
    pub(super) node: &'a RayNode,
    /// To be used only if there is no other way.
    pub(super) avoided: bool,
    /// Its unit.
    pub(super) unit: usize,
}

/// What a stage's tensor ranks never leave: one node, or the nodes of one tensor domain.
pub(super) struct Unit<'a> {
    /// Its nodes, in order.
    pub(super) members: Vec<usize>,
    /// Its innermost domain.
    domain: usize,
    /// The tensor domain's value.
    pub(super) value: Option<&'a str>,
}

/// All nodes with the same values on the levels from here outwards; domain 0 is the whole cluster.
pub(super) struct Domain<'a> {
    /// Next one out; the cluster is its own parent.
    parent: usize,
    /// Index of its level in the policy, from the inside out; for the cluster the index after the last.
    pub(super) level: usize,
    /// Value of the label that defines it.
    pub(super) value: &'a str,
    /// Its direct items, in order of their first nodes.
    pub(super) items: Vec<Item>,
}

/// A direct item of a domain.
#[derive(Clone, Copy)]
pub(super) enum Item {
    Unit(usize),
    Domain(usize),
}

/// The tree. It does not depend on the order of the given nodes: the head comes first, the others are sorted
/// by name and id.
pub(super) struct Topology<'a> {
    pub(super) members: Vec<Member<'a>>,
    pub(super) units: Vec<Unit<'a>>,
    /// A domain is stored after the one that contains it.
    pub(super) domains: Vec<Domain<'a>>,
}

/// Index of the domain of the whole cluster.
pub(super) const CLUSTER: usize = 0;

impl<'a> Topology<'a> {
    pub(super) fn new(nodes: &'a [RayNode], policy: &Policy) -> Self {
        let mut usable: Vec<&RayNode> = nodes.iter().filter(|n| n.alive && !policy.excludes(n)).collect();
        usable.sort_unstable_by_key(|n| (!n.is_head, &n.name, &n.id));

        let cluster = Domain { parent: CLUSTER, level: policy.levels.len(), value: "", items: Vec::new() };
        let mut tree =
            Self { members: Vec::with_capacity(usable.len()), units: Vec::new(), domains: vec![cluster] };
        let mut known_domains: HashMap<(usize, usize, &str), usize> = HashMap::new();
        let mut known_units: HashMap<&str, usize> = HashMap::new();
        for node in usable {
            let value = policy.tensor_domain.as_ref().and_then(|label| node.labels.get(label));
            let value = value.map(String::as_str).filter(|value| !value.is_empty());
            let unit = value.and_then(|value| known_units.get(value)).copied().unwrap_or_else(|| {
                // A unit belongs to the domain of its first node, so other labels never split a tensor
                // domain.
                let domain =
                    policy.outer_levels().rev().fold(CLUSTER, |at, (level, of)| match of.value(node) {
                        Some(value) => *known_domains.entry((at, level, value)).or_insert_with(|| {
                            tree.add_domain(Domain { parent: at, level, value, items: Vec::new() })
                        }),
                        None => at,
                    });
                tree.add_unit(Unit { members: Vec::with_capacity(1), domain, value })
            });
            if let Some(value) = value {
                known_units.insert(value, unit);
            }
            tree.units[unit].members.push(tree.members.len());
            tree.members.push(Member { node, avoided: policy.avoids(node), unit });
        }
        tree
    }

    fn add_domain(&mut self, domain: Domain<'a>) -> usize {
        let id = self.domains.len();
        self.domains[domain.parent].items.push(Item::Domain(id));
        self.domains.push(domain);
        id
    }

    fn add_unit(&mut self, unit: Unit<'a>) -> usize {
        let id = self.units.len();
        self.domains[unit.domain].items.push(Item::Unit(id));
        self.units.push(unit);
        id
    }

    /// The innermost domain that contains both units.
    pub(super) fn common(&self, a: usize, b: usize) -> &Domain<'a> {
        let (mut a, mut b) = (self.units[a].domain, self.units[b].domain);
        while a != b {
            // The one with the higher index is not an ancestor of the other.
            if a > b { a = self.domains[a].parent } else { b = self.domains[b].parent }
        }
        &self.domains[a]
    }
}

impl Domain<'_> {
    /// Cost of a hop between two units with this innermost common domain: it doubles with every level.
    pub(super) fn hop(&self) -> i64 {
        1 << self.level.min(31)
    }
}
