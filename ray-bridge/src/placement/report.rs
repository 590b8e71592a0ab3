//! What Ray reports of one engine, as verification wants it. Only the facts; they are judged in `verify`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::RankName;
use crate::NodeId;

/// State of the engine's placement group in Ray.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GroupState {
    /// Not yet placed; the text is Ray's reason, such as `NO_RESOURCES` or `INFEASIBLE`.
    Pending(String),
    /// Every bundle has its node.
    Created,
    /// A node of it died.
    Rescheduling,
    /// Gone with its job.
    Removed,
    /// A state this version does not know.
    Unknown(String),
}

/// One bundle as Ray reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedBundle {
    /// Index in the group; equal to the rank for the first ranks, one more may hold the API server.
    pub index: u32,
    /// Its node, `None` while it has none.
    pub node_id: Option<NodeId>,
}

/// Whether a rank's actor lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Not yet created, or being restarted.
    Starting,
    /// Running.
    Alive,
    /// Dead, with Ray's cause.
    Dead(String),
}

/// One rank actor as Ray reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedRank {
    /// What its name says.
    pub name: RankName,
    /// Its node, `None` while it has none.
    pub node_id: Option<NodeId>,
    /// Whether it lives.
    pub life: Life,
}

/// A living actor that holds the GPU of one of the engine's bundles without being one of its ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignActor {
    /// Its name, or its class if it has none.
    pub name: String,
    /// Bundle.
    pub bundle: u32,
    /// Its node, `None` while it has none.
    pub node_id: Option<NodeId>,
}

/// What Ray reports of one engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    /// `None` if there is no group of the engine's name.
    pub group: Option<GroupState>,
    /// Bundles of that group.
    pub bundles: Vec<ReportedBundle>,
    /// Rank actors in that group.
    pub ranks: Vec<ReportedRank>,
    /// Other actors in that group that take a rank's GPU.
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
