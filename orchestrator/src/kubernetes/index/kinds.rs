//! What each kind of object does to the index, and which fleets it concerns.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ResourceQuota, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::DynamicObject;
use kube::{Resource, ResourceExt};
use rayfleet_api::{GroupName, NodeName, PodName, RayClusterFleet, names};

use super::{Held, Indexed, Kind, Store};
use crate::clock;
use crate::kubernetes::endpoints::Slice;
use crate::kubernetes::nodes::Node;
use crate::kubernetes::objects::{controller, is_fleet, version};
use crate::kubernetes::pod_events;
use crate::kubernetes::pods::{Member, Pod};
use crate::kubernetes::{GroupKey, Key, PodKey};

/// Version of an object that is kept in Kubernetes' own form.
fn version_of<K: Resource>(object: &K) -> u64 {
    version(object.meta().resource_version.as_deref())
}

/// How a kind is found in the field that keeps it by its name, and at which version it is there. One in Kubernetes' own form says both
/// itself.
macro_rules! kept {
    ($field:ident, $name:ty, $version:expr) => {
        type Name = $name;
        fn known(key: &Key<$name>, store: &Store) -> Option<u64> {
            store.$field.get(key).map($version)
        }
        fn keys(store: &Store) -> Vec<Key<$name>> {
            store.$field.keys().cloned().collect()
        }
    };
    ($field:ident) => {
        kept!($field, String, |object| version_of(&**object));
        fn key(&self) -> Key {
            Key::of(self)
        }
        fn version(&self) -> u64 {
            version_of(self)
        }
    };
}

impl Indexed for RayClusterFleet {
    const KIND: Kind = Kind::Fleet;
    /// A fleet may be deleted and made again unseen, and its predecessor's ledger be the newer object.
    const RISES: bool = false;
    kept!(fleets);
    fn apply(mut self, store: &mut Store) -> Vec<Key> {
        let key = self.key();
        let before = store.fleets.get(&key).filter(|before| before.metadata.uid == self.metadata.uid);
        // Its status changes often, its template hardly ever, and that is kept once.
        if let Some(before) = before.filter(|before| before.spec.template.spec == self.spec.template.spec) {
            self.spec.template.spec = before.spec.template.spec.clone();
        }
        let before = before.map(|before| version_of(&**before));
        // An own write is entered at once; the watch delivers it again, and may deliver older states before it. Neither tells anything.
        let is_new = before.is_none_or(|before| before == 0 || before < self.version());
        if before.is_none_or(|before| before <= self.version()) {
            store.fleets.insert(key.clone(), Arc::new(self));
        }
        if is_new { vec![key] } else { Vec::new() }
    }
    fn remove(key: &Key, store: &mut Store) -> Vec<Key> {
        store.fleets.remove(key);
        vec![key.clone()]
    }
}

/// The fleet that controls an object.
fn owner<K: Resource>(object: &K) -> Option<&OwnerReference> {
    controller(object.meta().owner_references.as_deref().unwrap_or_default())
}

fn fleet_of<K: Resource>(key: &Key, object: &K) -> Vec<Key> {
    let labels = object.meta().labels.as_ref();
    let labelled = labels.and_then(|labels| labels.get(names::LABEL_FLEET));
    let fleet = owner(object).map(|fleet| &fleet.name).or(labelled);
    fleet.map(|fleet| key.sibling(fleet)).into_iter().collect()
}

/// Kinds that are kept as they are.
macro_rules! owned {
    ($kind:ty, $variant:ident, $field:ident, $kept:expr) => {
        impl Indexed for $kind {
            const KIND: Kind = Kind::$variant;
            kept!($field);
            fn apply(self, store: &mut Store) -> Vec<Key> {
                let key = self.key();
                let fleets = fleet_of(&key, &self);
                store.$field.insert(key, $kept(self));
                fleets
            }
            fn remove(key: &Key, store: &mut Store) -> Vec<Key> {
                let gone = store.$field.remove(key);
                gone.map(|gone| fleet_of(key, &*gone)).unwrap_or_default()
            }
        }
    };
}

owned!(Service, Service, services, Arc::new);
owned!(ControllerRevision, Revision, revisions, std::convert::identity);
owned!(PodDisruptionBudget, Budget, budgets, Arc::new);

