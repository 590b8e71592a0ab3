//! Everything that the watches and the Ray agents know, in memory, by key. Synchronous: applying an
//! object marks the fleets it concerns in a queue: those whose budgets changed for the controller of these, all others for that of fleets.
//! It holds no client and decides nothing.

mod kinds;
mod members;
mod owned;
mod protected;
mod scope;
mod sets;
mod sink;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ResourceQuota, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DynamicObject;
use parking_lot::RwLock;
use rayfleet_api::{GroupName, NodeName, RayClusterFleet};
use rayfleet_core::capacity::{Alike, Claim, Tally};
use rayfleet_core::observed::ObservedRay;
use rayfleet_runtime::{Namespaces, Queue, Scope};

pub(crate) use self::kinds::Warning;
use self::members::Members;
pub(crate) use self::owned::Owned;
pub(crate) use self::protected::Protected;
use self::scope::Lists;
use super::endpoints::Listed;
use super::nodes::Node;
use super::pod_events::PodEvent;
use super::pods::Member;
use super::{GroupKey, Key, PodKey};

/// How often in a row, and for how long, something has to be refused, or the kind of RayClusters to be unknown, until it counts.
const OFTEN: u32 = 3;
const LONG: Duration = Duration::from_secs(30);

/// Whether KubeRay's CRD is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum KubeRay {
    /// Not known yet.
    #[default]
    Unknown,
    /// RayClusters can be listed.
    Installed,
    /// They cannot; the API server's words.
    Missing(String),
}

/// Which watches have delivered their first list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Fleets.
    Fleet,
    /// RayClusters.
    Cluster,
    /// Pods.
    Pod,
    /// Nodes.
    Node,
    /// ResourceQuotas.
    Quota,
    /// EndpointSlices.
    Slice,
    /// Services made here.
    Service,
    /// ControllerRevisions made here.
    Revision,
    /// KubeRay's warnings.
    Warning,
    /// `PodDisruptionBudgets` made here.
    Budget,
    /// Warnings about pods.
    PodEvent,
}

impl Kind {
    /// All kinds that must be there before anything is decided. Budgets and warnings about pods decide nothing.
    const ALL: [Self; 9] = [
        Self::Fleet,
        Self::Cluster,
        Self::Pod,
        Self::Node,
        Self::Quota,
        Self::Slice,
        Self::Service,
        Self::Revision,
        Self::Warning,
    ];
}

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// Fleets.
    pub fleets: BTreeMap<Key, Arc<RayClusterFleet>>,
    /// RayClusters that a fleet controls.
    pub clusters: Owned<DynamicObject, GroupName>,
    /// Pods of the whole cluster: those of fleets, and the others for what they take from the nodes.
    pods: BTreeMap<PodKey, Held>,
    /// Which pods belong to which RayCluster, and which RayClusters to which fleet.
    pub(super) members: Members,
    /// Nodes.
    pub nodes: BTreeMap<NodeName, Node>,
    /// The room on the nodes, and what all pods take of it.
    pub(super) tally: Arc<Tally>,
    /// What many pods have in common.
    alike: Alike,
    /// ResourceQuotas.
    pub quotas: BTreeMap<Key, Arc<ResourceQuota>>,
    /// Services made here.
    pub services: BTreeMap<Key, Arc<Service>>,
    /// `PodDisruptionBudgets` made here.
    pub budgets: BTreeMap<Key, Arc<PodDisruptionBudget>>,
    /// ControllerRevisions made here.
    pub revisions: Owned<ControllerRevision>,
    /// Pods listed by EndpointSlices, by slice, with the version of the slice.
    slices: BTreeMap<Key, (u64, Listed)>,
    /// What slices say of a pod, by its UID.
    endpoints: BTreeMap<String, BTreeMap<Key, bool>>,
    /// KubeRay's last warning about a RayCluster, by RayCluster.
    pub warnings: BTreeMap<GroupKey, Warning>,
    /// What events say of pods that do not start.
    pub(super) troubles: BTreeMap<Key, PodEvent>,
    /// What each group's dashboard said last, by RayCluster.
    pub ray: BTreeMap<GroupKey, ObservedRay>,
    /// Groups that are to be held, by fleet.
    pub protected: BTreeMap<Key, Protected>,
    /// Whether KubeRay is there.
    pub kuberay: KubeRay,
    /// Since when, and how often, the kind of RayClusters was not known.
    absent: Option<(Instant, u32)>,
    /// What is listed, and what came of it.
    lists: Lists,
    /// Objects made here since the last list of their kind was asked for: it may not have them yet.
    made: BTreeSet<(Kind, Key)>,
    /// Objects changed here since then: the list may have them as they were before.
    changed: BTreeSet<(Kind, Key)>,
}

