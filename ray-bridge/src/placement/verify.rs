//! Plan against report: every way in which they differ, each in words.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Placement, RankName, RankSlot};
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

/// What Ray reports of one engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    /// `None` if there is no group of the engine's name.
    pub group: Option<GroupState>,
    /// Bundles of that group.
    pub bundles: Vec<ReportedBundle>,
    /// Rank actors in that group.
    pub ranks: Vec<ReportedRank>,
}

/// One difference between plan and report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// There is no placement group.
    NoGroup,
    /// The group is not in the state `Created`.
    GroupNotCreated(GroupState),
    /// A bundle is on another node, or on none.
    BundleElsewhere {
        /// What was planned.
        planned: RankSlot,
        /// Where it is.
        actual: Option<NodeId>,
    },
    /// No actor carries this rank's name.
    RankMissing(RankSlot),
    /// The actor is not up yet.
    RankStarting(RankSlot),
    /// The actor died.
    RankDead {
        /// Which.
        planned: RankSlot,
        /// Ray's words.
        cause: String,
    },
    /// The actor lives on another node.
    RankElsewhere {
        /// What was planned.
        planned: RankSlot,
        /// Where it is.
        actual: Option<NodeId>,
    },
    /// Several living actors carry this rank's name.
    RankTwice(RankSlot),
    /// A living actor carries a name that the plan does not have.
    RankUnplanned(RankName),
}

/// Compares; an empty answer means that every rank lives on the node meant for it.
pub fn verify(plan: &Placement, seen: &Reported) -> Vec<Difference> {
    let mut differences = Vec::new();
    match &seen.group {
        None => differences.push(Difference::NoGroup),
        Some(GroupState::Created) => {}
        Some(other) => differences.push(Difference::GroupNotCreated(other.clone())),
    }
    for slot in &plan.ranks {
        if seen.group.is_some() {
            differences.extend(bundle_difference(slot, &seen.bundles));
        }
        differences.extend(rank_difference(slot, &seen.ranks));
    }
    for rank in &seen.ranks {
        let planned = plan.ranks.iter().any(|slot| is_of(rank, slot));
        if !planned && rank.life == Life::Alive {
            differences.push(Difference::RankUnplanned(rank.name));
        }
    }
    differences
}

fn bundle_difference(slot: &RankSlot, bundles: &[ReportedBundle]) -> Option<Difference> {
    let actual = bundles.iter().find(|b| b.index == slot.rank).and_then(|b| b.node_id.clone());
    (actual.as_ref() != Some(&slot.node_id))
        .then(|| Difference::BundleElsewhere { planned: slot.clone(), actual })
}

/// A rank that was started again leaves its dead actors listed, so the liveliest one counts.
fn rank_difference(slot: &RankSlot, ranks: &[ReportedRank]) -> Option<Difference> {
    let planned = slot.clone();
    let mut alive = ranks.iter().filter(|r| is_of(r, slot) && r.life == Life::Alive);
    if let Some(rank) = alive.next() {
        return if alive.next().is_some() {
            Some(Difference::RankTwice(planned))
        } else if rank.node_id.as_ref() == Some(&slot.node_id) {
            None
        } else {
            Some(Difference::RankElsewhere { planned, actual: rank.node_id.clone() })
        };
    }
    let rest = || ranks.iter().filter(|r| is_of(r, slot));
    if rest().any(|r| r.life == Life::Starting) {
        return Some(Difference::RankStarting(planned));
    }
    match rest().next_back() {
        Some(ReportedRank { life: Life::Dead(cause), .. }) => {
            Some(Difference::RankDead { planned, cause: cause.clone() })
        }
        _ => Some(Difference::RankMissing(planned)),
    }
}

fn is_of(rank: &ReportedRank, slot: &RankSlot) -> bool {
    rank.name == RankName { tensor_rank: slot.tensor_rank, stage: slot.stage }
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

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = |id: &Option<NodeId>| id.as_ref().map_or("no node".to_owned(), |id| format!("node {id}"));
        match self {
            Self::NoGroup => f.write_str("there is no placement group of the engine's name"),
            Self::GroupNotCreated(state) => write!(f, "the placement group is {state}"),
            Self::BundleElsewhere { planned, actual } => {
                write!(f, "bundle {} is on {}, planned {}", planned.rank, node(actual), place(planned))
            }
            Self::RankMissing(slot) => write!(f, "{} has no actor", who(slot)),
            Self::RankStarting(slot) => write!(f, "{} is starting", who(slot)),
            Self::RankDead { planned, cause } => write!(f, "{} is dead: {cause}", who(planned)),
            Self::RankElsewhere { planned, actual } => {
                write!(f, "{} is on {}, planned {}", who(planned), node(actual), place(planned))
            }
            Self::RankTwice(slot) => write!(f, "{} has several living actors", who(slot)),
            Self::RankUnplanned(name) => {
                write!(f, "a rank TP{} PP{} lives that the plan does not have", name.tensor_rank, name.stage)
            }
        }
    }
}

fn who(slot: &RankSlot) -> String {
    format!("rank {} (TP{} PP{})", slot.rank, slot.tensor_rank, slot.stage)
}

fn place(slot: &RankSlot) -> String {
    format!("node {} ({})", slot.node_id, slot.node_ip)
}
