//! What a map shows, as plain data: groups, their stages, the hosts of a stage with their ranks, and links. Made in `draw`, written by
//! the renderers; `-o json` is this.

use serde::Serialize;

/// A fleet.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Picture {
    pub(super) namespace: String,
    pub(super) fleet: String,
    pub(super) model: Option<String>,
    pub(super) groups: Vec<Group>,
    /// What is not known, and why.
    pub(super) unknown: Vec<String>,
}

/// One group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) phase: String,
    /// Tensor ranks of a stage, and stages, as far as known.
    pub(super) tensor: Option<u32>,
    pub(super) pipeline: Option<u32>,
    /// Data-parallel engines, with data parallelism.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<u32>,
    /// Ranks placed as planned, of all: `4/4`.
    pub(super) ranks: Option<String>,
    pub(super) stages: Vec<Stage>,
    /// From each stage to the next one.
    pub(super) links: Vec<Link>,
    /// Nodes of its pods that have no rank.
    pub(super) without_ranks: Vec<Host>,
    /// What needs attention.
    pub(super) troubles: Vec<String>,
}

/// One pipeline stage, with data parallelism of one engine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stage {
    /// Its data-parallel engine, with data parallelism.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<u32>,
    pub(super) number: u32,
    /// What it is called in the picture.
    #[serde(skip)]
    pub(super) name: String,
    pub(super) hosts: Vec<Host>,
}

/// A node as far as a stage is on it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Host {
    pub(super) node: String,
    pub(super) state: NodeState,
    /// The state in words, the end of a sentence about the node; empty if it is ready.
    pub(super) says: String,
    /// Its domains, from the inside out.
    pub(super) domains: Vec<Domain>,
    /// GPUs that the node has for pods.
    pub(super) gpus: Option<u64>,
    /// Their model.
    pub(super) gpu_model: Option<String>,
    /// Pods of the group on it.
    pub(super) pods: Vec<String>,
    /// GPUs that these ask for.
    pub(super) group_gpus: u32,
    /// One of them is the head.
    pub(super) has_head: bool,
    pub(super) ranks: Vec<Rank>,
    /// What links its GPUs: `NVLink` or `unknown`.
    pub(super) link: &'static str,
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum NodeState {
    /// It runs pods.
    Ready,
    /// It runs pods that must leave it: cordoned, tainted or being deleted.
    Leaving,
    /// Its kubelet is not ready or silent.
    NotReady,
    /// There is no such node.
    Gone,
    /// Nobody knows.
    Unknown,
}

impl NodeState {
    /// Whether what ran on it does not run any more, as far as is known.
    pub(super) fn is_down(self) -> bool {
        matches!(self, Self::NotReady | Self::Gone)
    }
}

/// A part of the topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Domain {
    /// `rack`, `zone` or the label.
    pub(super) level: String,
    pub(super) value: String,
}

/// One rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rank {
    pub(super) number: u32,
    pub(super) tensor: u32,
    /// Its node is down, or has no pod of the group that runs.
    pub(super) is_lost: bool,
}

/// From one stage to the next, with data parallelism also from the last stage of an engine to the first of the next.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    pub(super) from: u32,
    pub(super) to: u32,
    /// Data-parallel engines of both, with data parallelism.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<(u32, u32)>,
    /// Whether it leaves the node.
    pub(super) is_network: bool,
    /// The innermost domain that both are in.
    pub(super) within: Option<Domain>,
    /// The outermost level on which they differ, if they are in none together.
    pub(super) crosses: Option<String>,
}

impl Group {
    /// The parallel sizes in words, as far as known.
    pub(super) fn shape(&self) -> Option<String> {
        let data = self.data.map_or_else(String::new, |data| format!("data {data} x "));
        let (tensor, pipeline) = self.tensor.zip(self.pipeline)?;
        Some(format!("{data}tensor {tensor} x pipeline {pipeline}"))
    }
}

impl Link {
    /// In a few words.
    pub(super) fn words(&self) -> String {
        match (&self.within, &self.crosses) {
            _ if !self.is_network => "inside the node".to_owned(),
            (Some(Domain { level, value }), _) => format!("network, same {level} {value}"),
            (None, Some(level)) => format!("network, another {level}"),
            (None, None) => "network".to_owned(),
        }
    }
}
