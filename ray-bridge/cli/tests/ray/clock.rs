//! The only module of these tests that reads the clock.

use std::time::Instant;

use jiff::Timestamp;

/// Now.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Seconds since `start`.
pub(crate) fn seconds_since(start: Instant) -> f64 {
    instant().saturating_duration_since(start).as_secs_f64()
}

/// Seconds since a time that a program on this machine wrote.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub(crate) fn seconds_since_time(time: Timestamp) -> f64 {
    Timestamp::now().duration_since(time).as_secs_f64()
}
