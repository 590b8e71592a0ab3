//! Clock access of this crate. Nothing else in it reads a clock.

use std::time::Instant;

use jiff::Timestamp;

/// The present instant.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn instant() -> Instant {
    Instant::now()
}

/// Seconds since `start`.
pub fn seconds_since(start: Instant) -> f64 {
    instant().saturating_duration_since(start).as_secs_f64()
}

/// Seconds since a moment that another program on this machine recorded.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn seconds_since_time(time: Timestamp) -> f64 {
    Timestamp::now().duration_since(time).as_secs_f64()
}
