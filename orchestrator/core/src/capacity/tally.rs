//! The room on all nodes, updated incrementally: each change of a pod or node only changes its own part.
//! Cheap to clone: a decision takes a snapshot, which shares most of its memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::ResourceQuota;
use rayfleet_api::{NodeName, ValidFleet};
use smol_str::SmolStr;

use super::neighbours::Crowd;
use super::node_room::NodeRoom;
use super::pods::{Claim, Waiting, queue};
use super::quota::Quota;
use super::source::{Capacity, PendingPod};

/// Nodes, and the claims of the pods of all namespaces.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    places: BTreeMap<NodeName, Arc<Place>>,
    /// Pods that wait for a node, by name.
    waiting: BTreeMap<String, Waiting>,
}

/// The fleet for which room is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Viewer {
    namespace: String,
    /// Schedulers of its pods. Pods in the queue of another scheduler take no room from them.
    schedulers: BTreeSet<SmolStr>,
}

impl Viewer {
    /// A fleet.
    pub fn of(fleet: &ValidFleet) -> Self {
        let named = fleet.shape.roles.iter().map(|role| queue(role.spec["schedulerName"].as_str()));
        Self { namespace: fleet.namespace.clone(), schedulers: named.collect() }
    }

    fn shares_queue(&self, scheduler: &SmolStr) -> bool {
        self.schedulers.contains(scheduler) || (self.schedulers.is_empty() && scheduler.is_empty())
    }
}

/// A node, or only its name: pods may be known before their node.
#[derive(Clone, Debug, Default)]
struct Place {
    node: Option<Arc<NodeRoom>>,
    /// Sum of the requests of its pods. Exact, so that each can be subtracted again.
    taken: BTreeMap<SmolStr, i128>,
    pods: Crowd,
}

impl Tally {
    /// Adds or updates a node.
    pub fn set_node(&mut self, room: Arc<NodeRoom>) {
        let place = self.places.entry(room.name.clone()).or_default();
        Arc::make_mut(place).node = Some(room);
    }

    /// Removes a node. Its pods may still exist.
    pub fn remove_node(&mut self, name: &NodeName) {
        self.at(name, |place| place.node = None);
    }

    /// Adds a pod. Its earlier claim must be removed first.
    pub fn add(&mut self, pod: &str, claim: &Claim) {
        match claim {
            Claim::Nothing => {}
            Claim::On(node, asked, neighbour) => {
                let place = Arc::make_mut(self.places.entry(node.clone()).or_default());
                place.pods.add(neighbour, 1);
                for (resource, amount) in &**asked {
                    *place.taken.entry(resource.clone()).or_default() += *amount;
                }
            }
            Claim::Waiting(waiting) => {
                self.waiting.insert(pod.to_owned(), waiting.clone());
            }
        }
    }

    /// Removes a pod, or its old claim.
    pub fn remove(&mut self, pod: &str, claim: &Claim) {
        match claim {
            Claim::Nothing => {}
            Claim::On(node, asked, neighbour) => self.at(node, |place| {
                place.pods.remove(neighbour);
                for (resource, amount) in &**asked {
                    if let Some(taken) = place.taken.get_mut(resource) {
                        *taken -= *amount;
                    }
                }
                place.taken.retain(|_, amount| *amount != 0);
            }),
            Claim::Waiting(_) => {
                self.waiting.remove(pod);
            }
        }
    }

    /// Changes a node's entry, and removes it when it is empty.
    fn at(&mut self, name: &NodeName, change: impl FnOnce(&mut Place)) {
        let Some(place) = self.places.get_mut(name) else { return };
        let place = Arc::make_mut(place);
        change(place);
        if place.node.is_none() && place.pods.is_empty() {
            self.places.remove(name);
        }
    }

