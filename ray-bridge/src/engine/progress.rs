//! Since when an engine owes answers and makes no step: what tells one that hangs from one that is busy. Pure; one value
//! for each engine, fed by every look. What is done about it is decided elsewhere.

use jiff::Timestamp;

use super::client::Load;

/// Follows the steps of one engine. A new launch needs a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stall {
    /// Its last known progress, and since when it is that.
    last: Option<(u64, Timestamp)>,
}

impl Stall {
    /// Enters what a look at `now` found and returns since when the engine stands still: requests wait for it, and its
    /// counters are those of then. `None` if it moves, if nobody waits for it, or if that is not known.
    ///
    /// `load` is `None` when the engine did not say, which neither ends a standstill nor proves one. A standstill
    /// counts from the first look that saw it, so it is never made longer than it is.
    pub fn observe(&mut self, now: Timestamp, load: Option<&Load>) -> Option<Timestamp> {
        let load = load?;
        if load.awaiting == 0 {
            self.last = None;
            return None;
        }
        let progress = load.progress?;
        match self.last {
            Some((before, since)) if before == progress && since <= now => Some(since),
            _ => {
                self.last = Some((progress, now));
                None
            }
        }
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
        let mut stall = Stall::default();
        let said = looks.iter().map(|&(second, awaiting, progress)| {
            let load =
                Load { in_flight: awaiting, served: None, draining: None, idle: None, awaiting, progress };
            stall.observe(at(second), Some(&load)).map(|since| since.as_second() - 1_000)
        });
        said.collect()
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
        let mut stall = Stall::default();
        assert_eq!(stall.observe(at(0), None), None);
        assert_eq!(stall, Stall::default());
    }

    #[test]
    fn a_clock_that_was_set_back_accuses_nobody() {
        assert_eq!(since(&[(50, 1, Some(5)), (10, 1, Some(5)), (12, 1, Some(5))]), [None, None, Some(10)]);
    }
}
