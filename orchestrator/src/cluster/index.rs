//! Everything that the watches and the Ray agents know, in memory, by key. Synchronous: applying an
//! object marks the fleets it concerns in the queue. It holds no client and decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Event, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::core::DynamicObject;
use rayfleet_api::{RayClusterFleet, names};
use rayfleet_core::seen::RaySeen;

use super::endpoints::{self, Listed};
use super::{Key, Queue, pods};

/// Whether KubeRay's CRD is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum KubeRay {
    /// Not known yet.
    #[default]
    Unknown,
    /// RayClusters can be listed.
    Installed,
    /// They can not; the API server's words.
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
    /// EndpointSlices.
    Slice,
    /// Services made here.
    Service,
    /// ControllerRevisions made here.
    Revision,
    /// KubeRay's warnings.
    Warning,
}

impl Kind {
    /// All kinds that must be there before anything is decided.
    const ALL: [Self; 8] = [
        Self::Fleet,
        Self::Cluster,
        Self::Pod,
        Self::Node,
        Self::Slice,
        Self::Service,
        Self::Revision,
        Self::Warning,
    ];
}

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Fleets.
    pub fleets: BTreeMap<Key, Arc<RayClusterFleet>>,
    /// RayClusters that carry a fleet's label.
    pub clusters: BTreeMap<Key, Arc<DynamicObject>>,
    /// Pods of the whole cluster: those of fleets, and the others for what they take from the nodes.
    pub pods: BTreeMap<Key, Arc<Pod>>,
    /// Nodes.
    pub nodes: BTreeMap<Key, Arc<Node>>,
    /// Services made here.
    pub services: BTreeMap<Key, Arc<Service>>,
    /// ControllerRevisions made here.
    pub revisions: BTreeMap<Key, Arc<ControllerRevision>>,
    /// Pods listed by EndpointSlices, by slice.
    pub slices: BTreeMap<Key, Listed>,
    /// KubeRay's last warning about a RayCluster, by RayCluster.
    pub warnings: BTreeMap<Key, String>,
    /// What each group's dashboard said last, by RayCluster.
    pub ray: BTreeMap<Key, RaySeen>,
    /// Whether KubeRay is there.
    pub kuberay: KubeRay,
    synced: BTreeSet<Kind>,
}

impl Known {
    /// Whether everything has been listed once.
    pub(crate) fn is_synced(&self) -> bool {
        let needed = Kind::ALL
            .iter()
            .filter(|kind| **kind != Kind::Cluster || !matches!(self.kuberay, KubeRay::Missing(_)));
        needed.into_iter().all(|kind| self.synced.contains(kind))
    }

    fn fleet_of_pod(&self, pod: &Key) -> Option<Key> {
        let (_, fleet) = pods::group_and_fleet(self.pods.get(pod)?)?;
        Some(pod.sibling(fleet))
    }
}

/// The index and the queue that it feeds.
#[derive(Debug, Default)]
pub(crate) struct Index {
    known: RwLock<Known>,
    /// Fleets that something happened to.
    pub queue: Queue,
}

/// A kind of object that the index keeps.
pub(crate) trait Indexed: Sized {
    /// Which kind.
    const KIND: Kind;
    /// Enters an object; gives the fleets it concerns.
    fn enter(self, known: &mut Known) -> Vec<Key>;
    /// Removes an object; gives the fleets it concerned.
    fn leave(key: &Key, known: &mut Known) -> Vec<Key>;
    /// Keys of all objects of this kind.
    fn keys(known: &Known) -> Vec<Key>;
    /// Key of this object in the index.
    fn key(&self) -> Key;
}

impl Index {
    /// Reads the index.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn mark(&self, fleets: Vec<Key>) {
        for fleet in fleets {
            self.queue.add(fleet);
        }
    }

    /// An object was created or changed.
    pub(crate) fn apply<K: Indexed>(&self, object: K) {
        let fleets = self.write(|known| object.enter(known));
        self.mark(fleets);
    }

    /// An object was deleted.
    pub(crate) fn delete<K: Indexed>(&self, object: &K) {
        let key = object.key();
        let fleets = self.write(|known| K::leave(&key, known));
        self.mark(fleets);
    }

    /// A new list: what is not in it is gone, although nobody said so.
    pub(crate) fn reset<K: Indexed>(&self, objects: Vec<K>) {
        let fleets = self.write(|known| {
            let kept: BTreeSet<Key> = objects.iter().map(Indexed::key).collect();
            let gone: Vec<Key> = K::keys(known).into_iter().filter(|key| !kept.contains(key)).collect();
            let mut fleets: Vec<Key> = gone.iter().flat_map(|key| K::leave(key, known)).collect();
            fleets.extend(objects.into_iter().flat_map(|object| object.enter(known)));
            if K::KIND == Kind::Cluster {
                known.kuberay = KubeRay::Installed;
            }
            let first = known.synced.insert(K::KIND);
            if first && known.is_synced() {
                fleets.extend(known.fleets.keys().cloned());
            }
            fleets
        });
        self.mark(fleets);
    }

    /// RayClusters can not be listed.
    pub(crate) fn kuberay_missing(&self, words: &str) {
        let fleets = self.write(|known| {
            let missing = KubeRay::Missing(words.to_owned());
            if known.kuberay == missing {
                return Vec::new();
            }
            known.kuberay = missing;
            known.fleets.keys().cloned().collect()
        });
        self.mark(fleets);
    }

    /// A group's dashboard was asked.
    pub(crate) fn ray_seen(&self, fleet: &Key, group: &Key, seen: RaySeen) {
        let changed = self.write(|known| {
            let changed = known.ray.get(group).is_none_or(|before| before.state != seen.state);
            known.ray.insert(group.clone(), seen);
            changed
        });
        if changed {
            self.queue.add(fleet.clone());
        }
    }

    /// A group is no longer watched.
    pub(crate) fn ray_forget(&self, group: &Key) {
        self.write(|known| known.ray.remove(group));
    }

    /// Looks at every fleet again.
    pub(crate) fn mark_all(&self) {
        self.mark(self.read(|known| known.fleets.keys().cloned().collect()));
    }
}

/// A resource version as a number; they rise within one kind.
pub(crate) fn version(text: Option<&str>) -> u64 {
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
            fn keys(known: &Known) -> Vec<Key> {
                known.$field.keys().cloned().collect()
            }
        }
    };
}

labelled!(Pod, Pod, pods);
labelled!(Service, Service, services);
labelled!(ControllerRevision, Revision, revisions);

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
    fn keys(known: &Known) -> Vec<Key> {
        known.nodes.keys().cloned().collect()
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
    fn keys(known: &Known) -> Vec<Key> {
        known.warnings.keys().cloned().collect()
    }
}