/// What is kept of a pod.
#[derive(Debug)]
struct Held {
    version: u64,
    claim: Claim,
    member: Option<Box<Member>>,
}

impl Store {
    /// Whether everything that concerns fleets of a namespace has been listed once.
    pub(crate) fn is_synced(&self, namespace: &str) -> bool {
        Kind::ALL.into_iter().all(|kind| self.may_lack(kind) || self.lists.has(kind, namespace))
    }

    /// Whether every first list has arrived, or is refused for good: one namespace without rights keeps nothing else waiting.
    pub(crate) fn is_settled(&self) -> bool {
        Kind::ALL.into_iter().all(|kind| self.may_lack(kind) || self.lists.settled(kind))
    }

    fn may_lack(&self, kind: Kind) -> bool {
        kind == Kind::Cluster && matches!(self.kuberay, KubeRay::Missing(_))
    }

    /// Whether nodes and the pods of all namespaces may be read: without them nobody knows what there is room for.
    pub(crate) fn knows_room(&self) -> bool {
        self.lists.knows_room()
    }

    /// Whether RayClusters of a namespace were ever listed: if not, one that is not here may well be there.
    pub(crate) fn lists_clusters(&self, namespace: &str) -> bool {
        self.lists.has(Kind::Cluster, namespace)
    }

    /// The pods that the RayCluster of this UID controls, in its namespace.
    pub(crate) fn pods_of<'k>(&'k self, namespace: &str, uid: &str) -> impl Iterator<Item = &'k Member> {
        self.members.of_cluster(namespace, uid).filter_map(|key| self.member(key))
    }

    /// What there is to know of a pod that may be a group's.
    pub(crate) fn member(&self, pod: &PodKey) -> Option<&Member> {
        self.pods.get(pod)?.member.as_deref()
    }

    /// The named ports of the head of a group. `uid` is that of its RayCluster as the ledger has it: it may be gone, and its head not.
    pub(crate) fn head_ports(&self, group: &GroupKey, uid: Option<&str>) -> Option<Vec<(String, i64)>> {
        let there = self.clusters.get(group).and_then(|cluster| cluster.metadata.uid.as_deref());
        let head = self.pods_of(&group.namespace, there.or(uid)?).find(|pod| pod.observed.head)?;
        Some(head.ports.clone())
    }

    /// Whether any EndpointSlice of the pod's namespace lists the pod of this UID as ready; `None` when none lists it at all.
    pub(crate) fn endpoint_ready(&self, namespace: &str, uid: &str) -> Option<bool> {
        let said = self.endpoints.get(uid)?.iter().filter(|(slice, _)| slice.namespace == namespace);
        said.map(|(_, ready)| *ready).reduce(|any, ready| any || ready)
    }

    /// The fleets that a pod concerns.
    pub(super) fn fleets_of(&self, pod: &PodKey, member: &Member) -> Vec<Key> {
        kinds::fleets_of_pod(self, pod, Some(member))
    }

    /// Fleets that can be decided about.
    fn synced_fleets(&self) -> Vec<Key> {
        self.fleets.keys().filter(|fleet| self.is_synced(&fleet.namespace)).cloned().collect()
    }

    /// The fleet of a RayCluster, by its owner, else by its label.
    fn fleet_of(&self, cluster: &GroupKey) -> Option<Key> {
        let cluster_object = self.clusters.get(cluster)?;
        kinds::fleet_of_cluster(cluster, cluster_object)
    }
}

/// The index and the queues that it feeds.
#[derive(Debug, Default)]
pub(crate) struct Index {
    known: RwLock<Store>,
    /// Fleets that something happened to.
    pub fleet_queue: Queue<Key>,
    /// Fleets of whose budgets something has to be looked at.
    pub budget_queue: Queue<Key>,
}

