//! What each kind of object does to the index, and which fleets it concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Event, Node, Pod, ResourceQuota, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::core::DynamicObject;
use rayfleet_api::{RayClusterFleet, names};
use rayfleet_core::capacity;

use super::{Indexed, Kind, Known};
use crate::cluster::{Key, endpoints};

/// A resource version as a number; they rise within one kind.
fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Indexed for RayClusterFleet {
    const KIND: Kind = Kind::Fleet;
    fn key(&self) -> Key {
        Key::of(self)
    }
    fn enter(self, known: &mut Known) -> Vec<Key> {
        let key = self.key();
        let newer = known.fleets.get(&key).is_none_or(|before| {
            before.metadata.uid != self.metadata.uid
                || version(before.metadata.resource_version.as_deref())
                    <= version(self.metadata.resource_version.as_deref())
        });
        // An own write is entered at once; the watch may deliver older states after it.
        if newer {
            known.fleets.insert(key.clone(), Arc::new(self));
        }
        vec![key]
    }
    fn leave(key: &Key, known: &mut Known) -> Vec<Key> {
        known.fleets.remove(key);
        vec![key.clone()]
    }
    fn has(key: &Key, known: &Known) -> bool {
        known.fleets.contains_key(key)
    }
    fn keys(known: &Known) -> Vec<Key> {
        known.fleets.keys().cloned().collect()
    }
}

fn labelled_fleet(key: &Key, labels: &BTreeMap<String, String>) -> Vec<Key> {
    labels.get(names::LABEL_FLEET).map(|fleet| key.sibling(fleet)).into_iter().collect()
}

/// Kinds that are kept as they are and carry their fleet's name as a label.
macro_rules! labelled {
    ($kind:ty, $variant:ident, $field:ident) => {
        impl Indexed for $kind {
            const KIND: Kind = Kind::$variant;
            fn key(&self) -> Key {
                Key::of(self)
            }
            fn enter(self, known: &mut Known) -> Vec<Key> {
                let key = self.key();
                let fleets = labelled_fleet(&key, self.labels());
                known.$field.insert(key, Arc::new(self));
                fleets
            }
            fn leave(key: &Key, known: &mut Known) -> Vec<Key> {
                let gone = known.$field.remove(key);
                gone.map(|gone| labelled_fleet(key, gone.labels())).unwrap_or_default()
            }
            fn has(key: &Key, known: &Known) -> bool {
                known.$field.contains_key(key)
            }
            fn keys(known: &Known) -> Vec<Key> {
                known.$field.keys().cloned().collect()
            }
        }
    };
}

labelled!(Service, Service, services);
labelled!(ControllerRevision, Revision, revisions);
labelled!(PodDisruptionBudget, Budget, budgets);

impl Indexed for Pod {
    const KIND: Kind = Kind::Pod;
    fn key(&self) -> Key {
        Key::of(self)
    }
    fn enter(self, known: &mut Known) -> Vec<Key> {
        let key = self.key();
        let mut fleets = labelled_fleet(&key, self.labels());
        let takes_room = capacity::takes_room(&self);
        let before = known.pods.insert(key, Arc::new(self));
        if !takes_room && before.is_some_and(|before| capacity::takes_room(&before)) {
            fleets.extend(waiting_for_room(known));
        }
        fleets
    }
    fn leave(key: &Key, known: &mut Known) -> Vec<Key> {
        let Some(gone) = known.pods.remove(key) else { return Vec::new() };
        let mut fleets = labelled_fleet(key, gone.labels());
        if capacity::takes_room(&gone) {
            fleets.extend(waiting_for_room(known));
        }
        fleets
    }
    fn has(key: &Key, known: &Known) -> bool {
        known.pods.contains_key(key)
    }
    fn keys(known: &Known) -> Vec<Key> {
        known.pods.keys().cloned().collect()
    }
}

/// Fleets whose rollout goes on when a node has room, whoever made it.
fn waiting_for_room(known: &Known) -> Vec<Key> {
    let waits = |fleet: &RayClusterFleet| {
        let conditions = fleet.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|c| c.type_ == "Stalled" && c.status == "True" && c.reason == "NoRoom")
    };
    known.fleets.iter().filter(|(_, fleet)| waits(fleet)).map(|(key, _)| key.clone()).collect()
}

impl Indexed for DynamicObject {
    const KIND: Kind = Kind::Cluster;
    fn key(&self) -> Key {
        Key::new(self.namespace().unwrap_or_default(), self.name_any())
    }
    fn enter(self, known: &mut Known) -> Vec<Key> {
        let key = self.key();
        let fleets = labelled_fleet(&key, self.labels());
        known.clusters.insert(key, Arc::new(self));
        fleets
    }
    fn leave(key: &Key, known: &mut Known) -> Vec<Key> {
        known.warnings.remove(key);
        let gone = known.clusters.remove(key);
        gone.map(|gone| labelled_fleet(key, gone.labels())).unwrap_or_default()
    }
    fn has(key: &Key, known: &Known) -> bool {
        known.clusters.contains_key(key)
    }
    fn keys(known: &Known) -> Vec<Key> {
        known.clusters.keys().cloned().collect()
    }
}

