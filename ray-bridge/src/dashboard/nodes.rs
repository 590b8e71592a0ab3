//! Nodes and their GPUs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::wire;
use crate::NodeId;
use crate::placement::RayNode;

/// A node as the state API reports it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Node {
    /// Id of this incarnation.
    pub node_id: NodeId,
    /// Address.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub node_ip: String,
    /// Name, equal to the address unless one was given.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub node_name: String,
    /// Runs the dashboard.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub is_head_node: bool,
    /// `ALIVE` or `DEAD`.
    pub state: String,
    /// Why it is dead.
    #[serde(default, deserialize_with = "wire::non_empty")]
    pub state_message: Option<String>,
    /// Amounts by resource.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub resources_total: BTreeMap<String, f64>,
    /// Labels.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub labels: BTreeMap<String, String>,
}

/// GPUs of one node, shares included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GpuUse {
    /// In use or reserved.
    pub used: f64,
    /// In all.
    pub total: f64,
}

impl Node {
    /// With the GPUs in use, as placement wants it.
    pub fn into_ray_node(self, gpu_use: &BTreeMap<NodeId, GpuUse>) -> RayNode {
        let gpus_total = wire::whole(&self.resources_total, "GPU");
        let free = gpu_use.get(&self.node_id).map_or(gpus_total, |u| wire::floor(u.total - u.used));
        RayNode {
            id: self.node_id,
            name: if self.node_name.is_empty() { self.node_ip.clone() } else { self.node_name },
            ip: self.node_ip,
            is_head: self.is_head_node,
            alive: self.state == "ALIVE",
            state_message: self.state_message,
            gpus_total,
            gpus_free: free.min(gpus_total),
            labels: self.labels,
        }
    }
}

/// Reads `usageByNode` of the cluster's status.
///
/// Ray rewrites the keys of this reply to camelCase (`slot_w2` becomes `slotW2`, node ids elsewhere in it are mangled);
/// node ids in this map and the key `GPU` come through unchanged.
pub(super) fn gpu_use(status: &Value) -> Result<BTreeMap<NodeId, GpuUse>, String> {
    let data = status.get("data").ok_or("cluster_status without data")?;
    let report = data.pointer("/clusterStatus/loadMetricsReport/usageByNode");
    let Some(Value::Object(by_node)) = report else {
        // The report is absent until Ray has collected it for the first time.
        return Ok(BTreeMap::new());
    };
    let amounts = |resources: &Value| {
        let pair = resources.get("GPU")?;
        Some(GpuUse { used: pair.get(0)?.as_f64()?, total: pair.get(1)?.as_f64()? })
    };
    Ok(by_node.iter().filter_map(|(id, r)| Some((NodeId(id.clone()), amounts(r)?))).collect())
}
