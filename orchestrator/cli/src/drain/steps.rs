//! The steps of a wait: each is printed once, with the time that has passed.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_cli_kit::{CliError, Terminal, age, clock};

/// What was printed so far.
pub(super) struct Steps<'t> {
    terminal: &'t Terminal,
    start: Timestamp,
    last: String,
}

impl<'t> Steps<'t> {
    /// The wait begins.
    pub(super) fn new(terminal: &'t Terminal) -> Self {
        Self { terminal, start: clock::now(), last: String::new() }
    }

    /// Prints a step unless it was the last one.
    pub(super) fn step(&mut self, line: &str) -> Result<(), CliError> {
        if line != self.last {
            self.terminal.print(&format!("[{:>5}] {line}\n", self.spent()))?;
            line.clone_into(&mut self.last);
        }
        Ok(())
    }

    /// Prints the end.
    pub(super) fn done(&self, line: &str) -> Result<(), CliError> {
        self.terminal.print(&format!("{line} ({})\n", self.spent()))
    }

    /// The last step, on one line.
    pub(super) fn last(&self) -> String {
        self.last.replace(":\n  ", ": ").replace("\n  ", "; ")
    }

    fn spent(&self) -> String {
        age::since(Some(self.start), clock::now())
    }
}

/// What a wait says when its time is up.
pub(super) fn timed_out(limit: Duration, steps: &Steps<'_>, cure: impl Into<String>) -> CliError {
    CliError::failed(format!("timed out after {}: {}", age::span(limit), steps.last()), cure)
}
