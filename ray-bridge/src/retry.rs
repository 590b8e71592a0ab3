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

/// Calls until it succeeds, fails for good, or the retries are used up. The caller bounds the time of the whole.
pub(crate) async fn retry<T, E>(
    policy: Policy,
    worth_it: impl Fn(&E) -> bool,
    mut call: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut pauses = ExponentialBackoff {
        initial_interval: policy.first_pause,
        current_interval: policy.first_pause,
        multiplier: 2.0,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    let mut left = policy.retries;
    loop {
        match call().await {
            Err(e) if left > 0 && worth_it(&e) => {
                left -= 1;
                tokio::time::sleep(pauses.next_backoff().unwrap_or(policy.first_pause)).await;
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { retries: 2, first_pause: Duration::from_millis(1) };

    #[tokio::test]
    async fn stops_at_the_first_success() {
        let mut calls = 0;
        let got: Result<u32, ()> = retry(
            POLICY,
            |()| true,
            async || {
                calls += 1;
                if calls < 2 { Err(()) } else { Ok(7) }
            },
        )
        .await;
        assert_eq!((got, calls), (Ok(7), 2));
    }

    #[tokio::test]
    async fn gives_up_after_the_retries() {
        let mut calls = 0;
        let got: Result<(), u32> = retry(
            POLICY,
            |_| true,
            async || {
                calls += 1;
                Err(calls)
            },
        )
        .await;
        assert_eq!(got, Err(3));
    }

    #[tokio::test]
    async fn does_not_repeat_what_cannot_succeed() {
        let mut calls = 0;
        let got: Result<(), u32> = retry(
            POLICY,
            |_| false,
            async || {
                calls += 1;
                Err(calls)
            },
        )
        .await;
        assert_eq!(got, Err(1));
    }
}
