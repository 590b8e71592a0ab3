//! Nodes and their GPUs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use super::wire;
use crate::NodeId;
use crate::lean::{self, Number, Pick, Picked, Text};
use crate::placement::RayNode;

/// A node as the state API reports it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Node {
    /// Id of this incarnation of the node.
    pub node_id: NodeId,
    /// Address.
    #[serde(default, deserialize_with = "lean::text::<_, 64>")]
    pub node_ip: String,
    /// Name; the address unless one was given.
    #[serde(default, deserialize_with = "lean::text::<_, 256>")]
    pub node_name: String,
    /// It is the head.
    #[serde(default, deserialize_with = "lean::or_default")]
    pub is_head_node: bool,
    /// `ALIVE` or `DEAD`.
    #[serde(deserialize_with = "lean::text::<_, 32>")]
    pub state: String,
    /// Why it is dead.
    #[serde(default, deserialize_with = "lean::words::<_, 500>")]
    pub state_message: Option<String>,
    /// GPUs, fractions included; 0 if it has none.
    #[serde(default, rename = "resources_total", deserialize_with = "gpus")]
    pub gpus: f64,
    /// Labels, at most 32.
    #[serde(default, deserialize_with = "lean::texts::<_, 32>")]
    pub labels: BTreeMap<String, String>,
}

/// GPUs of one node, fractions included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GpuUse {
    /// In use or reserved.
    pub used: f64,
    /// Total.
    pub total: f64,
}

impl Node {
    /// Combines node and GPU use for placement.
    pub fn into_ray_node(self, gpu_use: &BTreeMap<NodeId, GpuUse>) -> RayNode {
        let gpus_total = wire::floor(self.gpus);
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

/// Ray's name of the resource.
const GPU: &str = "GPU";

/// The amount of one resource; other resources are skipped.
#[derive(Default)]
struct Gpus(f64);

impl Pick for Gpus {
    fn map<'de, A: MapAccess<'de>>(&mut self, map: A) -> Result<(), A::Error> {
        self.0 = lean::entry::<A, Number>(map, GPU)?.and_then(|amount| amount.0).unwrap_or(0.0);
        Ok(())
    }
}

fn gpus<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Picked::<Gpus>::deserialize(deserializer).map(|Picked(Gpus(amount))| amount)
}

/// The reply of the cluster status, of which only `usageByNode` is read.
///
/// Ray rewrites the keys of this reply to camelCase (`slot_w2` becomes `slotW2`, and node ids elsewhere in it
/// are mangled); the node ids in this map and the key `GPU` are unchanged.
#[derive(Deserialize)]
pub(super) struct Status {
    data: Option<StatusData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusData {
    cluster_status: Option<ClusterStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClusterStatus {
    load_metrics_report: Option<Report>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(default)]
    usage_by_node: Picked<UseByNode>,
}

/// GPU use by node; nodes beyond [`MOST_NODES`] are left out.
#[derive(Default)]
struct UseByNode(BTreeMap<NodeId, GpuUse>);

/// The most nodes whose GPU use is kept: more than an engine has.
const MOST_NODES: usize = 4096;

impl Pick for UseByNode {
    fn map<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Picked(Text(node))) = map.next_key::<Picked<Text<128>>>()? {
            let Picked(GpuPair(pair)) = map.next_value::<Picked<GpuPair>>()?;
            if let Some(found) = pair.filter(|_| self.0.len() < MOST_NODES) {
                self.0.insert(NodeId(node), found);
            }
        }
        Ok(())
    }
}

/// `{"GPU": [used, total]}` among other resources.
#[derive(Default)]
struct GpuPair(Option<GpuUse>);

impl Pick for GpuPair {
    fn map<'de, A: MapAccess<'de>>(&mut self, map: A) -> Result<(), A::Error> {
        let pair = lean::entry::<A, Pair>(map, GPU)?;
        self.0 = pair.and_then(|pair| Some(GpuUse { used: pair.0?, total: pair.1? }));
        Ok(())
    }
}

#[derive(Default)]
struct Pair(Option<f64>, Option<f64>);

impl Pick for Pair {
    fn list<'de, A: SeqAccess<'de>>(&mut self, mut list: A) -> Result<(), A::Error> {
        let mut next = || list.next_element::<Picked<Number>>().map(|number| number.and_then(|n| n.0.0));
        (self.0, self.1) = (next()?, next()?);
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

impl Status {
    /// GPUs in use, by node. Empty until Ray has collected the report for the first time.
    pub(super) fn gpu_use(self) -> Result<BTreeMap<NodeId, GpuUse>, String> {
        let data = self.data.ok_or("cluster_status without data")?;
        let report = data.cluster_status.and_then(|status| status.load_metrics_report);
        Ok(report.map(|report| report.usage_by_node.0.0).unwrap_or_default())
    }
}
