//! The simulated time: tokio's paused clock, counted from the start of the world.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// 2030-01-01T00:00:00Z, the start of the world.
const EPOCH_SECONDS: i64 = 1_893_456_000;

/// Reads tokio's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the clock module")]
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    /// Time since the start of the world.
    #[expect(clippy::disallowed_methods, reason = "the clock module")]
    pub(super) fn now(self) -> Duration {
        Instant::now().saturating_duration_since(self.0)
    }

    /// The tokio instant at time `at`.
    pub(super) fn instant(self, at: Duration) -> Instant {
        self.0 + at
    }
}

/// The time of day at time `at`.
pub(super) fn timestamp(at: Duration) -> Timestamp {
    Timestamp::from_second(EPOCH_SECONDS)
        .ok()
        .and_then(|epoch| epoch.checked_add(at).ok())
        .unwrap_or(Timestamp::MAX)
}

/// The time of day at time `at`, in milliseconds since 1970, as Ray writes it.
pub(super) fn millis(at: Duration) -> i64 {
    timestamp(at).as_millisecond()
}
