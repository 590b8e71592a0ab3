//! What Ray reports about one engine, in the form that `verify` compares. No conclusions here.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::RankName;
use crate::NodeId;

/// State of the engine's placement group in Ray.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GroupState {
    /// Not placed yet; the text is Ray's reason, such as `NO_RESOURCES` or `INFEASIBLE`.
    Pending(String),
    /// Every bundle has a node.
    Created,
    /// One of its nodes died.
    Rescheduling,
    /// Removed with its job.
    Removed,
    /// A state that this version does not know.
    Unknown(String),
}

/// One bundle as Ray reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedBundle {
    /// Index; equal to the rank for the first ones, then those that are no rank's: with data parallelism one for
    /// the core of each engine, and one more may belong to the API server.
    pub index: u32,
    /// Its node; `None` while it has none.
    pub node_id: Option<NodeId>,
}

/// Whether a rank's actor is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Not created yet, or restarting.
    Starting,
    /// Running.
    Alive,
    /// Dead, with Ray's cause.
    Dead(String),
}

/// One rank actor as Ray reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedRank {
    /// The content of its name.
    pub name: RankName,
    /// Its node; `None` while it has none.
    pub node_id: Option<NodeId>,
    /// Whether it is alive.
    pub life: Life,
}

/// A living actor that holds the GPU of one of the engine's bundles and is not one of its ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignActor {
    /// Its name, or its class if it has none.
    pub name: String,
    /// The bundle.
    pub bundle: u32,
    /// Its node; `None` while it has none.
    pub node_id: Option<NodeId>,
}

/// What Ray reports of one engine. With data parallelism each of its engines has a placement group; here they
/// are one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    /// `None` if there is no placement group of the engine's name.
    pub group: Option<GroupState>,
    /// Bundles of that placement group.
    pub bundles: Vec<ReportedBundle>,
    /// Rank actors in that placement group.
    pub ranks: Vec<ReportedRank>,
    /// Other actors in that placement group that hold a rank's GPU.
    pub foreign: Vec<ForeignActor>,
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending(why) if why.is_empty() => f.write_str("pending"),
            Self::Pending(why) => write!(f, "pending ({why})"),
            Self::Created => f.write_str("created"),
            Self::Rescheduling => f.write_str("rescheduling: a node of it died"),
            Self::Removed => f.write_str("removed"),
            Self::Unknown(state) => write!(f, "{state}"),
        }
    }
}
