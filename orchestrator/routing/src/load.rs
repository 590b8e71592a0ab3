//! How busy an endpoint is: what this gateway has there at this moment, which it knows exactly, and what others have, which the engine
//! said at the last report. A report is old when the next request comes; by it alone all gateways would send everything to the endpoint
//! that was idle a moment ago.

use std::time::Duration;

/// A report is not believed any longer after this: others' requests have ended by then, or there are new ones.
pub(crate) const OLD: Duration = Duration::from_secs(30);
/// What a request costs while it is under way, beside its prompt, in tokens of prompts that could be read meanwhile. In `benches/traces`
/// 500 to 3,000 differ by less than 3 % in the mean time to the first token, and by as little in the time of whole answers; the length
/// of a prompt that was read says nothing of what its answer still takes.
const REQUEST: u64 = 1000;

/// What an engine says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Requests running and waiting, whoever sent them.
    pub requests: u64,
    /// Share of the key-value cache in use, 0 to 1; `None` if it is not known.
    pub kv_use: Option<f64>,
}

/// The load of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Requests of this gateway that have not ended.
    requests: u64,
    /// Tokens of their prompts that the endpoint has to compute before it answers, of those that it has not answered.
    prefill: u64,
    reported: Option<Reported>,
}

#[derive(Clone, Copy, Debug)]
struct Reported {
    at: Duration,
    others: u64,
    kv_use: Option<f64>,
}

impl Load {
    pub(crate) fn begin(&mut self, prefill: u64) {
        self.requests = self.requests.saturating_add(1);
        self.prefill = self.prefill.saturating_add(prefill);
    }

    /// Its answer has begun: the prompt was read.
    pub(crate) fn answered(&mut self, prefill: u64) {
        self.prefill = self.prefill.saturating_sub(prefill);
    }

    pub(crate) fn end(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    /// What of it is not ours is others'.
    pub(crate) fn report(&mut self, report: Report, now: Duration) {
        let others = report.requests.saturating_sub(self.requests);
        let kv_use = report.kv_use.filter(|share| share.is_finite()).map(|share| share.clamp(0.0, 1.0));
        self.reported = Some(Reported { at: now, others, kv_use });
    }

    fn fresh(&self, now: Duration) -> Option<Reported> {
        self.reported.filter(|reported| now.saturating_sub(reported.at) < OLD)
    }

    /// Others' requests, if they are known.
    pub(crate) fn others(&self, now: Duration) -> Option<u64> {
        self.fresh(now).map(|reported| reported.others)
    }

    /// Requests, ours as they are and so many of others.
    pub(crate) fn requests(&self, others: u64) -> u64 {
        self.requests.saturating_add(others)
    }

    /// Work that is ahead of a new request, in tokens: prompts that are not read yet, and requests.
    pub(crate) fn work(&self, others: u64) -> u64 {
        self.requests(others).saturating_mul(REQUEST).saturating_add(self.prefill)
    }

    pub(crate) fn kv_use(&self, now: Duration) -> Option<f64> {
        self.fresh(now)?.kv_use
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn what_was_sent_since_a_report_is_added_to_it() {
        let mut load = Load::default();
        load.begin(10);
        load.report(Report { requests: 4, kv_use: Some(0.5) }, NOW);
        let requests = |load: &Load| load.requests(load.others(NOW).unwrap());
        assert_eq!(requests(&load), 4);
        load.begin(10);
        assert_eq!(requests(&load), 5);
        load.end();
        load.end();
        assert_eq!(requests(&load), 3);
    }

    #[test]
    fn an_old_report_says_nothing() {
        let mut load = Load::default();
        load.report(Report { requests: 4, kv_use: Some(0.5) }, NOW);
        let later = NOW + OLD;
        assert_eq!((load.others(later), load.kv_use(later)), (None, None));
    }

    #[test]
    fn a_prompt_that_was_read_is_work_no_more_and_its_request_is() {
        let mut load = Load::default();
        load.begin(60);
        assert_eq!(load.work(0), REQUEST + 60);
        load.answered(60);
        assert_eq!(load.work(0), REQUEST);
        load.end();
        assert_eq!((load.work(0), load.requests(0)), (0, 0));
    }

    #[test]
    fn nonsense_of_an_engine_is_bounded() {
        let mut load = Load::default();
        load.report(Report { requests: u64::MAX, kv_use: Some(f64::NAN) }, NOW);
        load.begin(1);
        let others = load.others(NOW).unwrap();
        assert_eq!((load.requests(others), load.work(others), load.kv_use(NOW)), (u64::MAX, u64::MAX, None));
    }
}