/// A kind of object that the index keeps.
pub(crate) trait Indexed: Sized {
    /// Which kind.
    const KIND: Kind;
    /// Names of such objects.
    type Name: Deref<Target = str> + for<'a> From<&'a str>;
    /// Whether the versions of an object of one name only rise.
    const RISES: bool = true;
    /// Enters an object; gives the fleets it concerns.
    fn apply(self, store: &mut Store) -> Vec<Key>;
    /// Removes an object; gives the fleets it concerned.
    fn remove(key: &Key<Self::Name>, store: &mut Store) -> Vec<Key>;
    /// The version of the object of this key, if there is one. 0: it has none that can be compared.
    fn known(key: &Key<Self::Name>, store: &Store) -> Option<u64>;
    /// Keys of all objects of this kind.
    fn keys(store: &Store) -> Vec<Key<Self::Name>>;
    /// Key of this object in the index.
    fn key(&self) -> Key<Self::Name>;
    /// Its version.
    fn version(&self) -> u64;
}

impl Index {
    /// An index of fleets of these namespaces.
    pub(crate) fn of(namespaces: &Namespaces) -> Self {
        let store = Store { lists: Lists::of(namespaces), ..Store::default() };
        Self { known: RwLock::new(store), ..Self::default() }
    }

    /// What is to be listed of a kind: each part by itself.
    pub(crate) fn scopes(&self, kind: Kind) -> Vec<Scope> {
        self.read(|store| store.lists.scopes(kind))
    }

