//! What is wrong with a Ray cluster and its engine, and the evidence. The rules are pure: they take the
//! current observation, the history and the time. Only `reachability` does I/O, and only when the dashboard
//! does not answer.

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

/// What is wrong. If several faults apply, it is the one that explains the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind")]
pub enum Trouble {
    /// Ranks died while their nodes live.
    RankDied {
        /// The ranks.
        ranks: Vec<u32>,
    },
    /// The engine's own processes died or gave up, and no rank died before them.
    EngineDied,
    /// Nodes of the plan are gone, and their ranks with them.
    NodeLost {
        /// Ray's names of the nodes.
        nodes: Vec<String>,
    },
    /// The head is gone, or has restarted and lost its state.
    HeadLost,
    /// The dashboard does not answer. This says nothing about the engine.
    DashboardUnreachable {
        /// What blocks the way.
        because: Unreachable,
    },
    /// Requests wait, and the engine made no step for longer than `hung_after`.
    Hung {
        /// Since when.
        since: Timestamp,
    },
    /// Requests wait, and the engine made no step for longer than `slow_after`.
    Slow {
        /// Since when.
        since: Timestamp,
    },
    /// Ranks run on other nodes than planned.
    WrongPlacement,
    /// The living nodes cannot hold the engine.
    NotEnoughNodes,
}

/// Why a dashboard does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Unreachable {
    /// The network on the way to it.
    Network,
    /// Its process: dead, stopped, or too busy.
    Process,
    /// It answers, but refuses us or is not a dashboard.
    Answer,
}

/// A trouble and its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What is wrong.
    #[serde(flatten)]
    pub trouble: Trouble,
    /// The evidence, for people; never empty.
    pub evidence: Vec<String>,
}

/// The result of one observation.
#[derive(Debug, Clone, Copy)]
pub enum Observation<'a> {
    /// Ray answered.
    Ray(&'a RayState),
    /// The dashboard did not answer; the error, and what else was reachable.
    Nothing(&'a CallError, &'a HeadReachability),
}

/// How long an engine may make no step while requests wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallThresholds {
    /// A longer stall is [`Trouble::Hung`].
    pub hung_after: Duration,
    /// A longer stall is [`Trouble::Slow`].
    pub slow_after: Duration,
}

impl StallThresholds {
    /// Slow after a quarter of the time after which the engine counts as hung.
    pub fn new(hung_after: Duration) -> Self {
        Self { hung_after, slow_after: hung_after / 4 }
    }
}

impl Trouble {
    /// The trouble's name for scripts and metrics.
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

    /// What the reader can do about it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::RankDied { .. } | Self::EngineDied => "read its last lines (logs), then deploy it again",
            Self::NodeLost { .. } => {
                "deploy it again on the nodes that are left, or bring the lost ones back first"
            }
            Self::HeadLost => "start the head again, wait for its workers, then deploy again",
            Self::DashboardUnreachable { because: Unreachable::Network } => {
                "check the network to the head (routes, network policies), and its power"
            }
            Self::DashboardUnreachable { because: Unreachable::Process } => {
                "check the dashboard's process on the head, and the head's memory; the engine may still serve"
            }
            Self::DashboardUnreachable { because: Unreachable::Answer } => "check address and token",
            Self::Hung { .. } => {
                "dump the stacks of its ranks (py-spy dump), then stop it and deploy it again"
            }
            Self::Slow { .. } => "check the load of its nodes and its queue",
            Self::WrongPlacement => "stop it and deploy it again",
            Self::NotEnoughNodes => "add nodes, or give the model another parallelism",
        }
    }
}

impl fmt::Display for Trouble {
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
                    Unreachable::Answer => "its answer",
                };
                write!(f, "the dashboard is unreachable because of {because}")
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
