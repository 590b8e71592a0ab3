//! Short retries of idempotent reads; nothing else may use `backoff`, and nothing here knows about HTTP.
//!
//! `backoff` is unmaintained (RUSTSEC-2025-0012). It is kept because the project promised it, is used for one pure
//! computation (the next jittered pause), and can be replaced in this file alone.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// How often and how far apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Further tries after the first.
    pub(crate) retries: u32,
    /// Pause before the first retry, ±50 %; doubles each time.
    pub(crate) first_pause: Duration,
}

/// The pauses before each further try; ends when the retries are used up.
///
/// An iterator and no function that takes the call: the future of a borrowing async closure is not known to be `Send`.
pub(crate) struct Pauses {
    backoff: ExponentialBackoff,
    left: u32,
    otherwise: Duration,
}

impl Pauses {
    /// The pauses of a policy.
    pub(crate) fn new(policy: Policy) -> Self {
        let backoff = ExponentialBackoff {
            initial_interval: policy.first_pause,
            current_interval: policy.first_pause,
            multiplier: 2.0,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { backoff, left: policy.retries, otherwise: policy.first_pause }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        Some(self.backoff.next_backoff().unwrap_or(self.otherwise))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let policy = Policy { retries: 3, first_pause: Duration::from_millis(100) };
        let pauses: Vec<u128> = Pauses::new(policy).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses.len(), 3);
        for (pause, around) in pauses.iter().zip([100, 200, 400]) {
            assert!((around / 2..=around * 3 / 2).contains(pause), "{pauses:?}");
        }
    }

    #[test]
    fn no_retries_no_pauses() {
        assert_eq!(Pauses::new(Policy { retries: 0, first_pause: Duration::ZERO }).next(), None);
    }
}
