//! Time of day in objects: a fixed epoch plus the time that tokio's clock, usually paused, has run. Only
//! this module reads the clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// 2030-01-01T00:00:00Z.
const EPOCH: i64 = 1_893_456_000;

/// The clock of one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started: instant() }
    }

    pub(super) fn now(self) -> Timestamp {
        let passed = SignedDuration::try_from(instant().duration_since(self.started)).unwrap_or_default();
        Timestamp::from_second(EPOCH).unwrap_or_default().checked_add(passed).unwrap_or(Timestamp::MAX)
    }
}

/// The present instant, for timers.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub(super) fn instant() -> Instant {
    Instant::now()
}

/// A time in the format of object fields: whole seconds.
pub(super) fn stamp(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// The time `seconds` later, in the same format.
pub(super) fn stamp_after(time: Timestamp, seconds: u64) -> String {
    let later = SignedDuration::try_from(Duration::from_secs(seconds)).unwrap_or_default();
    stamp(time.checked_add(later).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_day_starts_fixed_and_follows_the_paused_clock() {
        let clock = Clock::start();
        assert_eq!(stamp(clock.now()), "2030-01-01T00:00:00Z");
        tokio::time::sleep(Duration::from_millis(90_500)).await;
        assert_eq!(stamp(clock.now()), "2030-01-01T00:01:30Z");
        assert_eq!(stamp_after(clock.now(), 30), "2030-01-01T00:02:00Z");
    }
}
