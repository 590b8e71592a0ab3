//! The distance between the stages of a plan, for people and for comparing plans.

use std::collections::HashMap;

use super::topology::Topology;
use super::{Placement, Policy, RayNode};
use crate::NodeId;

/// The distance from one stage to the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    /// Within a unit: a node, or a domain of the policy's `tensor_domain`.
    Free,
    /// Within a domain of a level, such as one rack.
    Within {
        /// Name of the level.
        level: String,
        /// The domain's label value.
        domain: String,
        /// 2ⁿ for the nᵗʰ level from the inside.
        cost: u64,
    },
    /// Between nodes that share no level.
    Beyond {
        /// 2ⁿ for n levels.
        cost: u64,
    },
}

impl Hop {
    /// The cost that the planner counts.
    pub fn cost(&self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Within { cost, .. } | Self::Beyond { cost } => *cost,
        }
    }
}

/// The hops of a plan from each stage to the next one. Empty if a node of the plan is not
/// in `nodes`, is dead, or is excluded by the policy.
pub fn hops(placement: &Placement, nodes: &[RayNode], policy: &Policy) -> Vec<Hop> {
    let tree = Topology::new(nodes, policy);
    let units: HashMap<&NodeId, usize> = tree.members.iter().map(|m| (&m.node.id, m.unit)).collect();
    let first_ranks = placement.ranks.iter().step_by(placement.shape.tensor() as usize);
    let Some(stages) = first_ranks.map(|slot| units.get(&slot.node_id).copied()).collect::<Option<Vec<_>>>()
    else {
        return Vec::new();
    };
    let hop = |from: usize, to: usize| {
        if from == to {
            return Hop::Free;
        }
        let common = tree.common(from, to);
        let cost = u64::try_from(common.hop()).unwrap_or_default();
        match policy.levels.get(common.level) {
            Some(level) => Hop::Within { level: level.name.clone(), domain: common.value.to_owned(), cost },
            None => Hop::Beyond { cost },
        }
    };
    stages.windows(2).filter_map(|pair| Some(hop(*pair.first()?, *pair.last()?))).collect()
}
