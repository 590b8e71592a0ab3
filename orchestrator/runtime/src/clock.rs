//! The only place that reads a clock. Everything else is handed the time.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;

thread_local! {
    /// A time of day and the monotonic moment that it belongs to.
    static SIMULATED: Cell<Option<(Timestamp, Instant)>> = const { Cell::new(None) };
}

/// From now on it is `epoch` on this thread, and the time of day goes on with tokio's clock, also when that is paused.
/// For simulations, which run on one thread; a program that never calls it has the machine's time of day.
pub fn simulate(epoch: Timestamp) {
    SIMULATED.set(Some((epoch, monotonic())));
}

/// The time of day, for what is written into objects.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> Timestamp {
    let Some((epoch, since)) = SIMULATED.get() else { return Timestamp::now() };
    epoch.saturating_add(monotonic().saturating_duration_since(since)).unwrap_or(Timestamp::MAX)
}

/// A clock that never goes back, for leases and delays: the one that tokio's timers run by.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn monotonic() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Timers of many tasks that need not be exact end at multiples of this.
const SLOT: Duration = Duration::from_millis(50);

/// The end of the slot that a moment is in: tasks that wait for it wake up together, which costs one turn of the runtime and not one each.
pub fn slot(when: Instant) -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let origin = SIMULATED.get().map_or_else(|| *ORIGIN.get_or_init(monotonic), |(_, since)| since);
    let past = when.saturating_duration_since(origin).as_nanos() % SLOT.as_nanos();
    when + SLOT.saturating_sub(Duration::from_nanos(u64::try_from(past).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn moments_of_one_slot_end_together_and_none_ends_early() {
        let first = slot(monotonic());
        for millis in 1..50 {
            let when = first + Duration::from_millis(millis);
            assert_eq!(slot(when), first + SLOT);
        }
        assert_eq!(slot(first), first + SLOT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulated_day_goes_on_with_tokios_clock() {
        let epoch: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        simulate(epoch);
        assert_eq!(now(), epoch);
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(now().to_string(), "2030-01-01T00:01:30Z");
        SIMULATED.set(None);
        assert_ne!(now().to_string().get(..4), Some("2030"));
    }
}
