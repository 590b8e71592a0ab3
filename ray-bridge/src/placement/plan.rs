//! Shape × nodes → one node for each rank.
//!
//! A stage's tensor ranks communicate in every layer and stay within one unit: a node, or a domain of the
//! policy's `tensor_domain`. A stage communicates once per step with the next one, so the distance of each
//! hop counts. The plan has the least cost of hops (see `choose`). The stages of data-parallel engines follow
//! each other as if they were one pipeline, so that their engines, whose experts are common, are near each other.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::choose::{Room, Rooms, choose};
use super::fill::{Free, fill};
use super::topology::{Topology, Unit};
use super::unplaceable::{FreeOn, Unplaceable};
use super::{Policy, RayNode, Shape};
use crate::NodeId;

/// One rank and its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RankSlot {
    /// Rank in the engine: `(data_rank × pipeline + stage) × tensor + tensor_rank`. Within its data-parallel engine
    /// it is the index of its bundle in that engine's placement group.
    pub rank: u32,
    /// Its data-parallel engine; `None` without data parallelism.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_rank: Option<u32>,
    /// Rank within its stage.
    pub tensor_rank: u32,
    /// Pipeline stage.
    pub stage: u32,
    /// Node by Ray's id.
    pub node_id: NodeId,
    /// Its address, for people.
    pub node_ip: String,
}

/// Who has a bundle and is no rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// The core of this data-parallel engine.
    Core(u32),
    /// The API server.
    Server,
}

/// The plan of a whole engine. Its JSON is stored in the job's metadata, so it can be read back from Ray.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The shape that it was made for.
    pub shape: Shape,
    /// Every rank, in rank order.
    pub ranks: Vec<RankSlot>,
    /// Node of the engine's API server: the head, even if it has no GPU.
    pub api_server_node: NodeId,
}

impl Placement {
    /// Bundles beside those of the ranks, from the index after these on: with data parallelism one for the core of
    /// each engine, on the node of its first rank; then one for an API server whose node has no ranks.
    pub(super) fn further_bundles(&self) -> Vec<(Holder, &NodeId)> {
        let each = self.shape.ranks_each() as usize;
        let first = self.ranks.iter().step_by(each.max(1));
        let cores = first.filter_map(|slot| Some((Holder::Core(slot.data_rank?), &slot.node_id)));
        let alone = self.ranks.iter().all(|slot| slot.node_id != self.api_server_node);
        cores.chain(alone.then_some((Holder::Server, &self.api_server_node))).collect()
    }

    /// Nodes that have ranks although the policy avoids them, because the others had no room.
    pub fn avoided<'n>(&self, nodes: &'n [RayNode], policy: &Policy) -> Vec<&'n RayNode> {
        let has_ranks = |n: &RayNode| self.ranks.iter().any(|slot| slot.node_id == n.id);
        nodes.iter().filter(|n| policy.avoids(n) && has_ranks(n)).collect()
    }

    /// For each rank the index of its GPU among those that the plan uses on its node, from 0. Ray chooses the
    /// device when it starts the rank.
    pub fn gpus(&self) -> Vec<u32> {
        let mut used: HashMap<&NodeId, u32> = HashMap::new();
        let mut next = |node| {
            let count = used.entry(node).or_default();
            *count += 1;
            *count - 1
        };
        self.ranks.iter().map(|slot| next(&slot.node_id)).collect()
    }
}

