//! One difference between a report and its plan. Differences are found in `verify`.

use std::fmt;

use super::{ForeignActor, GroupState, RankName, RankSlot};
use crate::NodeId;

/// One difference between plan and report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// There is no placement group.
    NoGroup,
    /// The placement group is not in the state `Created`.
    GroupNotCreated(GroupState),
    /// A bundle is on another node than planned, or on none.
    BundleElsewhere {
        /// The planned node.
        planned: RankSlot,
        /// The actual node.
        actual: Option<NodeId>,
    },
    /// The bundle of an API server whose node has no ranks is on another node, or on none.
    ServerElsewhere {
        /// The planned node.
        planned: NodeId,
        /// The actual node.
        actual: Option<NodeId>,
    },
    /// The bundle of a data-parallel engine's core is on another node than that engine's first rank, or on none.
    CoreElsewhere {
        /// The engine.
        data_rank: u32,
        /// The planned node.
        planned: NodeId,
        /// The actual node.
        actual: Option<NodeId>,
    },
    /// The placement group has a bundle that the plan does not have.
    BundleUnplanned(u32),
    /// No actor has this rank's name.
    RankMissing(RankSlot),
    /// The actor is not running yet.
    RankStarting(RankSlot),
    /// The actor died.
    RankDead {
        /// The rank.
        planned: RankSlot,
        /// Ray's cause of death.
        cause: String,
    },
    /// The actor runs on another node.
    RankElsewhere {
        /// The planned node.
        planned: RankSlot,
        /// The actual node.
        actual: Option<NodeId>,
    },
    /// Several living actors have this rank's name.
    RankTwice(RankSlot),
    /// A living actor has a rank's name that the plan does not have.
    RankUnplanned(RankName),
    /// Another actor holds a rank's GPU.
    Foreign(ForeignActor),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = |id: &Option<NodeId>| id.as_ref().map_or("no node".to_owned(), |id| format!("node {id}"));
        match self {
            Self::NoGroup => f.write_str("there is no placement group of the engine's name"),
            Self::GroupNotCreated(state) => write!(f, "the placement group is {state}"),
            Self::BundleElsewhere { planned, actual } => {
                write!(f, "bundle {} is on {}, planned {}", planned.rank, node(actual), place(planned))
            }
            Self::ServerElsewhere { planned, actual } => {
                write!(f, "the API server's bundle is on {}, planned node {planned}", node(actual))
            }
            Self::CoreElsewhere { data_rank, planned, actual } => {
                write!(f, "the bundle of core DP{data_rank} is on {}, planned node {planned}", node(actual))
            }
            Self::BundleUnplanned(index) => {
                write!(f, "the placement group has a bundle {index} that the plan does not have")
            }
            Self::RankMissing(slot) => write!(f, "{} has no actor", who(slot)),
            Self::RankStarting(slot) => write!(f, "{} is starting", who(slot)),
            Self::RankDead { planned, cause } => write!(f, "{} is dead: {cause}", who(planned)),
            Self::RankElsewhere { planned, actual } => {
                write!(f, "{} is on {}, planned {}", who(planned), node(actual), place(planned))
            }
            Self::RankTwice(slot) => write!(f, "{} has several living actors", who(slot)),
            Self::RankUnplanned(name) => {
                let RankName { data_rank, tensor_rank, stage } = *name;
                write!(
                    f,
                    "a rank {} lives that the plan does not have",
                    coordinates(data_rank, tensor_rank, stage)
                )
            }
            Self::Foreign(ForeignActor { name, bundle, node_id }) => {
                write!(
                    f,
                    "actor {name} holds the GPU of bundle {bundle} on {}, but is no rank of the engine",
                    node(node_id)
                )
            }
        }
    }
}

fn who(slot: &RankSlot) -> String {
    format!("rank {} ({})", slot.rank, coordinates(slot.data_rank, slot.tensor_rank, slot.stage))
}

fn coordinates(data_rank: Option<u32>, tensor_rank: u32, stage: u32) -> String {
    let data = data_rank.map_or_else(String::new, |data_rank| format!("DP{data_rank} "));
    format!("{data}TP{tensor_rank} PP{stage}")
}

fn place(slot: &RankSlot) -> String {
    format!("node {} ({})", slot.node_id, slot.node_ip)
}