/// The fleets of a pod: of the RayCluster that controls it, and, while nobody knows that, the one that its labels name.
pub(super) fn fleets_of_pod(store: &Store, key: &PodKey, member: Option<&Member>) -> Vec<Key> {
    let Some(member) = member else { return Vec::new() };
    let cluster =
        member.cluster.as_ref().and_then(|cluster| store.members.cluster(&key.namespace, &cluster.uid));
    let fleet = cluster.and_then(|cluster| store.fleet_of(cluster));
    fleet.or_else(|| member.fleet.as_ref().map(|fleet| key.sibling(fleet))).into_iter().collect()
}

impl Store {
    /// Takes a pod out of all that is kept by pods. Gives what it was and whether it took room.
    fn remove_pod(&mut self, key: &PodKey) -> Option<(Option<Box<Member>>, bool)> {
        let held = self.pods.remove(key)?;
        Arc::make_mut(&mut self.tally).remove(&key.to_string(), &held.claim);
        if let Some(member) = &held.member {
            self.members.remove_pod(key, member);
        }
        Some((held.member, held.claim.takes_room()))
    }
}

impl Indexed for Pod {
    const KIND: Kind = Kind::Pod;
    kept!(pods, PodName, |pod| pod.version);
    fn key(&self) -> PodKey {
        self.key.clone()
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn apply(self, store: &mut Store) -> Vec<Key> {
        let Self { key, version, mut claim, mut member } = self;
        let before = store.remove_pod(&key);
        if let Some((Some(before), _)) = &before
            && let Some(member) = &mut member
        {
            member.follow(before, clock::now());
        }
        let gave_room = before.is_some_and(|(_, took_room)| took_room) && !claim.takes_room();
        store.alike.share(&mut claim);
        Arc::make_mut(&mut store.tally).add(&key.to_string(), &claim);
        if let Some(member) = &member {
            store.members.add_pod(&key, member);
        }
        let mut fleets = fleets_of_pod(store, &key, member.as_deref());
        store.pods.insert(key, Held { version, claim, member });
        if gave_room {
            fleets.extend(waiting_for_room(store));
        }
        fleets
    }
    fn remove(key: &PodKey, store: &mut Store) -> Vec<Key> {
        let Some((member, took_room)) = store.remove_pod(key) else { return Vec::new() };
        pod_events::forget(store, key);
        let mut fleets = fleets_of_pod(store, key, member.as_deref());
        if took_room {
            fleets.extend(waiting_for_room(store));
        }
        fleets
    }
}

/// Fleets whose rollout goes on when a node has room, whoever made it.
fn waiting_for_room(store: &Store) -> Vec<Key> {
    let waits = |fleet: &RayClusterFleet| {
        let conditions = fleet.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|c| c.type_ == "Stalled" && c.status == "True" && c.reason == "NoRoom")
    };
    store.fleets.iter().filter(|(_, fleet)| waits(fleet)).map(|(key, _)| key.clone()).collect()
}

impl Indexed for DynamicObject {
    const KIND: Kind = Kind::Cluster;
    kept!(clusters, GroupName, |cluster| version_of(&**cluster));
    fn key(&self) -> GroupKey {
        Key::new(self.namespace().unwrap_or_default(), self.name_any())
    }
    fn version(&self) -> u64 {
        version_of(self)
    }
    fn apply(self, store: &mut Store) -> Vec<Key> {
        let key = self.key();
        let mut fleets = take_out(&key, store);
        store.members.add_cluster(&key, &self.uid().unwrap_or_default());
        fleets.extend(fleet_of_cluster(&key, &self));
        store.clusters.insert(key, self);
        fleets.dedup();
        fleets
    }
    fn remove(key: &GroupKey, store: &mut Store) -> Vec<Key> {
        store.warnings.remove(key);
        take_out(key, store)
    }
}

/// Takes a RayCluster out of all that is kept by RayClusters; gives its fleet.
fn take_out(key: &GroupKey, store: &mut Store) -> Vec<Key> {
    let Some(gone) = store.clusters.remove(key) else { return Vec::new() };
    store.members.remove_cluster(key, &gone.uid().unwrap_or_default());
    fleet_of_cluster(key, &gone).into_iter().collect()
}

/// The fleet of a RayCluster: the one that controls it, else the one that its label names.
pub(super) fn fleet_of_cluster(key: &GroupKey, cluster: &DynamicObject) -> Option<Key> {
    let owner = owner(cluster).filter(|owner| is_fleet(owner)).map(|fleet| &fleet.name);
    owner.or(cluster.labels().get(names::LABEL_FLEET)).map(|fleet| key.sibling(fleet))
}

