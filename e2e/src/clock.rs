//! The only place of this crate that reads the clock. Everything else is given times or asks here.

use std::time::Instant;

use jiff::Timestamp;

/// Now.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn instant() -> Instant {
    Instant::now()
}

/// Seconds since `start`.
pub fn seconds_since(start: Instant) -> f64 {
    instant().saturating_duration_since(start).as_secs_f64()
}

/// Seconds since a moment that another program of this machine wrote down.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn seconds_since_time(time: Timestamp) -> f64 {
    Timestamp::now().duration_since(time).as_secs_f64()
}