    /// Reads the index.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.known.read())
    }

    fn write<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        change(&mut self.known.write())
    }

    /// Has fleets looked at by the controller that looks at objects of this kind.
    fn mark_for(&self, kind: Kind, fleets: Vec<Key>) {
        let queue = if kind == Kind::Budget { &self.budget_queue } else { &self.fleet_queue };
        for fleet in fleets {
            queue.add(fleet);
        }
    }

    fn mark(&self, fleets: Vec<Key>) {
        self.mark_for(Kind::Fleet, fleets);
    }

    /// An object was created or changed, as a watch tells it. What is known already concerns nobody: own writes come back this way,
    /// and states that are older than they.
    pub(crate) fn apply<K: Indexed>(&self, object: K) {
        let fleets = self.write(|store| {
            let before = K::known(&object.key(), store).unwrap_or_default();
            if before > 0 && object.version() > 0 && object.version() <= before && K::RISES {
                return Vec::new();
            }
            object.apply(store)
        });
        self.mark_for(K::KIND, fleets);
    }

    /// An object was created by this program.
    pub(crate) fn made<K: Indexed>(&self, object: K) {
        let fleets = self.write(|store| {
            store.made.insert((K::KIND, object.key().untyped()));
            object.apply(store)
        });
        self.mark_for(K::KIND, fleets);
    }

    /// An object was changed by this program. If the watch told of its end before the answer came, it has ended.
    pub(crate) fn changed<K: Indexed>(&self, object: K) {
        let fleets = self.write(|store| {
            if K::known(&object.key(), store).is_none() {
                return Vec::new();
            }
            store.changed.insert((K::KIND, object.key().untyped()));
            object.apply(store)
        });
        self.mark_for(K::KIND, fleets);
    }

    /// An object is not there any more.
    pub(crate) fn gone<K: Indexed>(&self, key: &Key<K::Name>) {
        let fleets = self.write(|store| {
            store.made.remove(&(K::KIND, key.untyped()));
            store.changed.remove(&(K::KIND, key.untyped()));
            K::remove(key, store)
        });
        self.mark_for(K::KIND, fleets);
    }

    /// A list is about to be asked for.
    pub(crate) fn listing<K: Indexed>(&self, scope: &Scope) {
        self.write(|store| {
            store.made.retain(|(kind, key)| *kind != K::KIND || !scope.holds(key));
            store.changed.retain(|(kind, key)| *kind != K::KIND || !scope.holds(key));
        });
    }

    /// Objects of a list that is being read. A list may be of an older state than what is known, and is believed: versions go back when
    /// the cluster's store is restored from a backup. Of fleets, whose status is the ledger, only what was written here meanwhile stays.
    pub(crate) fn list<K: Indexed>(&self, objects: Vec<K>) {
        let fleets = self.write(|store| {
            let mut fleets = Vec::new();
            for object in objects {
                let (key, before) = (object.key(), K::known(&object.key(), store));
                if !K::RISES
                    && before.is_some_and(|before| object.version() > 0 && object.version() < before)
                    && !store.changed.contains(&(K::KIND, key.untyped()))
                {
                    K::remove(&key, store);
                }
                if !K::RISES || before.is_none_or(|before| before == 0 || before != object.version()) {
                    fleets.extend(object.apply(store));
                }
            }
            fleets
        });
        self.mark_for(K::KIND, fleets);
    }

    /// A list was read to its end: what was not in it is gone, although nobody said so. What was made here since the list was
    /// asked for is not: the watch that follows tells of it.
    pub(crate) fn listed<K: Indexed>(&self, scope: &Scope, listed: &BTreeSet<Key>) {
        let fleets = self.write(|store| {
            let mut gone = K::keys(store);
            gone.retain(|key| {
                scope.holds(key)
                    && !listed.contains(&key.untyped())
                    && !store.made.contains(&(K::KIND, key.untyped()))
            });
            let mut fleets: Vec<Key> = gone.iter().flat_map(|key| K::remove(key, store)).collect();
            let mut all = store.lists.listed(K::KIND, scope);
            if K::KIND == Kind::Cluster {
                all |= matches!(store.kuberay, KubeRay::Missing(_));
                store.kuberay = KubeRay::Installed;
                store.absent = None;
            }
            if all {
                fleets.extend(store.synced_fleets());
            }
            fleets
        });
        self.mark_for(K::KIND, fleets);
    }

    /// The API server refused a list or a watch at `now`: this program has no right to it. Where only some namespaces are looked after
    /// that counts once it has been so for a while and several times in a row. Whether it counts since this time.
    pub(crate) fn refused(&self, kind: Kind, scope: &Scope, now: Instant) -> bool {
        let (counts, fleets) = self.write(|store| {
            let counts = store.lists.refused(kind, scope, now);
            (counts, if counts { store.synced_fleets() } else { Vec::new() })
        });
        self.mark(fleets);
        counts
    }

    /// RayClusters could not be listed or followed at `now`: their kind is not known. That counts once it has been so for a while and
    /// several times in a row: the API server forgets a CRD for a moment when it starts and when the CRD is replaced.
    pub(crate) fn kuberay_missing(&self, words: &str, now: Instant) {
        let fleets = self.write(|store| {
            let (since, times) = store.absent.map_or((now, 1), |(since, times)| (since, times + 1));
            store.absent = Some((since, times));
            if times < OFTEN || now.saturating_duration_since(since) < LONG {
                return Vec::new();
            }
            let missing = KubeRay::Missing(words.to_owned());
            if store.kuberay == missing {
                return Vec::new();
            }
            store.kuberay = missing;
            store.fleets.keys().cloned().collect()
        });
        self.mark(fleets);
    }

    /// A group's dashboard was asked.
    pub(crate) fn ray_seen(&self, fleet: &Key, group: &GroupKey, observed: ObservedRay) {
        let changed = self.write(|store| {
            let changed = store.ray.get(group).is_none_or(|before| observed.differs_from(before));
            store.ray.insert(group.clone(), observed);
            changed
        });
        if changed {
            self.fleet_queue.add(fleet.clone());
        }
    }

    /// A group is no longer watched.
    pub(crate) fn ray_forget(&self, group: &GroupKey) {
        self.write(|store| store.ray.remove(group));
    }

    /// Looks at every fleet again: first at those that have a status, which may serve.
    pub(crate) fn mark_all(&self) {
        let all = self.read(|store| {
            let begun = |fleet: &Arc<RayClusterFleet>| fleet.status.is_some();
            store.fleets.iter().map(|(key, fleet)| (key.clone(), begun(fleet))).collect::<Vec<_>>()
        });
        for (key, has_begun) in all {
            if has_begun {
                self.fleet_queue.know(&key);
            }
            self.fleet_queue.add(key);
        }
    }
}
