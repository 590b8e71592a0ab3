//! The only place that reads a clock. Everything else is handed the time.

use std::time::Instant;

use jiff::Timestamp;

/// The time of day, for what is written into objects.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A clock that never goes back, for leases and delays.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}
