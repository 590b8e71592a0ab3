//! Whether one more whole group fits on the nodes, and where. Plain data and pure functions; the orchestrator
//! supplies the data.

mod beside;
mod budget;
mod closing;
mod domains;
mod eligible;
mod kind;
mod neighbours;
mod no_room;
mod nodes;
mod pods;
mod quantity;
mod quota;
mod requests;
mod room;
mod rules;
mod search;
mod settle;
mod tally;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use rayfleet_api::valid::GroupShape;
use rayfleet_api::{GroupName, NodeName, names};
use serde::Deserialize;
use serde_json::Value;
use smol_str::SmolStr;

pub(crate) use budget::Budget;
pub use closing::{Closing, Leaving, closing};
pub use neighbours::{Crowd, Labels, Neighbour};
pub use no_room::NoRoom;
pub use nodes::{NodeSpec, NodeStatus};
pub use pods::{About, Alike, Asked, Claim, PodSpec, Waiting};
pub use quota::Quota;
pub use rayfleet_api::quantity::quantity;
pub use requests::requests;
pub(crate) use requests::{in_words, scarce};
pub(crate) use room::Room;
pub use tally::{Tally, Viewer};

/// Amounts by resource name, in thousandths: `cpu: 500` is half a core, `nvidia.com/gpu: 2000` is two GPUs.
pub type Resources = BTreeMap<String, i128>;

/// The nodes, and what is requested of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capacity {
    /// Every node.
    pub nodes: Vec<NodeRoom>,
    /// Pods without a node: they will take room.
    pub pending: Vec<PendingPod>,
    /// The ResourceQuotas of the fleet's namespace.
    pub quotas: Vec<Quota>,
    /// The fleet's namespace: rules between pods apply to their own namespace unless they name others.
    pub namespace: String,
}

/// Looks that the copy of a node costs: mostly its labels.
const NODE_COPY: usize = 50;

/// Source of a capacity. A pass over an idle fleet does not need it, and adding up the pods of a large
/// cluster takes longer than all other decisions, so it is computed on demand.
pub trait Source: Debug + Sync {
    /// The capacity; the same value on every call.
    fn capacity(&self) -> &Capacity;
}

impl Source for Capacity {
    fn capacity(&self) -> &Capacity {
        self
    }
}

impl Capacity {
    /// A copy to change, as long as there are looks for it; else one without nodes, for which there is no room.
    pub(crate) fn copy_within(&self, budget: &Budget) -> Self {
        budget.spend(self.nodes.len().saturating_mul(NODE_COPY));
        let nodes = if budget.is_spent() { Vec::new() } else { self.nodes.clone() };
        let (pending, quotas, namespace) =
            (self.pending.clone(), self.quotas.clone(), self.namespace.clone());
        Self { nodes, pending, quotas, namespace }
    }
}

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

/// A pod without a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PendingPod {
    /// Namespace and name, which define the order.
    pub name: String,
    /// Its pod spec, shared by identical pods.
    pub spec: Arc<Value>,
    /// The pod as other pods' rules match it.
    pub pod: Arc<Neighbour>,
}

/// Whether one more whole group fits beside everything that runs or waits, and the node of each pod of the
/// shape.
///
/// # Errors
/// [`NoRoom`] with what the group needs and what is free.
pub fn fits(shape: &GroupShape, capacity: &Capacity) -> Result<Vec<NodeName>, NoRoom> {
    Room::of(capacity).place(shape)
}
