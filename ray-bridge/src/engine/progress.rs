//! Since when requests wait for an engine that makes no step: the difference between a hung engine and a busy
//! one. No I/O; one value per engine, updated by every observation. What follows from a stall is decided
//! elsewhere.

use jiff::Timestamp;

use super::client::Load;

/// Factor on the limits for an engine all of whose requests are deferred: half an hour instead of a minute.
/// Clients rarely wait that long, and the engine may be healthy.
pub const DEFERRED_FACTOR: u32 = 30;

/// A stall: the engine's counters do not change although requests wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// Time of the first observation of the stall; unless `deferred`, of the first one since which a step is
    /// due.
    pub since: Timestamp,
    /// All waiting requests are deferred, so no step is due, unless one has become due since and the engine
    /// hangs in it. Nothing that an engine reports distinguishes the two, so such a stall has a longer limit,
    /// but has one.
    pub deferred: bool,
}

/// Follows the steps of one engine. A new launch needs a new value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StallDetector {
    last: Option<Still>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Still {
    /// The last known progress.
    progress: u64,
    /// Since when the progress has that value.
    since: Timestamp,
    /// Since when a request that is not deferred waited. The end of that request is not a step.
    owed: Option<Timestamp>,
}

impl StallDetector {
    /// Records the observation at `now` and returns the stall, if there is one: requests wait, and the
    /// counters have not changed since. `None` if the engine makes steps, if no request waits, or if this is
    /// unknown.
    ///
    /// `load` is `None` if the engine did not answer, which neither ends nor proves a stall. A stall counts
    /// from the first observation that found it, so it is never reported as longer than it is.
    pub fn observe(&mut self, now: Timestamp, load: Option<&Load>) -> Option<Stall> {
        let load = load?;
        if load.awaiting == 0 {
            self.last = None;
            return None;
        }
        let progress = load.progress?;
        let deferred = load.awaiting <= load.deferred;
        let owed = (!deferred).then_some(now);
        if let Some(still) = &mut self.last
            && still.progress == progress
            && still.since <= now
        {
            still.owed = still.owed.or(owed);
            let deferred = Stall { since: still.since, deferred: true };
            return Some(still.owed.map_or(deferred, |since| Stall { since, deferred: false }));
        }
        self.last = Some(Still { progress, since: now, owed });
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000 + second).unwrap()
    }

    /// Feeds observations (second, requests waiting, progress) and returns the start of each stall, in
    /// seconds.
    fn since(looks: &[(i64, u64, Option<u64>)]) -> Vec<Option<i64>> {
        let looks: Vec<_> =
            looks.iter().map(|&(second, awaiting, progress)| (second, awaiting, progress, 0)).collect();
        said(&looks).iter().map(|said| said.map(|(since, _)| since)).collect()
    }

    /// The same with deferred requests; also returns whether the stall is a deferred one.
    fn said(looks: &[(i64, u64, Option<u64>, u64)]) -> Vec<Option<(i64, bool)>> {
        let mut stall = StallDetector::default();
        let said = looks.iter().map(|&(second, awaiting, progress, deferred)| {
            let load = Load {
                in_flight: awaiting,
                served: None,
                draining: None,
                kept_connections: 0,
                idle: None,
                awaiting,
                progress,
                deferred,
            };
            stall
                .observe(at(second), Some(&load))
                .map(|still| (still.since.as_second() - 1_000, still.deferred))
        });
        said.collect()
    }

    #[test]
    fn deferred_requests_are_a_deferred_stall() {
        let waits = (1, Some(5), 1);
        let looks = [0, 1, 600].map(|second| (second, waits.0, waits.1, waits.2));
        assert_eq!(said(&looks), [None, Some((0, true)), Some((0, true))]);
    }

    #[test]
    fn a_step_is_due_from_the_first_request_that_is_not_deferred() {
        let looks =
            [(0, 1, 5, 1), (600, 1, 5, 1), (601, 2, 5, 1), (650, 1, 5, 1), (661, 1, 6, 1), (662, 1, 6, 1)];
        let looks =
            looks.map(|(second, awaiting, progress, deferred)| (second, awaiting, Some(progress), deferred));
        let owed = Some((601, false));
        assert_eq!(said(&looks), [None, Some((0, true)), owed, owed, None, Some((661, true))]);
    }

    #[test]
    fn an_engine_that_makes_steps_never_stalls() {
        assert_eq!(since(&[(0, 1, Some(5)), (9, 1, Some(6)), (99, 3, Some(5))]), [None; 3]);
    }

    #[test]
    fn no_step_with_waiting_requests_is_a_stall_since_its_first_observation() {
        let looks = [(0, 1, Some(5)), (1, 1, Some(6)), (2, 1, Some(6)), (60, 2, Some(6)), (61, 2, Some(7))];
        assert_eq!(since(&looks), [None, None, Some(1), Some(1), None]);
    }

    #[test]
    fn an_idle_engine_never_stalls() {
        let looks = [(0, 1, Some(5)), (1, 0, None), (500, 0, None), (501, 1, Some(5)), (502, 1, Some(5))];
        assert_eq!(since(&looks), [None, None, None, None, Some(501)]);
    }

    #[test]
    fn an_unknown_load_neither_starts_nor_ends_a_stall() {
        assert_eq!(since(&[(0, 1, None), (99, 1, None)]), [None; 2]);
        assert_eq!(since(&[(0, 1, Some(5)), (1, 1, None), (2, 1, Some(5))]), [None, None, Some(0)]);
        let mut stall = StallDetector::default();
        assert_eq!(stall.observe(at(0), None), None);
        assert_eq!(stall, StallDetector::default());
    }

    #[test]
    fn a_clock_that_was_set_back_causes_no_stall() {
        assert_eq!(since(&[(50, 1, Some(5)), (10, 1, Some(5)), (12, 1, Some(5))]), [None, None, Some(10)]);
    }
}
