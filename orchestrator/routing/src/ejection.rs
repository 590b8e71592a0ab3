//! Endpoints that fail come last for a while that grows, and are then tried again.

use std::time::Duration;

/// First time for an endpoint that failed; doubles with each failure that follows.
const FIRST: Duration = Duration::from_secs(1);
/// Longest time. Kubernetes takes some ten seconds to say that a pod is not ready, and forty that a node is lost; whoever
/// comes back after a network failure should not wait for minutes.
const LONGEST: Duration = Duration::from_secs(15);

/// What went wrong at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or one that broke before the answer began.
    Unreachable,
    /// It answered that it is not able to: 500, 502, 503, 504. One such answer may be of the request; three in a row are not.
    Answered,
}

/// How an endpoint has done lately. Times are since any fixed moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Record {
    /// In a row.
    unreachable: u32,
    answered: u32,
    until: Option<Duration>,
}

/// Answers of a kind that may be the request's own fault, before they count.
const ANSWERS: u32 = 3;

impl Record {
    pub(crate) fn failed(&mut self, failure: Failure, now: Duration) {
        // Requests that fail together are one failure.
        if self.is_out(now) {
            return;
        }
        let times = match failure {
            Failure::Unreachable => {
                self.unreachable = self.unreachable.saturating_add(1);
                self.unreachable
            }
            Failure::Answered => {
                self.answered = self.answered.saturating_add(1);
                let Some(times) = self.answered.checked_sub(ANSWERS - 1).filter(|times| *times > 0) else {
                    return;
                };
                times
            }
        };
        let wait = FIRST.saturating_mul(1 << times.saturating_sub(1).min(8)).min(LONGEST);
        self.until = Some(now.saturating_add(wait));
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Whether it comes last.
    pub(crate) fn is_out(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn it_is_left_out_for_longer_each_time_and_back_at_once_when_it_answers() {
        let mut record = Record::default();
        let mut waits = vec![];
        let mut now = secs(10);
        for _ in 0..7 {
            // Those that were under way together count once.
            for _ in 0..5 {
                record.failed(Failure::Unreachable, now);
            }
            let until = record.until.unwrap();
            assert!(record.is_out(now) && !record.is_out(until));
            waits.push(until.saturating_sub(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [1, 2, 4, 8, 15, 15, 15]);
        record.succeeded();
        assert!(!record.is_out(now));
    }

    #[test]
    fn a_single_answer_of_500_may_be_the_requests_own() {
        let mut record = Record::default();
        record.failed(Failure::Answered, secs(1));
        record.failed(Failure::Answered, secs(1));
        assert!(!record.is_out(secs(1)));
        record.failed(Failure::Answered, secs(1));
        assert!(record.is_out(secs(1)));
    }
}
