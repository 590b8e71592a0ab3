//! What decisions about room start from: the nodes, what waits for them, and the quotas.

use std::fmt::Debug;
use std::sync::Arc;

use serde_json::Value;

use super::budget::Budget;
use super::neighbours::Neighbour;
use super::node_room::NodeRoom;
use super::quota::Quota;

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
