//! The only place that reads a clock. Everything else is handed the time.

use std::time::Instant;

use jiff::Timestamp;

/// The time of day, for what is written into objects.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A clock that never goes back, for leases and delays: the one that tokio's timers run by.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn monotonic() -> Instant {
    tokio::time::Instant::now().into_std()
}
