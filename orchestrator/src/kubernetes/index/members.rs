//! Who belongs to whom. A pod is a group's because the RayCluster controls it, and a RayCluster a fleet's because the fleet controls it:
//! by UID, so that neither a copied label nor a name that was used before makes it so, and within one namespace: anybody may write the UID
//! of another namespace's RayCluster into an owner reference.

use std::collections::{BTreeMap, BTreeSet};

use crate::kubernetes::pods::Member;
use crate::kubernetes::{GroupKey, Key, PodKey};

/// Names of objects by the UID of what they belong to.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// Pods by namespace and UID of the RayCluster that controls them, known or not.
    pods: Sets,
    /// Pods by the fleet that their labels name.
    labelled: Sets,
    /// RayClusters by namespace and their own UID.
    cluster: BTreeMap<Key, GroupKey>,
    /// Pods by their own UID.
    pod: BTreeMap<String, PodKey>,
}

/// Sets of names; none is empty.
#[derive(Debug, Default)]
struct Sets(BTreeMap<Key, BTreeSet<PodKey>>);

impl Sets {
    fn add(&mut self, of: Key, key: &PodKey) {
        self.0.entry(of).or_default().insert(key.clone());
    }

    fn remove(&mut self, of: &Key, key: &PodKey) {
        if let Some(set) = self.0.get_mut(of) {
            set.remove(key);
            if set.is_empty() {
                self.0.remove(of);
            }
        }
    }
}

impl Members {
    /// Pods that the RayCluster of this UID controls, in its namespace.
    pub(crate) fn of_cluster(&self, namespace: &str, uid: &str) -> impl Iterator<Item = &PodKey> {
        self.pods.0.get(&Key::<String>::new(namespace, uid)).into_iter().flatten()
    }

    /// Pods whose labels name a fleet, whoever controls them.
    pub(crate) fn labelled(&self, fleet: &Key) -> impl Iterator<Item = &PodKey> {
        self.labelled.0.get(fleet).into_iter().flatten()
    }

    /// The RayCluster of this UID, if it is in this namespace.
    pub(crate) fn cluster(&self, namespace: &str, uid: &str) -> Option<&GroupKey> {
        self.cluster.get(&Key::<String>::new(namespace, uid))
    }

    /// The pod of this UID, if it may be a group's.
    pub(crate) fn pod(&self, uid: &str) -> Option<&PodKey> {
        self.pod.get(uid)
    }

    pub(super) fn add_pod(&mut self, key: &PodKey, member: &Member) {
        if let Some(cluster) = &member.cluster {
            self.pods.add(key.sibling(&cluster.uid), key);
        }
        if let Some(fleet) = &member.fleet {
            self.labelled.add(key.sibling(fleet), key);
        }
        self.pod.insert(member.observed.uid.clone(), key.clone());
    }

    pub(super) fn remove_pod(&mut self, key: &PodKey, member: &Member) {
        if let Some(cluster) = &member.cluster {
            self.pods.remove(&key.sibling(&cluster.uid), key);
        }
        if let Some(fleet) = &member.fleet {
            self.labelled.remove(&key.sibling(fleet), key);
        }
        self.pod.remove(&member.observed.uid);
    }

    pub(super) fn add_cluster(&mut self, key: &GroupKey, uid: &str) {
        self.cluster.insert(key.sibling(uid), key.clone());
    }

    pub(super) fn remove_cluster(&mut self, key: &GroupKey, uid: &str) {
        self.cluster.remove(&key.sibling::<String>(uid));
    }
}
