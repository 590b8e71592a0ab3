//! Who belongs to whom. A pod is a group's because the RayCluster controls it, and a RayCluster a fleet's because the fleet controls it:
//! by UID, so that neither a copied label nor a name that was used before makes it so, and within one namespace: anybody may write the UID
//! of another namespace's RayCluster into an owner reference.

use std::collections::BTreeMap;

use rayfleet_api::PodName;

use super::sets::Sets;
use crate::kubernetes::pods::Member;
use crate::kubernetes::{GroupKey, Key, PodKey};

/// Names of objects by the UID of what they belong to.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// Pods by namespace and UID of the RayCluster that controls them, known or not.
    pods: Sets<PodName>,
    /// Pods by the fleet that their labels name.
    labelled: Sets<PodName>,
    /// RayClusters by namespace and their own UID.
    cluster: BTreeMap<Key, GroupKey>,
    /// Pods by their own UID.
    pod: BTreeMap<String, PodKey>,
}

impl Members {
    /// Pods that the RayCluster of this UID controls, in its namespace.
    pub(crate) fn of_cluster<'a>(
        &'a self,
        namespace: &str,
        uid: &str,
    ) -> impl Iterator<Item = &'a PodKey> + use<'a> {
        self.pods.of(&Key::new(namespace, uid))
    }

    /// Pods whose labels name a fleet, whoever controls them.
    pub(crate) fn labelled<'a>(&'a self, fleet: &Key) -> impl Iterator<Item = &'a PodKey> + use<'a> {
        self.labelled.of(fleet)
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
