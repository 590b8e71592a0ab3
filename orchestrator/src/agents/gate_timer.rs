//! How long a group that could serve waits for its traffic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::assignment::Submission;
use crate::clock;

/// The moment at which a launch was first observed healthy, until its endpoint is open.
#[derive(Clone, Debug, Default)]
pub(crate) struct GateTimer(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    /// The launch that was healthy last: it waits once.
    of: Option<Submission>,
    since: Option<Instant>,
}

impl GateTimer {
    /// A launch is observed healthy; `waits`: its gate is not open yet.
    pub(super) fn healthy(&self, launch: &Submission, waits: bool, now: Instant) {
        let mut waiting = self.0.lock();
        if waiting.of.as_ref() != Some(launch) {
            *waiting = Waiting { of: Some(launch.clone()), since: waits.then_some(now) };
        }
    }

    /// Time since the engine was observed healthy; only once.
    pub(crate) fn take(&self) -> Option<Duration> {
        let since = self.0.lock().since.take()?;
        Some(clock::monotonic().saturating_duration_since(since))
    }
}
