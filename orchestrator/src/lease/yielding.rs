//! When a leader that hears no pod gives its lease back, so that a replica that may hear them leads. Pure: no client, no clock.

use std::time::{Duration, Instant};

/// How long a leader is deaf before it gives its lease back for the first time.
const FIRST: Duration = Duration::from_secs(20);
/// The longest it ever waits: it doubles each time, since where all replicas are deaf nobody gains by it.
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
    /// Whether a leader that has been deaf for so long is to give its lease back now. If so, it is taken for done.
    pub(super) fn due(&mut self, deaf_for: Option<Duration>, now: Instant) -> bool {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        let Some(deaf_for) = deaf_for else {
            // What is left behind for long enough does not count any more.
            if since.is_some_and(|since| since >= LONGEST) {
                *self = Self::default();
            }
            return false;
        };
        if deaf_for.min(since.unwrap_or(deaf_for)) < self.patience {
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
    fn a_deaf_leader_gives_back_after_longer_and_longer_times() {
        let (start, mut yielding) = (clock::monotonic(), Yielding::default());
        let mut given = Vec::new();
        for second in 0..2400 {
            let deaf_for = Duration::from_secs(second);
            if yielding.due(Some(deaf_for), start + deaf_for) {
                given.push(second);
            }
        }
        assert_eq!(given, [20, 60, 140, 300, 620, 1220, 1820]);
    }

    #[test]
    fn who_hears_again_keeps_its_lease_and_forgets_only_after_a_while() {
        let (start, mut yielding) = (clock::monotonic(), Yielding::default());
        let after = |second| start + Duration::from_secs(second);
        let deaf = |second| Some(Duration::from_secs(second));
        assert!(!yielding.due(None, after(0)) && !yielding.due(deaf(19), after(19)));
        assert!(yielding.due(deaf(20), after(20)));
        assert!(yielding.leaves(after(34)) && !yielding.leaves(after(35)));
        assert!(
            !yielding.due(None, after(60)) && !yielding.due(deaf(20), after(90)),
            "a network that comes and goes"
        );
        assert!(!yielding.due(None, after(620)));
        assert!(yielding.due(deaf(20), after(700)));
    }
}