    /// The capacity for a fleet, with the quotas of its namespace.
    pub fn capacity<'q>(
        &self,
        viewer: &Viewer,
        quotas: impl IntoIterator<Item = &'q ResourceQuota>,
    ) -> Capacity {
        let nodes = self.places.values().filter_map(|place| {
            let mut room = NodeRoom::clone(place.node.as_deref()?);
            for (resource, amount) in &place.taken {
                room.shares.entry(resource.clone()).or_default().requested = *amount;
            }
            room.pods.clone_from(&place.pods);
            Some(room)
        });
        let pending = self.waiting.iter().filter(|(_, waiting)| viewer.shares_queue(&waiting.scheduler));
        let pending = pending.map(|(name, waiting)| PendingPod {
            name: name.clone(),
            spec: waiting.spec.clone(),
            pod: waiting.pod.clone(),
        });
        Capacity {
            nodes: nodes.collect(),
            pending: pending.collect(),
            quotas: quotas.into_iter().filter_map(Quota::of).collect(),
            namespace: viewer.namespace.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capacity::{Asked, Labels, Neighbour, Share};

    const NODES: [&str; 3] = ["a", "b", "c"];
    const PODS: [&str; 4] = ["n/p", "n/q", "m/p", "m/q"];

    #[derive(Clone, Debug)]
    enum Change {
        Node(usize, i128),
        NoNode(usize),
        Pod(usize, Claim),
        NoPod(usize),
    }

    fn claim() -> impl Strategy<Value = Claim> {
        let asked = |gpus: i128, pods: bool| -> Asked {
            let mut asked = vec![(SmolStr::new("gpu"), gpus)];
            asked.extend(pods.then(|| (SmolStr::new("pods"), 1)));
            asked.into()
        };
        prop_oneof![
            Just(Claim::Nothing),
            (0..NODES.len(), 0..9_i128, any::<bool>()).prop_map(move |(node, gpus, pods)| Claim::On(
                NODES[node].into(),
                asked(gpus, pods),
                neighbour(gpus)
            )),
            (0..9_u8).prop_map(|gpus| Claim::Waiting(Waiting {
                spec: Arc::new(gpus.into()),
                ..Waiting::default()
            })),
        ]
    }

    /// Some are identical.
    fn neighbour(number: i128) -> Arc<Neighbour> {
        let app = (number % 3).to_string();
        Arc::new(Neighbour::of("n", Labels::of([("app", app.as_str())]), &serde_json::Value::Null))
    }

    fn step() -> impl Strategy<Value = Change> {
        prop_oneof![
            (0..NODES.len(), 0..9_i128).prop_map(|(node, gpus)| Change::Node(node, gpus)),
            (0..NODES.len()).prop_map(Change::NoNode),
            (0..PODS.len(), claim()).prop_map(|(pod, claim)| Change::Pod(pod, claim)),
            (0..PODS.len()).prop_map(Change::NoPod),
        ]
    }

    fn room(node: usize, allocatable: i128) -> Arc<NodeRoom> {
        let shares = BTreeMap::from([(SmolStr::new("gpu"), Share { allocatable, requested: 0 })]);
        Arc::new(NodeRoom { name: NODES[node].into(), shares, ..NodeRoom::default() })
    }

    /// The same, computed from scratch.
    fn again(nodes: &BTreeMap<usize, i128>, pods: &BTreeMap<usize, Claim>) -> Capacity {
        let mut tally = Tally::default();
        for (pod, claim) in pods {
            tally.add(PODS[*pod], claim);
        }
        for (node, gpus) in nodes {
            tally.set_node(room(*node, *gpus));
        }
        tally.capacity(&Viewer::default(), [])
    }

    proptest! {
        /// After any sequence of changes the incremental result equals the one computed from scratch.
        #[test]
        fn incremental_updates_equal_a_full_sum(steps in prop::collection::vec(step(), 0..40)) {
            let (mut nodes, mut pods) = (BTreeMap::new(), BTreeMap::new());
            let mut tally = Tally::default();
            for step in steps {
                match step {
                    Change::Node(node, gpus) => {
                        nodes.insert(node, gpus);
                        tally.set_node(room(node, gpus));
                    }
                    Change::NoNode(node) => {
                        nodes.remove(&node);
                        tally.remove_node(&NODES[node].into());
                    }
                    Change::Pod(pod, claim) => {
                        if let Some(before) = pods.insert(pod, claim.clone()) {
                            tally.remove(PODS[pod], &before);
                        }
                        tally.add(PODS[pod], &claim);
                    }
                    Change::NoPod(pod) => {
                        if let Some(before) = pods.remove(&pod) {
                            tally.remove(PODS[pod], &before);
                        }
                    }
                }
            }
            let mut kept = tally.capacity(&Viewer::default(), []);
            let mut expected = again(&nodes, &pods);
            // A resource without requests may be absent or 0.
            for room in kept.nodes.iter_mut().chain(&mut expected.nodes) {
                room.shares.retain(|_, share| *share != Share::default());
            }
            prop_assert_eq!(kept, expected);
            for pod in pods {
                tally.remove(PODS[pod.0], &pod.1);
            }
            for node in NODES {
                tally.remove_node(&node.into());
            }
            prop_assert!(tally.places.is_empty() && tally.waiting.is_empty());
        }
    }
}
