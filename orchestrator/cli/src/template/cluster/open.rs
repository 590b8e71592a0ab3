//! Which nodes would take a fleet's pods, and how many there are with the same GPUs. Pure.

use std::collections::BTreeMap;

use rayfleet_core::capacity::{NodeRoom, Taint};
use rayfleet_templates::Catalogue;
use rayfleet_templates::nodes::{Kind, kinds};

use crate::template::site::{Site, Toleration};

/// Why a node takes no new pod of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::template) enum Closed {
    /// Its kubelet does not say that it is ready.
    NotReady,
    /// Cordoned.
    Cordoned,
    /// Without a label of the site's nodeSelector.
    NotSelected,
    /// With a taint that nothing tolerates.
    Tainted,
}

impl Closed {
    /// As a table says it.
    pub(in crate::template) fn text(self) -> &'static str {
        match self {
            Self::NotReady => "not ready",
            Self::Cordoned => "cordoned",
            Self::NotSelected => "not of the nodeSelector",
            Self::Tainted => "tainted",
        }
    }
}

/// GPUs of one node.
pub(in crate::template) type NodeKind = (Kind, Option<Closed>);

/// Nodes with the same GPUs, as many on each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::template) struct Pool {
    pub(in crate::template) kind: Kind,
    /// Nodes that take pods.
    pub(in crate::template) open: u32,
    /// Those that do not, by the reason.
    pub(in crate::template) closed: BTreeMap<Closed, u32>,
}

/// The GPUs of a node, and whether it takes pods that ask for them.
pub(super) fn kinds_of(node: &NodeRoom, catalogue: &Catalogue, site: &Site) -> Vec<NodeKind> {
    let allocatable = |resource: &str| {
        let milli = node.shares.get(resource).map_or(0, |share| share.allocatable);
        u32::try_from(milli / 1000).unwrap_or(0)
    };
    let found = kinds(catalogue, &node.labels, allocatable).into_iter();
    found
        .map(|kind| (closed(node, site, kind.maker.resource()), kind))
        .map(|(why, kind)| (kind, why))
        .collect()
}

/// Equal ones together, those that are most nodes first.
pub(in crate::template) fn pools(nodes: Vec<NodeKind>) -> Vec<Pool> {
    let mut found: BTreeMap<Kind, (u32, BTreeMap<Closed, u32>)> = BTreeMap::new();
    for (kind, why) in nodes {
        let (open, closed) = found.entry(kind).or_default();
        let count = why.map_or(open, |why| closed.entry(why).or_default());
        *count = count.saturating_add(1);
    }
    let mut pools: Vec<Pool> =
        found.into_iter().map(|(kind, (open, closed))| Pool { kind, open, closed }).collect();
    pools.sort_by_key(|pool| std::cmp::Reverse(pool.open));
    pools
}

fn closed(node: &NodeRoom, site: &Site, resource: &str) -> Option<Closed> {
    let tolerated = |taint: &Taint| {
        // As every manifest has it.
        (taint.key == resource && taint.effect == "NoSchedule")
            || site.tolerations.iter().any(|found| tolerates(found, taint))
    };
    let mut keeps_off = node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    let mut selector = site.node_selector.iter();
    if !node.ready {
        Some(Closed::NotReady)
    } else if node.unschedulable {
        Some(Closed::Cordoned)
    } else if !selector.all(|(key, value)| node.labels.get(key) == Some(value)) {
        Some(Closed::NotSelected)
    } else if !keeps_off.all(tolerated) {
        Some(Closed::Tainted)
    } else {
        None
    }
}

/// As the scheduler has it (`ToleratesTaint` in `k8s.io/component-helpers`): an empty key with Exists tolerates all.
fn tolerates(found: &Toleration, taint: &Taint) -> bool {
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    let (key, effect) = (said(&found.key), said(&found.effect));
    let exists = found.operator.as_deref() == Some("Exists");
    (effect.is_empty() || effect == taint.effect)
        && (key.is_empty() || key == taint.key)
        && (exists || said(&found.value) == taint.value)
}
