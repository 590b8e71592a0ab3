//! What a node's agent reports of its machine. Free GPUs are not in it.

use serde::Deserialize;
use url::Url;

use super::{Dashboard, wire};
use crate::NodeId;
use crate::http::{CallError, Endpoint};

/// A node's machine, as its agent measured it a few seconds ago. Of a dead node Ray keeps only its name and address.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSummary {
    /// Id of this incarnation.
    pub node_id: NodeId,
    /// Host name.
    pub hostname: String,
    /// Address.
    pub ip: String,
    /// `ALIVE` or `DEAD`.
    pub state: String,
    /// Use of all processors, in percent.
    pub cpu_percent: Option<f64>,
    /// Load of the last minute.
    pub load: Option<f64>,
    /// Memory in use, in bytes.
    pub memory_used: Option<u64>,
    /// Memory in all, in bytes.
    pub memory_total: Option<u64>,
    /// HTTP port of the node's agent; `None` if it has none.
    pub agent_port: Option<u16>,
    /// Port of the node's own metrics; `None` if it has none.
    pub metrics_port: Option<u16>,
}

#[derive(Deserialize)]
struct Reply {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    summary: Vec<Entry>,
}

/// Ray turns the keys of this reply into camel case, those of resources and labels too; none of these is read here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default, deserialize_with = "wire::or_default")]
    hostname: String,
    #[serde(default, deserialize_with = "wire::or_default")]
    ip: String,
    #[serde(default)]
    cpu: Option<f64>,
    /// All, available, percent, used.
    #[serde(default, deserialize_with = "wire::or_default")]
    mem: Vec<f64>,
    /// Of 1, 5 and 15 minutes; then the same per processor.
    #[serde(default, deserialize_with = "wire::or_default")]
    load_avg: Vec<Vec<f64>>,
    raylet: Raylet,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raylet {
    node_id: NodeId,
    #[serde(default, deserialize_with = "wire::or_default")]
    node_manager_address: String,
    #[serde(default, deserialize_with = "wire::or_default")]
    state: String,
    /// Absent in Ray 2.46, where agents are left on the usual port.
    #[serde(default = "usual_agent_port", deserialize_with = "wire::port")]
    dashboard_agent_listen_port: Option<u16>,
    #[serde(default, deserialize_with = "wire::port")]
    metrics_export_port: Option<u16>,
}

#[expect(clippy::unnecessary_wraps, reason = "the type of the field whose default it is")]
fn usual_agent_port() -> Option<u16> {
    Some(52365)
}

impl Dashboard {
    /// All nodes' machines. Ray answers from what it has kept for up to 2 s, with about 10 KB a node.
    pub async fn node_summaries(&self) -> Result<Vec<NodeSummary>, CallError> {
        let reply: Reply = self.0.get("/nodes?view=summary").await?;
        Ok(reply.data.summary.into_iter().map(NodeSummary::from).collect())
    }
}

impl NodeSummary {
    /// Where the node's agent answers.
    pub(super) fn agent(&self, of: &Endpoint) -> Option<Endpoint> {
        let host = if self.ip.contains(':') { format!("[{}]", self.ip) } else { self.ip.clone() };
        let base = Url::parse(&format!("http://{host}:{}", self.agent_port?)).ok()?;
        Some(Endpoint { base, server: "agent", ..of.clone() })
    }
}

impl From<Entry> for NodeSummary {
    fn from(entry: Entry) -> Self {
        let raylet = entry.raylet;
        let bytes = |n: Option<&f64>| n.copied().and_then(wire::bytes);
        Self {
            node_id: raylet.node_id,
            hostname: entry.hostname,
            ip: if entry.ip.is_empty() { raylet.node_manager_address } else { entry.ip },
            state: raylet.state,
            cpu_percent: entry.cpu,
            load: entry.load_avg.first().and_then(|minutes| minutes.first()).copied(),
            memory_used: bytes(entry.mem.get(3)),
            memory_total: bytes(entry.mem.first()),
            agent_port: raylet.dashboard_agent_listen_port,
            metrics_port: raylet.metrics_export_port,
        }
    }
}
