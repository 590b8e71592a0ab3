//! Shape × nodes → one node for each rank.
//!
//! A stage's tensor ranks talk in every layer and stay within one node; stages talk once per step. So the plan takes
//! the fewest nodes that hold all stages, and follows the topology order from stage to stage.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{RayNode, Shape};
use crate::NodeId;

/// Which GPUs of a node may be planned on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FreeGpus {
    /// Those that Ray reports as free; up to 5 s old, so a group that has just ended may still seem to hold them.
    #[default]
    Reported,
    /// All of them: for a cluster that runs nothing but this engine.
    All,
}

/// What guides a plan besides the shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Label whose values order the nodes, for example a rack or a switch; nodes without it come last.
    pub order_label: Option<String>,
    /// Which GPUs count.
    pub free: FreeGpus,
    /// Nodes to avoid, each by its id, address or name. They get ranks only where the others have no room;
    /// [`Placement::avoided`] tells whether it was so.
    pub avoid: BTreeSet<String>,
}

/// One rank and its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RankSlot {
    /// Rank in the engine, and index of its bundle in the placement group: `stage × tensor + tensor_rank`.
    pub rank: u32,
    /// Rank within its stage.
    pub tensor_rank: u32,
    /// Pipeline stage.
    pub stage: u32,
    /// Node by Ray's id.
    pub node_id: NodeId,
    /// Its address, for people.
    pub node_ip: String,
}

/// A whole plan. Its JSON is kept in the job's metadata, so it can be read back from Ray.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Shape it was made for.
    pub shape: Shape,
    /// Every rank, in rank order.
    pub ranks: Vec<RankSlot>,
    /// Node of the engine's API server: the head, also when it has no GPU.
    pub api_server_node: NodeId,
}

/// GPUs of one node, in an [`Unplaceable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeOn {
    /// Ray's name of the node.
    pub node: String,
    /// GPUs that may be planned on.
    pub free: u32,
    /// GPUs it has.
    pub total: u32,
}

/// The nodes cannot hold the shape; the text says so in numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Unplaceable {
    /// What was to be placed.
    pub shape: Shape,
    /// There is no living head node, so nowhere to run the API server.
    pub no_head: bool,
    /// Stages that would fit.
    pub stages_that_fit: u32,
    /// Living nodes in topology order.
    pub nodes: Vec<FreeOn>,
}

impl Policy {
    fn avoids(&self, node: &RayNode) -> bool {
        [node.id.as_str(), &node.ip, &node.name].iter().any(|name| self.avoid.contains(*name))
    }
}

impl Placement {
    /// Nodes that have ranks although the policy avoids them: there was no other way.
    pub fn avoided<'n>(&self, nodes: &'n [RayNode], policy: &Policy) -> Vec<&'n RayNode> {
        let has_ranks = |n: &RayNode| self.ranks.iter().any(|slot| slot.node_id == n.id);
        nodes.iter().filter(|n| policy.avoids(n) && has_ranks(n)).collect()
    }
}

/// Places every rank, or says what is missing. The same input gives the same plan whatever the order of `nodes`.
pub fn plan(shape: Shape, nodes: &[RayNode], policy: &Policy) -> Result<Placement, Unplaceable> {
    let mut order: Vec<&RayNode> = nodes.iter().filter(|n| n.alive).collect();
    order.sort_by_key(|n| {
        let label = policy.order_label.as_ref().and_then(|key| n.labels.get(key));
        (!n.is_head, label.is_none(), label, &n.name, &n.id)
    });
    let rooms: Vec<u32> = order.iter().map(|n| usable(n, policy.free) / shape.tensor()).collect();
    let avoids =
        |n: &RayNode| [n.id.as_str(), &n.ip, &n.name].iter().any(|name| policy.avoid.contains(*name));
    let others: Vec<u32> =
        order.iter().zip(&rooms).map(|(n, room)| if avoids(n) { 0 } else { *room }).collect();

    let head = order.first().filter(|n| n.is_head);
    let chosen = fewest(&others, shape.pipeline()).or_else(|| fewest(&rooms, shape.pipeline()));
    let (Some(head), Some(chosen)) = (head, chosen) else {
        return Err(Unplaceable {
            shape,
            no_head: head.is_none(),
            stages_that_fit: rooms.iter().fold(0, |sum, n| sum.saturating_add(*n)),
            nodes: order
                .iter()
                .map(|n| FreeOn { node: n.name.clone(), free: usable(n, policy.free), total: n.gpus_total })
                .collect(),
        });
    };

    let per_stage = chosen
        .into_iter()
        .filter_map(|i| Some((order.get(i)?, rooms.get(i)?)))
        .flat_map(|(node, room)| std::iter::repeat_n(*node, *room as usize));
    let ranks = (0..shape.pipeline())
        .zip(per_stage)
        .flat_map(|(stage, node)| (0..shape.tensor()).map(move |tensor_rank| (stage, tensor_rank, node)))
        .map(|(stage, tensor_rank, node)| RankSlot {
            rank: stage * shape.tensor() + tensor_rank,
            tensor_rank,
            stage,
            node_id: node.id.clone(),
            node_ip: node.ip.clone(),
        })
        .collect();
    Ok(Placement { shape, ranks, api_server_node: head.id.clone() })
}

fn usable(node: &RayNode, free: FreeGpus) -> u32 {
    match free {
        FreeGpus::Reported => node.gpus_free.min(node.gpus_total),
        FreeGpus::All => node.gpus_total,
    }
}

/// Indexes of the fewest nodes whose rooms hold `stages`; among several such sets the first in order.
fn fewest(rooms: &[u32], stages: u32) -> Option<Vec<usize>> {
    let largest = |rooms: &[u32], count: usize| -> u64 {
        let mut sorted = rooms.to_vec();
        sorted.sort_unstable_by_key(|room| Reverse(*room));
        sorted.iter().take(count).map(|room| u64::from(*room)).sum()
    };
    let count = (1..=rooms.len()).find(|count| largest(rooms, *count) >= u64::from(stages))?;

    let mut chosen = Vec::with_capacity(count);
    let mut held = 0;
    for (i, room) in rooms.iter().enumerate() {
        let rest = rooms.get(i + 1..).unwrap_or_default();
        let still_to_choose = count - chosen.len();
        if still_to_choose == 0 {
            break;
        }
        let with_this = held + u64::from(*room);
        if with_this + largest(rest, still_to_choose - 1) >= u64::from(stages) {
            chosen.push(i);
            held = with_this;
        }
    }
    Some(chosen)
}

impl fmt::Display for Unplaceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes.is_empty() {
            return write!(f, "{}: no Ray node is alive", self.shape);
        }
        if self.no_head {
            return write!(f, "{}: none of {} living Ray nodes is the head", self.shape, self.nodes.len());
        }
        let (tensor, pipeline) = (self.shape.tensor(), self.shape.pipeline());
        write!(f, "{} needs ", self.shape)?;
        match pipeline {
            1 => write!(f, "1 node with {tensor} free GPUs")?,
            _ => write!(f, "{pipeline} nodes with {tensor} free GPUs each")?,
        }
        f.write_str("; free:")?;
        for (i, node) in self.nodes.iter().take(16).enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma} {} {}", node.node, node.free)?;
            if node.free != node.total {
                write!(f, " of {}", node.total)?;
            }
        }
        if self.nodes.len() > 16 {
            write!(f, " and {} more nodes", self.nodes.len() - 16)?;
        }
        if self.stages_that_fit > 0 {
            write!(f, " (room for {} of {pipeline} stages)", self.stages_that_fit)?;
        }
        Ok(())
    }
}
