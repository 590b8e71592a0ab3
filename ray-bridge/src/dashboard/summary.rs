//! What a node's agent reports of its machine. Free GPUs are not in it.

use serde::Deserialize;

use super::{Dashboard, wire};
use crate::http::{CallError, Endpoint, longest};
use crate::lean::{self, Number, Picked};
use crate::{NodeId, base_of};

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
    #[serde(deserialize_with = "lean::list::<_, _, 4096>")]
    summary: Vec<Entry>,
}

/// Ray turns the keys of this reply into camel case, those of resources and labels too; none of these is read here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default, deserialize_with = "lean::text::<_, 256>")]
    hostname: String,
    #[serde(default, deserialize_with = "lean::text::<_, 64>")]
    ip: String,
    #[serde(default, deserialize_with = "lean::number")]
    cpu: Option<f64>,
    /// All, available, percent, used.
    #[serde(default, deserialize_with = "lean::first::<_, _, 4>")]
    mem: Vec<Picked<Number>>,
    /// Of 1, 5 and 15 minutes; then the same per processor.
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
        let reply: Reply = self.0.get("/nodes?view=summary", longest::ENVIRONMENTS).await?;
        Ok(reply.data.summary.into_iter().map(NodeSummary::from).collect())
    }
}

impl NodeSummary {
    /// Where the node's agent answers. The dashboard named the address, so it gets no token.
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
