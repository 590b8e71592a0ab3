//! How long a watch that failed waits before it is tried again. No randomness: one program has nobody to keep out of step
//! with, and a simulation has to be repeatable.

use std::time::{Duration, Instant};

use crate::clock;

/// First wait; doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(800);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// What goes well for so long has its failures behind it. A list that succeeds before its watch fails again has not.
const FORGIVEN: Duration = Duration::from_mins(2);

/// Waits that double.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    last: Option<(Duration, Instant)>,
}

impl Growing {
    /// How long to wait after a failure that comes now. Only time makes up for failures, not a success.
    pub(crate) fn wait(&mut self) -> Duration {
        let now = clock::monotonic();
        let again = self.last.filter(|(_, then)| now.saturating_duration_since(*then) < FORGIVEN);
        let wait = again.map_or(FIRST, |(wait, _)| wait.saturating_mul(2).min(LONGEST));
        self.last = Some((wait, now));
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(growing: &mut Growing, count: usize) -> Vec<u128> {
        (0..count).map(|_| growing.wait().as_millis()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_a_bound() {
        let mut growing = Growing::default();
        assert_eq!(waits(&mut growing, 7), [800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000]);
        assert_eq!(waits(&mut growing, 2), [30_000, 30_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_long_time_without_failures_makes_up_for_them() {
        let mut growing = Growing::default();
        waits(&mut growing, 2);
        assert_eq!(waits(&mut growing, 1), [3_200]);
        tokio::time::sleep(FORGIVEN).await;
        assert_eq!(waits(&mut growing, 1), [800]);
    }
}
