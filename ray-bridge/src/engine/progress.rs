//! Since when an engine owes answers and makes no step: what tells one that hangs from one that is busy. Pure; one value
//! for each engine, fed by every look. What is done about it is decided elsewhere.

use jiff::Timestamp;

use super::client::Load;

/// So many times the usual patience an engine deserves all of whose requests are deferred, half an hour in place of a minute: clients
/// rarely wait that long, and it may be as well as before.
pub const DEFERRED_FACTOR: u32 = 30;

/// An engine whose counters do not move although somebody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// First look that saw it; unless `deferred`, the first one since which a step is owed.
    pub since: Timestamp,
    /// All that it owes is deferred: no step is owed, unless it has come to one since and hangs in it. Nothing that an engine shows tells
    /// the two apart, so such a standstill deserves more patience, but an end.
    pub deferred: bool,
}

/// Follows the steps of one engine. A new launch needs a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StallDetector {
    last: Option<Still>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Still {
    /// Its last known progress.
    progress: u64,
    /// Since when it is that.
    since: Timestamp,
    /// Since when somebody waited who is not deferred. That he has gone is no step.
    owed: Option<Timestamp>,
}

impl StallDetector {
    /// Enters what a look at `now` found and returns since when the engine stands still: requests wait for it, and its
    /// counters are those of then. `None` if it moves, if nobody waits for it, or if that is not known.
    ///
    /// `load` is `None` when the engine did not say, which neither ends a standstill nor proves one. A standstill
    /// counts from the first look that saw it, so it is never made longer than it is.
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

    /// What the tracker says to looks (second, requests waiting, progress), in seconds.
    fn since(looks: &[(i64, u64, Option<u64>)]) -> Vec<Option<i64>> {
        let looks: Vec<_> =
            looks.iter().map(|&(second, awaiting, progress)| (second, awaiting, progress, 0)).collect();
        said(&looks).iter().map(|said| said.map(|(since, _)| since)).collect()
    }

    /// The same with requests that are deferred, and whether the standstill is one of those.
    fn said(looks: &[(i64, u64, Option<u64>, u64)]) -> Vec<Option<(i64, bool)>> {
        let mut stall = StallDetector::default();
        let said = looks.iter().map(|&(second, awaiting, progress, deferred)| {
            let load = Load {
                in_flight: awaiting,
                served: None,
                draining: None,
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
    fn requests_that_are_deferred_are_a_standstill_of_their_own_kind() {
        let waits = (1, Some(5), 1);
        let looks = [0, 1, 600].map(|second| (second, waits.0, waits.1, waits.2));
        assert_eq!(said(&looks), [None, Some((0, true)), Some((0, true))]);
    }

    #[test]
    fn a_step_is_owed_from_the_first_request_on_that_is_not_deferred() {
        let looks =
            [(0, 1, 5, 1), (600, 1, 5, 1), (601, 2, 5, 1), (650, 1, 5, 1), (661, 1, 6, 1), (662, 1, 6, 1)];
        let looks =
            looks.map(|(second, awaiting, progress, deferred)| (second, awaiting, Some(progress), deferred));
        let owed = Some((601, false));
        assert_eq!(said(&looks), [None, Some((0, true)), owed, owed, None, Some((661, true))]);
    }

    #[test]
    fn an_engine_that_steps_never_stands_still() {
        assert_eq!(since(&[(0, 1, Some(5)), (9, 1, Some(6)), (99, 3, Some(5))]), [None; 3]);
    }

    #[test]
    fn no_step_while_somebody_waits_is_a_standstill_since_the_first_look_at_it() {
        let looks = [(0, 1, Some(5)), (1, 1, Some(6)), (2, 1, Some(6)), (60, 2, Some(6)), (61, 2, Some(7))];
        assert_eq!(since(&looks), [None, None, Some(1), Some(1), None]);
    }

    #[test]
    fn an_engine_at_rest_may_be_silent_for_ever() {
        let looks = [(0, 1, Some(5)), (1, 0, None), (500, 0, None), (501, 1, Some(5)), (502, 1, Some(5))];
        assert_eq!(since(&looks), [None, None, None, None, Some(501)]);
    }

    #[test]
    fn what_is_not_known_neither_begins_nor_ends_a_standstill() {
        assert_eq!(since(&[(0, 1, None), (99, 1, None)]), [None; 2]);
        assert_eq!(since(&[(0, 1, Some(5)), (1, 1, None), (2, 1, Some(5))]), [None, None, Some(0)]);
        let mut stall = StallDetector::default();
        assert_eq!(stall.observe(at(0), None), None);
        assert_eq!(stall, StallDetector::default());
    }

    #[test]
    fn a_clock_that_was_set_back_accuses_nobody() {
        assert_eq!(since(&[(50, 1, Some(5)), (10, 1, Some(5)), (12, 1, Some(5))]), [None, None, Some(10)]);
    }
}
