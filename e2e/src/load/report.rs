//! Outcome of all requests: counted while they run, summarized for people and programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::failure::RequestFailure;

/// Number of failures that are reported in full.
const FIRST_FAILURES: usize = 5;
/// Number of failures that are kept; more need no closer look.
const KEPT_FAILURES: usize = 1000;

/// Kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A few tokens in one answer.
    Short,
    /// Many tokens, streamed.
    Stream,
}

/// Counts while a load runs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    started: u64,
    seconds: BTreeMap<Kind, Vec<f64>>,
    failed: BTreeMap<Kind, u64>,
    failures: BTreeMap<String, u64>,
    kept: Vec<Failure>,
    reused: u64,
    unsent: u64,
}

/// A failed request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Seconds from the start of the load to the start of the request.
    pub at: f64,
    /// Kind of request.
    pub kind: Kind,
    /// Seconds from its start to its failure.
    pub after: f64,
    /// The server that had started to answer, if it identified itself.
    pub server: Option<String>,
    /// Cause.
    pub reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} started at {:.1} s, after {:.1} s", self.kind, self.at, self.after)?;
        if let Some(server) = &self.server {
            write!(f, ", of {server}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl Tally {
    pub(super) fn begin(&mut self) {
        self.started += 1;
    }

    pub(super) fn end(
        &mut self,
        kind: Kind,
        at: f64,
        seconds: f64,
        server: Option<String>,
        outcome: Result<(), RequestFailure>,
    ) {
        match outcome {
            Ok(()) => self.seconds.entry(kind).or_default().push(seconds),
            Err(fault) => {
                *self.failed.entry(kind).or_default() += 1;
                *self.failures.entry(fault.kind()).or_default() += 1;
                if self.kept.len() < KEPT_FAILURES {
                    self.kept.push(Failure { at, kind, after: seconds, server, reason: fault.to_string() });
                }
            }
        }
    }

    pub(super) fn connections(&mut self, reused: u64, unsent: u64) {
        self.reused += reused;
        self.unsent += unsent;
    }

    pub(super) fn report(&self, seconds: f64) -> Report {
        let kinds: BTreeMap<Kind, KindReport> = [Kind::Short, Kind::Stream]
            .into_iter()
            .map(|kind| {
                let failed = self.failed.get(&kind).copied().unwrap_or_default();
                (kind, KindReport::new(self.seconds.get(&kind).cloned().unwrap_or_default(), failed))
            })
            .collect();
        let ended: u64 = kinds.values().map(|kind| kind.answered + kind.failed).sum();
        Report {
            seconds,
            sent: self.started,
            open: self.started.saturating_sub(ended),
            failed: kinds.values().map(|kind| kind.failed).sum(),
            longest_stream_seconds: kinds.get(&Kind::Stream).map_or(0.0, |kind| kind.longest),
            on_kept_connections: self.reused,
            kept_connections_closed_unsent: self.unsent,
            failures: self.failures.clone(),
            first_failures: self.kept.iter().take(FIRST_FAILURES).cloned().collect(),
            kept_failures: self.kept.clone(),
            kinds,
        }
    }
}

/// Outcome of all requests of a load.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How long the load ran.
    pub seconds: f64,
    /// Requests started.
    pub sent: u64,
    /// Requests started and not yet ended.
    pub open: u64,
    /// Requests failed, for any reason.
    pub failed: u64,
    /// Longest stream that ended well.
    pub longest_stream_seconds: f64,
    /// Requests on connections that had carried one before.
    pub on_kept_connections: u64,
    /// Kept connections that were found closed before a byte of the request was written. The request was
    /// sent on a fresh connection and is counted by its outcome there.
    pub kept_connections_closed_unsent: u64,
    /// Failures by their kind.
    pub failures: BTreeMap<String, u64>,
    /// The first failures in full.
    pub first_failures: Vec<Failure>,
    /// The failures in full, except those beyond the thousandth.
    #[serde(skip)]
    pub kept_failures: Vec<Failure>,
    /// By kind of request.
    pub kinds: BTreeMap<Kind, KindReport>,
}

/// One kind of requests. Times are in seconds, of answered requests.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KindReport {
    /// Answered as asked.
    pub answered: u64,
    /// Failed.
    pub failed: u64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Longest.
    pub longest: f64,
}

impl KindReport {
    fn new(mut seconds: Vec<f64>, failed: u64) -> Self {
        seconds.sort_by(f64::total_cmp);
        let rank = |hundredths: usize| {
            // The smallest value that is not below this share of all.
            let index = (seconds.len() * hundredths).div_ceil(100).saturating_sub(1);
            seconds.get(index).copied().unwrap_or_default()
        };
        Self {
            answered: u64::try_from(seconds.len()).unwrap_or(u64::MAX),
            failed,
            p50: rank(50),
            p99: rank(99),
            longest: rank(100),
        }
    }
}

impl Report {
    /// One line, for progress while the load runs.
    pub fn line(&self) -> String {
        let answered: u64 = self.kinds.values().map(|kind| kind.answered).sum();
        format!(
            "load: {} sent, {answered} answered, {} open, {} failed, longest stream {:.1} s",
            self.sent, self.open, self.failed, self.longest_stream_seconds
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "requests: {} sent in {:.0} s, {} failed", self.sent, self.seconds, self.failed)?;
        for (name, kind) in [("short", Kind::Short), ("stream", Kind::Stream)] {
            let Some(kind) = self.kinds.get(&kind).filter(|kind| kind.answered + kind.failed > 0) else {
                continue;
            };
            writeln!(
                f,
                "  {name:<7}{:>6} answered, {} failed; p50 {:.2} s, p99 {:.2} s, longest {:.2} s",
                kind.answered, kind.failed, kind.p50, kind.p99, kind.longest
            )?;
        }
        write!(
            f,
            "  {} on kept connections; {} of those were found closed before anything was sent",
            self.on_kept_connections, self.kept_connections_closed_unsent
        )?;
        for (kind, count) in &self.failures {
            write!(f, "\n  failed, {kind}: {count}")?;
        }
        for failure in &self.first_failures {
            write!(f, "\n    {failure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let report = KindReport::new((1..=200).rev().map(f64::from).collect(), 0);
        assert_eq!((report.p50, report.p99, report.longest), (100.0, 198.0, 200.0));
        let one = KindReport::new(vec![3.0], 0);
        assert_eq!((one.p50, one.p99, one.longest), (3.0, 3.0, 3.0));
        assert_eq!(KindReport::new(vec![], 1).p99.to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn the_first_failures_are_reported_in_full_and_all_are_counted() {
        let mut tally = Tally::default();
        for _ in 0..7 {
            tally.begin();
            tally.end(Kind::Short, 0.0, 0.1, None, Err(RequestFailure::Status(503, "draining".into())));
        }
        tally.begin();
        let report = tally.report(1.0);
        assert_eq!((report.sent, report.failed, report.open), (8, 7, 1));
        assert_eq!(report.failures["status 503"], 7);
        assert_eq!((report.first_failures.len(), report.kept_failures.len()), (FIRST_FAILURES, 7));
        assert!(report.to_string().contains("status 503: draining"), "{report}");
    }
}
