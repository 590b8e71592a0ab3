//! The trace of a run, line by line, for people. Two runs with the same seed have the same lines.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Time since the start.
    pub at: Duration,
    /// Who did it.
    pub who: String,
    /// What happened.
    pub what: String,
}

/// The lines of a run.
#[derive(Clone, Debug)]
pub struct Trace {
    started: Instant,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Trace {
    /// An empty trace.
    #[allow(clippy::disallowed_methods, reason = "time is simulated here")]
    pub fn begin() -> Self {
        Self { started: Instant::now(), lines: Arc::default() }
    }

    /// Time since the start.
    #[allow(clippy::disallowed_methods, reason = "time is simulated here")]
    pub fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.started)
    }

    /// Adds a line.
    pub fn add(&self, who: &str, what: String) {
        let line = Line { at: self.now(), who: who.to_owned(), what };
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Lines as text.
pub fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { at, who, what } in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:>9.3}s  {who:<8} {what}", at.as_secs_f64());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_has_time_actor_and_action() {
        let trace = Trace::begin();
        tokio::time::sleep(Duration::from_millis(1_250)).await;
        trace.add("a1", "create RayCluster x".to_owned());
        assert_eq!(text(&trace.lines()), "    1.250s  a1       create RayCluster x\n");
    }
}
