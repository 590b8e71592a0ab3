//! Pauses between retries of idempotent reads; the only user of `backoff`. HTTP does not belong here.
//!
//! `backoff` is unmaintained (RUSTSEC-2025-0012). It is kept because the project promised it; it is used for
//! two pure computations (the growth of pauses and their jitter), and can be replaced in this file alone.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// Jitter goes up and down by this fraction.
const SPREAD: f64 = 0.5;

/// Number of retries, and the pauses between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Retries after the first try.
    pub(crate) retries: u32,
    /// Pause before the first retry, before jitter; doubles with each retry.
    pub(crate) first_pause: Duration,
}

/// The pause before each retry; ends when the retries are used up. The caller adds jitter.
///
/// An iterator, not a function that takes the call: the future of a borrowing async closure is not known to
/// be `Send`.
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
            randomization_factor: 0.0,
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

/// A random factor around 1.
pub(crate) fn jitter() -> f64 {
    let unit = Duration::from_secs(1);
    let mut backoff = ExponentialBackoff {
        initial_interval: unit,
        current_interval: unit,
        randomization_factor: SPREAD,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    backoff.next_backoff().unwrap_or(unit).as_secs_f64()
}

/// A pause with its jitter; an invalid factor is ignored.
pub(crate) fn jittered(pause: Duration, factor: f64) -> Duration {
    let factor = if factor.is_finite() { factor.clamp(1.0 - SPREAD, 1.0 + SPREAD) } else { 1.0 };
    pause.mul_f64(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let policy = Policy { retries: 3, first_pause: Duration::from_millis(100) };
        let pauses: Vec<u128> = Pauses::new(policy).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400]);
    }

    #[test]
    fn without_retries_there_are_no_pauses() {
        assert_eq!(Pauses::new(Policy { retries: 0, first_pause: Duration::ZERO }).next(), None);
    }

    #[test]
    fn jitter_is_around_one_and_varies() {
        let factors: Vec<f64> = (0..50).map(|_| jitter()).collect();
        assert!(factors.iter().all(|factor| (0.5..=1.5).contains(factor)), "{factors:?}");
        assert!(factors.iter().any(|factor| (factor - factors[0]).abs() > 1e-6), "{factors:?}");
    }

    #[test]
    fn jitter_never_removes_a_pause() {
        let pause = Duration::from_millis(100);
        let jittered: Vec<u128> =
            [1.0, 0.5, 1.5, 0.0, 99.0, f64::NAN].map(|factor| jittered(pause, factor).as_millis()).into();
        assert_eq!(jittered, [100, 50, 150, 50, 150, 100]);
    }
}