impl Indexed for Node {
    const KIND: Kind = Kind::Node;
    fn key(&self) -> Key {
        Key::of(self)
    }
    fn enter(self, known: &mut Known) -> Vec<Key> {
        let key = self.key();
        let room = |node: &Node| {
            let status = node.status.as_ref();
            let spec = node.spec.as_ref();
            (
                status.and_then(|status| status.allocatable.clone()),
                spec.map(|spec| (spec.unschedulable, spec.taints.clone())),
                node.metadata.labels.clone(),
                capacity::is_ready(node),
                capacity::is_lost(node),
            )
        };
        let before = known.nodes.insert(key.clone(), Arc::new(self));
        // Kubelets report every few seconds; only what matters for capacity is a reason to look.
        let after = known.nodes.get(&key);
        if before.as_deref().map(room) == after.map(|node| room(node)) {
            return Vec::new();
        }
        known.fleets.keys().cloned().collect()
    }
    fn leave(key: &Key, known: &mut Known) -> Vec<Key> {
        known.nodes.remove(key);
        known.fleets.keys().cloned().collect()
    }
    fn has(key: &Key, known: &Known) -> bool {
        known.nodes.contains_key(key)
    }
    fn keys(known: &Known) -> Vec<Key> {
        known.nodes.keys().cloned().collect()
    }
}

impl Indexed for ResourceQuota {
    const KIND: Kind = Kind::Quota;
    fn key(&self) -> Key {
        Key::of(self)
    }
    fn enter(self, known: &mut Known) -> Vec<Key> {
        known.quotas.insert(self.key(), Arc::new(self));
        // What is used changes with every pod; it only matters where it is waited for.
        waiting_for_room(known)
    }
    fn leave(key: &Key, known: &mut Known) -> Vec<Key> {
        known.quotas.remove(key);
        waiting_for_room(known)
    }
    fn has(key: &Key, known: &Known) -> bool {
        known.quotas.contains_key(key)
    }
    fn keys(known: &Known) -> Vec<Key> {
        known.quotas.keys().cloned().collect()
    }
}

impl Indexed for EndpointSlice {
    const KIND: Kind = Kind::Slice;
    fn key(&self) -> Key {
        Key::of(self)
    }
    fn enter(self, known: &mut Known) -> Vec<Key> {
        let key = self.key();
        let after = endpoints::listed(&self);
        let before = known.slices.insert(key.clone(), after.clone()).unwrap_or_default();
        let concerned: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed = concerned.into_iter().filter(|pod| before.get(*pod) != after.get(*pod));
        changed.filter_map(|pod| known.fleet_of_pod(&key.sibling(pod))).collect()
    }
    fn leave(key: &Key, known: &mut Known) -> Vec<Key> {
        let before = known.slices.remove(key).unwrap_or_default();
        before.keys().filter_map(|pod| known.fleet_of_pod(&key.sibling(pod))).collect()
    }
    fn has(key: &Key, known: &Known) -> bool {
        known.slices.contains_key(key)
    }
    fn keys(known: &Known) -> Vec<Key> {
        known.slices.keys().cloned().collect()
    }
}

/// A warning event about a RayCluster. KubeRay answers an invalid spec with nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Warning {
    cluster: Key,
    text: String,
}

impl Warning {
    /// The warning in an event, if it tells of an invalid RayCluster.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        let reason = event.reason.as_deref().filter(|reason| reason.starts_with("InvalidRayCluster"))?;
        let about = &event.involved_object;
        let cluster = Key::new(about.namespace.clone()?, about.name.clone()?);
        let message = event.message.as_deref().unwrap_or_default();
        Some(Self { cluster, text: format!("{reason}: {message}") })
    }
}

impl Indexed for Warning {
    const KIND: Kind = Kind::Warning;
    fn key(&self) -> Key {
        self.cluster.clone()
    }
    fn enter(self, known: &mut Known) -> Vec<Key> {
        let fleets =
            known.clusters.get(&self.cluster).map(|cluster| labelled_fleet(&self.cluster, cluster.labels()));
        known.warnings.insert(self.cluster, self.text);
        fleets.unwrap_or_default()
    }
    fn leave(key: &Key, known: &mut Known) -> Vec<Key> {
        known.warnings.remove(key);
        Vec::new()
    }
    fn has(key: &Key, known: &Known) -> bool {
        known.warnings.contains_key(key)
    }
    fn keys(known: &Known) -> Vec<Key> {
        known.warnings.keys().cloned().collect()
    }
}
