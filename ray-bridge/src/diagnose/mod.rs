//! What is wrong with a cluster and its engine, and what says so. The rules are pure: they take what a look found, what
//! earlier looks had found, and the time. Only `around` asks anybody, and only when the dashboard does not answer.

mod death;
mod history;
mod reachability;
mod rules;
#[cfg(test)]
mod tests;
mod unreachable;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::CallError;
use crate::observe::RayState;

pub use history::History;
pub use reachability::{HeadReachability, Port, Worker};
pub use rules::diagnose;

/// What is wrong. Of several troubles the one that explains the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind")]
pub enum Fault {
    /// Ranks died while their nodes live.
    RankDied {
        /// Which.
        ranks: Vec<u32>,
    },
    /// The engine's own processes died or gave up, and no rank before them.
    EngineDied,
    /// Nodes of the plan are gone, with their ranks.
    NodeLost {
        /// Ray's names of them.
        nodes: Vec<String>,
    },
    /// The head is gone, or has started again and forgotten everything.
    HeadLost,
    /// The dashboard does not answer. This says nothing about the engine.
    DashboardUnreachable {
        /// What is in between.
        because: Unreachable,
    },
    /// Requests wait, and the engine has made no step for too long.
    Hung {
        /// Since when.
        since: Timestamp,
    },
    /// Requests wait, and the engine has made no step for a while.
    Slow {
        /// Since when.
        since: Timestamp,
    },
    /// Ranks live elsewhere than planned.
    WrongPlacement,
    /// The nodes that live cannot hold the engine.
    NotEnoughNodes,
}

/// Why a dashboard does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Unreachable {
    /// The way to it.
    Network,
    /// Its process: dead, stopped, or too busy.
    Process,
    /// It answers, but not to us, or not as a dashboard does.
    Answer,
}

/// A trouble and what says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What is wrong.
    #[serde(flatten)]
    pub trouble: Fault,
    /// What was seen, for people; never empty.
    pub evidence: Vec<String>,
}

/// What one look found.
#[derive(Debug, Clone, Copy)]
pub enum Observation<'a> {
    /// Ray answered.
    Ray(&'a RayState),
    /// The dashboard did not; what else was tried.
    Nothing(&'a CallError, &'a HeadReachability),
}

/// How long an engine may stand still while requests wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallThresholds {
    /// Longer is [`Trouble::Hung`].
    pub hung_after: Duration,
    /// Longer is [`Trouble::Slow`].
    pub slow_after: Duration,
}

impl StallThresholds {
    /// An engine counts as slow after a quarter of the time after which it counts as hung.
    pub fn new(hung_after: Duration) -> Self {
        Self { hung_after, slow_after: hung_after / 4 }
    }
}

impl Fault {
    /// A name for scripts and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RankDied { .. } => "RankDied",
            Self::EngineDied => "EngineDied",
            Self::NodeLost { .. } => "NodeLost",
            Self::HeadLost => "HeadLost",
            Self::DashboardUnreachable { .. } => "DashboardUnreachable",
            Self::Hung { .. } => "Hung",
            Self::Slow { .. } => "Slow",
            Self::WrongPlacement => "WrongPlacement",
            Self::NotEnoughNodes => "NotEnoughNodes",
        }
    }

    /// What helps.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::RankDied { .. } | Self::EngineDied => "read its last lines (logs), then deploy it again",
            Self::NodeLost { .. } => {
                "deploy it again on the nodes that are left, or bring the lost ones back first"
            }
            Self::HeadLost => "start the head again, wait for its workers, then deploy again",
            Self::DashboardUnreachable { because: Unreachable::Network } => {
                "check the way to the head: routes, network policies, its power"
            }
            Self::DashboardUnreachable { because: Unreachable::Process } => {
                "look at the dashboard's process on the head, and at the head's memory; the engine may go on"
            }
            Self::DashboardUnreachable { because: Unreachable::Answer } => "check address and token",
            Self::Hung { .. } => {
                "look at the stacks of its ranks (py-spy dump), then stop it and deploy it again"
            }
            Self::Slow { .. } => "look at the load of its nodes and at its queue",
            Self::WrongPlacement => "stop it and deploy it again",
            Self::NotEnoughNodes => "add nodes, or give the model another parallelism",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| names.join(", ");
        match self {
            Self::RankDied { ranks } => {
                let s = if ranks.len() == 1 { "" } else { "s" };
                let ranks: Vec<String> = ranks.iter().map(u32::to_string).collect();
                write!(f, "rank{s} {} died", list(&ranks))
            }
            Self::EngineDied => f.write_str("the engine died"),
            Self::NodeLost { nodes } => {
                write!(f, "node{} {} lost", if nodes.len() == 1 { "" } else { "s" }, list(nodes))
            }
            Self::HeadLost => f.write_str("the head is lost"),
            Self::DashboardUnreachable { because } => {
                let because = match because {
                    Unreachable::Network => "the network",
                    Unreachable::Process => "its process",
                    Unreachable::Answer => "what it answers",
                };
                write!(f, "the dashboard is not reached because of {because}")
            }
            Self::Hung { since } => write!(f, "the engine hangs since {since:.0}"),
            Self::Slow { since } => write!(f, "the engine is slow: no step since {since:.0}"),
            Self::WrongPlacement => f.write_str("ranks are not where they were planned"),
            Self::NotEnoughNodes => f.write_str("not enough nodes"),
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.trouble, self.evidence.join("; "))
    }
}
