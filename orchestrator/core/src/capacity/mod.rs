//! Nodes and what is asked of them: does one more whole group fit, and where? Plain data and pure
//! functions; who fills it in is the orchestrator.

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

use rayfleet_api::names;
use rayfleet_api::valid::GroupShape;
use serde::Deserialize;
use serde_json::Value;
use smol_str::SmolStr;

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

/// Amounts by resource name, in thousandths: `cpu: 500` is half a core, `nvidia.com/gpu: 2000` two GPUs.
pub type Resources = BTreeMap<String, i128>;

/// What the nodes have, and what is asked of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capacity {
    /// Every node.
    pub nodes: Vec<NodeRoom>,
    /// Pods that no node has been found for yet: they will take room.
    pub pending: Vec<PendingPod>,
    /// What the fleet's namespace may ask for.
    pub quotas: Vec<Quota>,
    /// The fleet's namespace: rules between pods mean those of their own, unless they say otherwise.
    pub namespace: String,
}

/// Where a capacity comes from. A pass over a fleet at rest never asks, and adding up the pods of a large cluster takes longer than all
/// else that is decided, so it can be left until somebody does.
pub trait Source: Debug + Sync {
    /// The capacity, the same one each time.
    fn capacity(&self) -> &Capacity;
}

impl Source for Capacity {
    fn capacity(&self) -> &Capacity {
        self
    }
}

/// One node.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeRoom {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Cordoned.
    pub unschedulable: bool,
    /// Condition Ready is True.
    pub ready: bool,
    /// Its kubelet is ending all pods, because the machine is being shut down.
    pub shuts_down: bool,
    /// Its object is being deleted, and somebody's finalizer holds it for as long as that takes.
    pub deleting: bool,
    /// What it has of each resource. The names lie in the map itself: to fetch them from all over the memory takes most of the time
    /// of a look at thousands of nodes.
    pub shares: BTreeMap<SmolStr, Share>,
    /// Its pods, by which others may be kept off it or drawn to it.
    pub pods: Crowd,
}

/// What a node has of a resource, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// What pods may use in all.
    pub allocatable: i128,
    /// What its pods ask for, terminating ones included and finished ones not.
    pub requested: i128,
}

impl NodeRoom {
    /// The pods of a group are gone: nobody is kept off them any more, or drawn to them.
    pub(crate) fn forget_group(&mut self, namespace: &str, group: &str) {
        let of_it =
            |pod: &Neighbour| pod.namespace == namespace && pod.labels.get(names::LABEL_GROUP) == Some(group);
        self.pods.retain(|pod| !of_it(pod));
    }

    /// What no pod asks for of a resource: less than nothing where it is overdrawn.
    pub fn free(&self, resource: &str) -> i128 {
        self.shares.get(resource).map_or(0, |share| share.allocatable.saturating_sub(share.requested))
    }

    /// Adds what a pod asks for.
    pub fn take(&mut self, asked: &Resources) {
        for (resource, amount) in asked {
            let requested = &mut self.shares.entry(resource.into()).or_default().requested;
            *requested = requested.saturating_add(*amount);
        }
    }

    /// Takes off what a pod asked for.
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

/// A pod that has no node yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PendingPod {
    /// Namespace and name, for the order of looking.
    pub name: String,
    /// Its pod spec, shared by all that are alike.
    pub spec: Arc<Value>,
    /// How others see it.
    pub pod: Arc<Neighbour>,
}

/// Whether one more whole group fits beside everything that runs or waits, and on which nodes: one name
/// for each pod of the shape.
///
/// # Errors
/// [`NoRoom`] with what the group needs and what is free, in plain numbers.
pub fn fits(shape: &GroupShape, capacity: &Capacity) -> Result<Vec<String>, NoRoom> {
    Room::of(capacity).place(shape)
}
