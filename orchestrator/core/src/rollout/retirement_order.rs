//! Which of several groups is retired first. The same order for replacing and for scaling down.

use std::cell::{OnceCell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use rayfleet_api::status::GroupStatus;
use rayfleet_api::{GroupName, NodeName, ValidFleet};

use super::classify::{counts_as_serving, revision_match};
use crate::capacity::{NodeRoom, Source};
use crate::observed::ObservedGroup;

/// The node label of the zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// How well the groups of a fleet are placed. All other parts of the order are in the group's own entry.
/// Computed on demand, because an idle fleet does not need it.
#[derive(Debug)]
pub(super) struct RetirementOrder<'a> {
    capacity: Option<&'a dyn Source>,
    observed: &'a BTreeMap<GroupName, ObservedGroup>,
    nodes: OnceCell<HashMap<&'a NodeName, &'a NodeRoom>>,
    /// By group; goals do not change it.
    placed: RefCell<BTreeMap<GroupName, PlacementCost>>,
}

/// How well a group is placed; less is better, and the first field counts most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct PlacementCost {
    /// Nodes that accept no pods any more: cordoned, not ready or gone.
    closing: usize,
    /// Zones that it spans: its ranks communicate across them.
    zones: usize,
    /// Nodes that it spans.
    nodes: usize,
}

impl<'a> RetirementOrder<'a> {
    pub(super) fn new(
        capacity: Option<&'a dyn Source>,
        observed: &'a BTreeMap<GroupName, ObservedGroup>,
    ) -> Self {
        Self { capacity, observed, nodes: OnceCell::new(), placed: RefCell::default() }
    }

    /// Groups that do not serve go first, then by: the oldest revision, the lowest deletion cost, the worst
    /// placement, slots above `replicas`, the least load, the highest slot.
    pub(super) fn order(&self, fleet: &ValidFleet, group: &GroupStatus, now: Timestamp) -> impl Ord + use<> {
        (
            counts_as_serving(fleet, group, now),
            revision_match(fleet, group),
            self.cost(group),
            Reverse(self.placed(group)),
            // Slots are assigned from the lowest, so this one was for a surge or is above `replicas` now.
            group.slot < fleet.replicas,
            group.in_flight.unwrap_or_default(),
            Reverse(group.slot),
        )
    }

    fn cost(&self, group: &GroupStatus) -> i32 {
        let cluster = self.observed.get(&group.name).and_then(|observed| observed.cluster.as_ref());
        cluster.map_or(0, |cluster| cluster.deletion_cost)
    }

    fn placed(&self, group: &GroupStatus) -> PlacementCost {
        if let Some(known) = self.placed.borrow().get(&group.name) {
            return *known;
        }
        let placed = placed(group, self.nodes());
        self.placed.borrow_mut().insert(group.name.clone(), placed);
        placed
    }

    fn nodes(&self) -> &HashMap<&'a NodeName, &'a NodeRoom> {
        self.nodes.get_or_init(|| {
            let nodes = self.capacity.iter().flat_map(|source| &source.capacity().nodes);
            nodes.map(|node| (&node.name, node)).collect()
        })
    }
}

fn placed(group: &GroupStatus, nodes: &HashMap<&NodeName, &NodeRoom>) -> PlacementCost {
    let names: BTreeSet<&NodeName> = group.nodes.iter().collect();
    let known: Vec<&NodeRoom> = names.iter().filter_map(|name| nodes.get(name).copied()).collect();
    let open = known.iter().filter(|node| node.ready && !node.unschedulable).count();
    let zones: BTreeSet<_> = known.iter().filter_map(|node| node.labels.get(ZONE)).collect();
    PlacementCost { closing: names.len() - open, zones: zones.len(), nodes: names.len() }
}