/// Places every rank, or says what is missing. The plan depends on the input only, not on the order of
/// `nodes`.
pub fn plan(shape: Shape, nodes: &[RayNode], policy: &Policy) -> Result<Placement, Unplaceable> {
    let tree = Topology::new(nodes, policy);
    let free: Vec<u32> = tree.members.iter().map(|member| policy.free_on(member.node)).collect();
    let head =
        nodes.iter().filter(|node| node.alive && node.is_head).min_by_key(|node| (&node.name, &node.id));
    let rooms: Vec<Rooms> = tree.units.iter().map(|unit| rooms_of(unit, &tree, &free, shape)).collect();
    let fit = rooms
        .iter()
        .filter_map(|rooms| rooms.rooms.last())
        .fold(0_u32, |sum, r| sum.saturating_add(r.stages));
    let Some(head) = head.filter(|_| fit >= shape.stages()) else {
        return Err(unplaceable(shape, nodes, policy, &tree, head.is_none(), fit));
    };

    let mut of_rank: Vec<usize> = Vec::with_capacity(shape.ranks() as usize);
    for part in choose(&tree, &rooms, shape.stages(), policy.strategy).unwrap_or_default() {
        let usable = usable(&tree.units[part.unit], &tree, &free, part.avoided);
        of_rank.extend(fill(usable, shape.tensor(), part.stages).into_iter().flatten());
    }
    let ranks = (0..shape.ranks()).zip(&of_rank).map(|(rank, member)| {
        let node = tree.members[*member].node;
        RankSlot {
            rank,
            data_rank: (shape.data() > 1).then(|| rank / shape.ranks_each()),
            tensor_rank: rank % shape.tensor(),
            stage: rank / shape.tensor() % shape.pipeline(),
            node_id: node.id.clone(),
            node_ip: node.ip.clone(),
        }
    });
    Ok(Placement { shape, ranks: ranks.collect(), api_server_node: head.id.clone() })
}

/// How many stages a unit can hold: without avoided nodes, then with the largest of them, and so on.
fn rooms_of(unit: &Unit<'_>, tree: &Topology<'_>, free: &[u32], shape: Shape) -> Rooms {
    let members = || unit.members.iter().copied();
    let sum = |gpus: u64| u32::try_from(gpus / u64::from(shape.tensor())).unwrap_or(u32::MAX);
    let mut gpus = members().filter(|m| !tree.members[*m].avoided).map(|m| u64::from(free[m])).sum::<u64>();
    let mut rooms = vec![Room { stages: sum(gpus), avoided: 0 }];
    for (avoided, member) in (1..).zip(to_avoid(unit, tree, free)) {
        gpus += u64::from(free[member]);
        rooms.push(Room { stages: sum(gpus), avoided });
    }
    // More room than all stages is not needed, and an avoided node that adds no room is not considered.
    rooms.dedup_by(|next, kept| next.stages == kept.stages || kept.stages >= shape.stages());
    rooms.retain(|room| room.stages > 0);
    Rooms { head: members().any(|m| tree.members[m].node.is_head), rooms }
}

/// Avoided nodes of a unit, those with the most GPUs first.
fn to_avoid(unit: &Unit<'_>, tree: &Topology<'_>, free: &[u32]) -> Vec<usize> {
    let mut found: Vec<usize> = unit.members.iter().copied().filter(|m| tree.members[*m].avoided).collect();
    found.sort_by_key(|m| std::cmp::Reverse(free[*m]));
    found
}

/// GPUs of a unit that a pipeline may use, including its first `avoided` avoided nodes.
fn usable(unit: &Unit<'_>, tree: &Topology<'_>, free: &[u32], avoided: u32) -> Vec<Free> {
    let good = unit.members.iter().copied().filter(|m| !tree.members[*m].avoided);
    let all = good.chain(to_avoid(unit, tree, free).into_iter().take(avoided as usize));
    all.map(|member| Free { member, gpus: free[member] }).collect()
}

fn unplaceable(
    shape: Shape,
    nodes: &[RayNode],
    policy: &Policy,
    tree: &Topology<'_>,
    no_head: bool,
    stages_that_fit: u32,
) -> Unplaceable {
    let on = |node: &RayNode, domain: Option<&str>| FreeOn {
        node: node.name.clone(),
        free: policy.free_on(node),
        total: node.gpus_total,
        domain: domain.map(str::to_owned),
    };
    let mut excluded: Vec<&RayNode> = nodes.iter().filter(|n| n.alive && policy.excludes(n)).collect();
    excluded.sort_by_key(|node| (&node.name, &node.id));
    let of_unit = |unit: &Unit<'_>| -> Vec<FreeOn> {
        unit.members.iter().map(|member| on(tree.members[*member].node, unit.value)).collect()
    };
    Unplaceable {
        shape,
        no_head,
        stages_that_fit,
        tensor_domain: policy.tensor_domain.clone(),
        nodes: tree.units.iter().flat_map(of_unit).collect(),
        excluded: excluded.into_iter().map(|node| on(node, None)).collect(),
    }
}
