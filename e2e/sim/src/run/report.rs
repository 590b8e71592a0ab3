//! The report of a run.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::divergence::History;
use super::faults::{Plan, Written};
use super::rights::Right;
use super::trace::{self, Line};

/// Number of requests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered in full.
    pub answered: u32,
    /// Ended by the death of the engine that answered them.
    pub died: u32,
    /// Cut off although no engine had died.
    pub cut_off: u32,
    /// Refused by an address of the Service.
    pub refused: u32,
}

/// A run and its outcome.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Name of the scenario.
    pub scenario: String,
    /// Seed of the simulated world.
    pub seed: u64,
    /// Faults.
    pub plan: Plan,
    /// What was wrong with it; empty if it passed.
    pub failures: Vec<String>,
    /// Writes of the orchestrator, without leases and dry runs.
    pub writes: Vec<Written>,
    /// Number of watch events that it was sent.
    pub events: u64,
    /// Number of its calls to the API server.
    pub calls: u64,
    /// Rights that it used.
    pub used: BTreeSet<Right>,
    /// Requests by outcome.
    pub tally: Tally,
    /// Number of groups created.
    pub groups: usize,
    /// Picture of the final state, without irrelevant differences between runs.
    pub end: Value,
    /// Phases of groups and steps of the rollout.
    pub history: History,
    /// Simulated duration.
    pub took: Duration,
    /// The trace.
    pub lines: Vec<Line>,
}

impl Report {
    /// The command that repeats the run.
    pub fn command(&self, file: &str) -> String {
        let faults = if self.plan.0.is_empty() { String::new() } else { format!(" --faults {}", self.plan) };
        format!("cargo run -p rayfleet-sim --bin rayfleet-sim -- run {file} --seed {}{faults}", self.seed)
    }

    /// The failures, the whole trace, and how to repeat the run.
    pub fn text(&self) -> String {
        let mut text = trace::text(&self.lines);
        let file = format!("e2e/sim/scenarios/{}.yaml", self.scenario);
        for failure in &self.failures {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "FAILED: {failure}");
        }
        let _ = writeln!(text, "again: {}", self.command(&file));
        text
    }
}
