//! What came of a run.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::divergence::History;
use super::faults::{Plan, Written};
use super::rights::Right;
use super::trace::{self, Line};

/// Requests of the load, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered in full.
    pub answered: u32,
    /// Ended by the death of what answered them.
    pub died: u32,
    /// Cut off although nothing had died.
    pub cut_off: u32,
    /// Refused by an address that the Service had.
    pub refused: u32,
}

/// A run and how it went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Name of the scenario.
    pub scenario: String,
    /// Seed of the world.
    pub seed: u64,
    /// Faults.
    pub plan: Plan,
    /// What was wrong with it; nothing, if all was well.
    pub failures: Vec<String>,
    /// Writes of the orchestrator, leases and trials left out.
    pub writes: Vec<Written>,
    /// Events of watches that it was sent.
    pub events: u64,
    /// Its calls to the API server.
    pub calls: u64,
    /// Rights that it used.
    pub used: BTreeSet<Right>,
    /// Requests.
    pub tally: Tally,
    /// Groups that were made.
    pub groups: usize,
    /// How it ended, without what differs from run to run for no reason that matters.
    pub end: Value,
    /// Phases of groups and steps of the rollout.
    pub history: History,
    /// Simulated time that it took.
    pub took: Duration,
    /// What happened.
    pub lines: Vec<Line>,
}

impl Report {
    /// The command that plays it again.
    pub fn command(&self, file: &str) -> String {
        let faults = if self.plan.0.is_empty() { String::new() } else { format!(" --faults {}", self.plan) };
        format!("cargo run -p rayfleet-sim --bin rayfleet-sim -- run {file} --seed {}{faults}", self.seed)
    }

    /// What was wrong, the whole trace, and how to see it again.
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