impl Indexed for Node {
    const KIND: Kind = Kind::Node;
    type Name = NodeName;
    fn key(&self) -> Key<NodeName> {
        Key::new("", self.room.name.clone())
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn apply(mut self, store: &mut Store) -> Vec<Key> {
        let name = self.room.name.clone();
        // Kubelets report every few seconds; only what matters for capacity is a reason to look.
        let same = |before: &Self| (before.lost, &before.room) == (self.lost, &self.room);
        let is_same = store.nodes.get(&name).is_some_and(same);
        match store.nodes.get(&name).filter(|_| is_same) {
            // What is the same is there once: the tally holds it too.
            Some(before) => self.room = before.room.clone(),
            None => Arc::make_mut(&mut store.tally).set_node(self.room.clone()),
        }
        store.nodes.insert(name, self);
        if is_same { Vec::new() } else { store.fleets.keys().cloned().collect() }
    }
    fn remove(key: &Key<NodeName>, store: &mut Store) -> Vec<Key> {
        store.nodes.remove(&key.name);
        Arc::make_mut(&mut store.tally).remove_node(&key.name);
        store.fleets.keys().cloned().collect()
    }
    fn known(key: &Key<NodeName>, store: &Store) -> Option<u64> {
        store.nodes.get(&key.name).map(|node| node.version)
    }
    fn keys(store: &Store) -> Vec<Key<NodeName>> {
        store.nodes.keys().map(|name| Key::new("", name.clone())).collect()
    }
}

impl Indexed for ResourceQuota {
    const KIND: Kind = Kind::Quota;
    kept!(quotas);
    fn apply(self, store: &mut Store) -> Vec<Key> {
        store.quotas.insert(self.key(), Arc::new(self));
        // What is used changes with every pod; it only matters where it is waited for.
        waiting_for_room(store)
    }
    fn remove(key: &Key, store: &mut Store) -> Vec<Key> {
        store.quotas.remove(key);
        waiting_for_room(store)
    }
}

impl Store {
    /// What a slice says now, in the place of what it said before; gives the fleets of the pods of which it says something else.
    fn list_endpoints(&mut self, key: &Key, after: Option<(u64, super::Listed)>) -> Vec<Key> {
        let (_, before) = self.slices.remove(key).unwrap_or_default();
        let (_, now) = after.clone().unwrap_or_default();
        let concerned: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let mut fleets = BTreeSet::new();
        for uid in concerned.into_iter().filter(|uid| before.get(*uid) != now.get(*uid)) {
            let said = self.endpoints.entry(uid.clone()).or_default();
            match now.get(uid) {
                Some(ready) => said.insert(key.clone(), *ready),
                None => said.remove(key),
            };
            if said.is_empty() {
                self.endpoints.remove(uid);
            }
            let pod = self.members.pod(uid).cloned();
            fleets.extend(pod.into_iter().flat_map(|pod| fleets_of_pod(self, &pod, self.member(&pod))));
        }
        self.slices.extend(after.map(|after| (key.clone(), after)));
        fleets.into_iter().collect()
    }
}

impl Indexed for Slice {
    const KIND: Kind = Kind::Slice;
    kept!(slices, String, |(version, _)| *version);
    fn key(&self) -> Key {
        self.key.clone()
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn apply(self, store: &mut Store) -> Vec<Key> {
        store.list_endpoints(&self.key, Some((self.version, self.listed)))
    }
    fn remove(key: &Key, store: &mut Store) -> Vec<Key> {
        store.list_endpoints(key, None)
    }
}

/// A warning event about a RayCluster. KubeRay answers an invalid spec with nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) cluster: GroupKey,
    /// UID of the RayCluster; empty if the event does not tell.
    pub(crate) uid: String,
    pub(crate) text: String,
}

impl Indexed for Warning {
    const KIND: Kind = Kind::Warning;
    kept!(warnings, GroupName, |_| 0);
    fn key(&self) -> GroupKey {
        self.cluster.clone()
    }
    fn version(&self) -> u64 {
        0
    }
    fn apply(self, store: &mut Store) -> Vec<Key> {
        let fleet = store.fleet_of(&self.cluster);
        store.warnings.insert(self.cluster.clone(), self);
        fleet.into_iter().collect()
    }
    fn remove(key: &GroupKey, store: &mut Store) -> Vec<Key> {
        store.warnings.remove(key);
        Vec::new()
    }
}
