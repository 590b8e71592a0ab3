//! Pauses between retries of idempotent reads; the only user of `backoff`. HTTP does not belong here.
//!
//! `backoff` is unmaintained (RUSTSEC-2025-0012). It is kept because the project promised it; it is used for
//! two pure computations (the growth of pauses and their jitter), and can be replaced in this file alone.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// Jitter goes up and down by this fraction.
const SPREAD: f64 = 0.5;

/// The pause before each retry; ends when the retries are used up. The caller adds jitter.
///
/// An iterator, not a function that takes the call: the future of a borrowing async closure is not known to
/// be `Send`.
pub(crate) struct Pauses {
    backoff: ExponentialBackoff,
    left: u32,
}

impl Pauses {
    /// So many pauses: the first one, each twice as long as the one before.
    pub(crate) fn new(retries: u32, first: Duration) -> Self {
        Self { backoff: ExponentialBackoff { multiplier: 2.0, ..growing(first, 0.0) }, left: retries }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        self.backoff.next_backoff()
    }
}

/// A random factor around 1.
pub(crate) fn jitter() -> f64 {
    growing(Duration::from_secs(1), SPREAD).next_backoff().map_or(1.0, |pause| pause.as_secs_f64())
}

/// Pauses without end.
fn growing(first: Duration, spread: f64) -> ExponentialBackoff {
    ExponentialBackoff {
        initial_interval: first,
        current_interval: first,
        randomization_factor: spread,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    }
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
        let pauses: Vec<u128> =
            Pauses::new(3, Duration::from_millis(100)).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400]);
    }

    #[test]
    fn without_retries_there_are_no_pauses() {
        assert_eq!(Pauses::new(0, Duration::ZERO).next(), None);
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
