//! When a leader that cannot do its work gives its lease back, so that a replica that may be able to leads. Pure: no client, no clock.

use std::time::{Duration, Instant};

/// How long a leader is unable before it gives its lease back for the first time.
const FIRST: Duration = Duration::from_secs(20);
/// The longest it ever waits: it doubles each time, since where all replicas are unable nobody gains by it.
const LONGEST: Duration = Duration::from_mins(10);
/// For so long others may take what was given back: each looks every two seconds.
pub(super) const LEFT: Duration = Duration::from_secs(15);

/// What a replica remembers of the leases that it gave back.
#[derive(Debug)]
pub(super) struct Yielding {
    patience: Duration,
    last: Option<Instant>,
}

impl Default for Yielding {
    fn default() -> Self {
        Self { patience: FIRST, last: None }
    }
}

impl Yielding {
    /// Whether a leader that has been unable for so long is to give its lease back now. If so, it is taken for done.
    pub(super) fn due(&mut self, unable_for: Option<Duration>, now: Instant) -> bool {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        let Some(unable_for) = unable_for else {
            // What is left behind for long enough does not count any more.
            if since.is_some_and(|since| since >= LONGEST) {
                *self = Self::default();
            }
            return false;
        };
        if unable_for.min(since.unwrap_or(unable_for)) < self.patience {
            return false;
        }
        self.patience = (2 * self.patience).min(LONGEST);
        self.last = Some(now);
        true
    }

    /// Whether the lease is left to others.
    pub(super) fn leaves(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) < LEFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn an_unable_leader_gives_back_after_longer_and_longer_times() {
        let (start, mut yielding) = (clock::monotonic(), Yielding::default());
        let mut given = Vec::new();
        for second in 0..2400 {
            let unable_for = Duration::from_secs(second);
            if yielding.due(Some(unable_for), start + unable_for) {
                given.push(second);
            }
        }
        assert_eq!(given, [20, 60, 140, 300, 620, 1220, 1820]);
    }

    #[test]
    fn a_replica_that_recovers_keeps_its_lease_and_forgets_after_a_while() {
        let (start, mut yielding) = (clock::monotonic(), Yielding::default());
        let after = |second| start + Duration::from_secs(second);
        let unable = |second| Some(Duration::from_secs(second));
        assert!(!yielding.due(None, after(0)) && !yielding.due(unable(19), after(19)));
        assert!(yielding.due(unable(20), after(20)));
        assert!(yielding.leaves(after(34)) && !yielding.leaves(after(35)));
        assert!(
            !yielding.due(None, after(60)) && !yielding.due(unable(20), after(90)),
            "a network that comes and goes"
        );
        assert!(!yielding.due(None, after(620)));
        assert!(yielding.due(unable(20), after(700)));
    }
}
