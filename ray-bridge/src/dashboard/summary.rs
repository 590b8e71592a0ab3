//! What a node's agent reports about its machine. Free GPUs are not part of it.

use serde::Deserialize;

use super::{Dashboard, wire};
use crate::http::{CallError, Endpoint, longest};
use crate::lean::{self, Number, Picked};
use crate::{NodeId, base_of};

/// Port of the agent that runs on every Ray node: Ray's default, which KubeRay also sets.
pub(crate) const AGENT_PORT: u16 = 52365;

/// A node's machine, as its agent measured it a few seconds ago. For a dead node Ray keeps only name and
/// address.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSummary {
    /// Id of this incarnation of the node.
    pub node_id: NodeId,
    /// Host name.
    pub hostname: String,
    /// Address.
    pub ip: String,
    /// `ALIVE` or `DEAD`.
    pub state: String,
    /// CPU use over all cores, in percent.
    pub cpu_percent: Option<f64>,
    /// Load average of the last minute.
    pub load: Option<f64>,
    /// Memory in use, in bytes.
    pub memory_used: Option<u64>,
    /// Total memory, in bytes.
    pub memory_total: Option<u64>,
    /// HTTP port of the node's agent; `None` if it has none.
    pub agent_port: Option<u16>,
    /// Port of the node's metrics; `None` if it has none.
    pub metrics_port: Option<u16>,
}

#[derive(Deserialize)]
struct Reply {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(deserialize_with = "lean::list::<_, _, 4096>")]
    summary: Vec<Entry>,
}

/// Ray converts the keys of this reply to camelCase, those of resources and labels too; none of those are
/// read here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default, deserialize_with = "lean::text::<_, 256>")]
    hostname: String,
    #[serde(default, deserialize_with = "lean::text::<_, 64>")]
    ip: String,
    #[serde(default, deserialize_with = "lean::number")]
    cpu: Option<f64>,
    /// Total, available, percent, used.
    #[serde(default, deserialize_with = "lean::first::<_, _, 4>")]
    mem: Vec<Picked<Number>>,
    /// Load averages of 1, 5 and 15 minutes; then the same per core.
    #[serde(default, deserialize_with = "lean::first::<_, _, 1>")]
    load_avg: Vec<Loads>,
    raylet: Raylet,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Loads {
    #[serde(deserialize_with = "lean::first::<_, _, 1>")]
    minutes: Vec<Picked<Number>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raylet {
    node_id: NodeId,
    #[serde(default, deserialize_with = "lean::text::<_, 64>")]
    node_manager_address: String,
    #[serde(default, deserialize_with = "lean::text::<_, 32>")]
    state: String,
    /// Absent in Ray 2.46, where agents use the default port.
    #[serde(default = "usual_agent_port", deserialize_with = "wire::port")]
    dashboard_agent_listen_port: Option<u16>,
    #[serde(default, deserialize_with = "wire::port")]
    metrics_export_port: Option<u16>,
}

#[expect(clippy::unnecessary_wraps, reason = "the type of the field whose default it is")]
fn usual_agent_port() -> Option<u16> {
    Some(AGENT_PORT)
}

impl Dashboard {
    /// The machines of all nodes. Ray's answer is up to 2 s old and takes about 10 KB per node.
    pub async fn node_summaries(&self) -> Result<Vec<NodeSummary>, CallError> {
        let reply: Reply = self.0.get("/nodes?view=summary", longest::ENVIRONMENTS).await?;
        Ok(reply.data.summary.into_iter().map(NodeSummary::from).collect())
    }
}

impl NodeSummary {
    /// The endpoint of the node's agent. It gets no token, because its address comes from the dashboard.
    pub(super) fn agent(&self, of: &Endpoint) -> Option<Endpoint> {
        let base = base_of(&self.ip, self.agent_port?)?;
        Some(Endpoint { base, server: "agent", ..of.anonymous() })
    }
}

impl From<Entry> for NodeSummary {
    fn from(entry: Entry) -> Self {
        let raylet = entry.raylet;
        let bytes = |n: Option<&Picked<Number>>| n.and_then(|n| n.0.0).and_then(wire::bytes);
        Self {
            node_id: raylet.node_id,
            hostname: entry.hostname,
            ip: if entry.ip.is_empty() { raylet.node_manager_address } else { entry.ip },
            state: raylet.state,
            cpu_percent: entry.cpu,
            load: entry.load_avg.first().and_then(|load| load.minutes.first()).and_then(|minute| minute.0.0),
            memory_used: bytes(entry.mem.get(3)),
            memory_total: bytes(entry.mem.first()),
            agent_port: raylet.dashboard_agent_listen_port,
            metrics_port: raylet.metrics_export_port,
        }
    }
}
