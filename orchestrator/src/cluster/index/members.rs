//! Who belongs to whom. A pod is a group's because the RayCluster controls it, and a RayCluster a fleet's because the fleet controls it:
//! by UID, so that neither a copied label nor a name that was used before makes it so.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Key;
use crate::cluster::pods::Member;

/// Names of objects by the UID of what they belong to.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// Pods by the UID of the RayCluster that controls them, known or not.
    pods: Sets<String>,
    /// Pods by the fleet that their labels name.
    labelled: Sets<Key>,
    /// RayClusters by their own UID.
    cluster: BTreeMap<String, Key>,
    /// Pods by their own UID.
    pod: BTreeMap<String, Key>,
}

/// Sets of names; none is empty.
#[derive(Debug)]
struct Sets<K>(BTreeMap<K, BTreeSet<Key>>);

impl<K> Default for Sets<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Sets<K> {
    fn add(&mut self, of: K, key: &Key) {
        self.0.entry(of).or_default().insert(key.clone());
    }

    fn remove(&mut self, of: &K, key: &Key) {
        if let Some(set) = self.0.get_mut(of) {
            set.remove(key);
            if set.is_empty() {
                self.0.remove(of);
            }
        }
    }
}

impl Members {
    /// Pods that the RayCluster of this UID controls.
    pub(crate) fn of_cluster(&self, uid: &str) -> impl Iterator<Item = &Key> {
        self.pods.0.get(uid).into_iter().flatten()
    }

    /// Pods whose labels name a fleet, whoever controls them.
    pub(crate) fn labelled(&self, fleet: &Key) -> impl Iterator<Item = &Key> {
        self.labelled.0.get(fleet).into_iter().flatten()
    }

    /// The RayCluster of this UID.
    pub(crate) fn cluster(&self, uid: &str) -> Option<&Key> {
        self.cluster.get(uid)
    }

    /// The pod of this UID, if it may be a group's.
    pub(crate) fn pod(&self, uid: &str) -> Option<&Key> {
        self.pod.get(uid)
    }

    pub(super) fn add_pod(&mut self, key: &Key, member: &Member) {
        if let Some(cluster) = &member.cluster {
            self.pods.add(cluster.uid.clone(), key);
        }
        if let Some(fleet) = &member.fleet {
            self.labelled.add(key.sibling(fleet), key);
        }
        self.pod.insert(member.seen.uid.clone(), key.clone());
    }

    pub(super) fn remove_pod(&mut self, key: &Key, member: &Member) {
        if let Some(cluster) = &member.cluster {
            self.pods.remove(&cluster.uid, key);
        }
        if let Some(fleet) = &member.fleet {
            self.labelled.remove(&key.sibling(fleet), key);
        }
        self.pod.remove(&member.seen.uid);
    }

    pub(super) fn add_cluster(&mut self, key: &Key, uid: &str) {
        self.cluster.insert(uid.to_owned(), key.clone());
    }

    pub(super) fn remove_cluster(&mut self, uid: &str) {
        self.cluster.remove(uid);
    }
}
