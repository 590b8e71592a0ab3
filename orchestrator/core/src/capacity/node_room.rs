//! A node as far as its room and who may use it is concerned.

use std::collections::BTreeMap;

use rayfleet_api::{GroupName, NodeName, names};
use serde::Deserialize;
use smol_str::SmolStr;

use super::neighbours::{Crowd, Neighbour};
use super::requests::Resources;

/// One node.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeRoom {
    /// Name.
    pub name: NodeName,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Cordoned.
    pub unschedulable: bool,
    /// Whether the condition Ready is True.
    pub ready: bool,
    /// Its kubelet is terminating all pods because the machine is being shut down.
    pub shuts_down: bool,
    /// Its object is being deleted, and a finalizer holds it.
    pub deleting: bool,
    /// Its amount of each resource. The names are stored in the map itself, because following pointers to
    /// them dominates the time of a pass over thousands of nodes.
    pub shares: BTreeMap<SmolStr, Share>,
    /// Its pods, which other pods' rules may match.
    pub pods: Crowd,
}

/// A node's amount of a resource, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Total for pods.
    pub allocatable: i128,
    /// Requested by its pods, terminating ones included and finished ones not.
    pub requested: i128,
}

impl NodeRoom {
    /// Removes the pods of a group from those that rules match.
    pub(crate) fn forget_group(&mut self, namespace: &str, group: &GroupName) {
        let of_it = |pod: &Neighbour| {
            pod.namespace == namespace && pod.labels.get(names::LABEL_GROUP) == Some(group.as_str())
        };
        self.pods.retain(|pod| !of_it(pod));
    }

    /// The unrequested amount of a resource; negative if overcommitted.
    pub fn free(&self, resource: &str) -> i128 {
        self.shares.get(resource).map_or(0, |share| share.allocatable.saturating_sub(share.requested))
    }

    /// Adds the requests of a pod.
    pub fn take(&mut self, asked: &Resources) {
        for (resource, amount) in asked {
            let requested = &mut self.shares.entry(resource.into()).or_default().requested;
            *requested = requested.saturating_add(*amount);
        }
    }

    /// Subtracts the requests of a pod.
    pub fn give_back(&mut self, asked: &Resources) {
        for (resource, amount) in asked {
            if let Some(share) = self.shares.get_mut(resource.as_str()) {
                share.requested = share.requested.saturating_sub(*amount).max(0);
            }
        }
    }
}

/// A taint of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value, empty if none.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}
