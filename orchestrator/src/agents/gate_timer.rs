//! How long a group that could serve waits for its traffic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock;

/// The moment at which the engine was first observed healthy, until its endpoint is open.
#[derive(Clone, Debug, Default)]
pub(crate) struct GateTimer(Arc<Mutex<Option<Instant>>>);

impl GateTimer {
    /// The engine is observed healthy.
    pub(super) fn begin(&self, now: Instant) {
        *self.0.lock() = Some(now);
    }

    /// Time since the engine was observed healthy; only once.
    pub(crate) fn take(&self) -> Option<Duration> {
        let since = self.0.lock().take()?;
        Some(clock::monotonic().saturating_duration_since(since))
    }
}
