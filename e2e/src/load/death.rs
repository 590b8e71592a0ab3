//! Attribution of failed requests to the death of an engine. Pure functions.

use std::fmt;

use super::report::{Failure, Report};

/// The death of one engine. Times are in seconds since the load began.
#[derive(Clone, Debug)]
pub struct Death {
    /// Its server, as it identifies itself in its answers.
    pub server: String,
    /// Cause of its death.
    pub cause: String,
    /// Earliest possible time of its death.
    pub from: f64,
    /// Time from which no new request can reach it; `None` if one still can.
    pub until: Option<f64>,
}

impl Death {
    /// Whether a request failed because of this death: it was open when the engine died, or started before
    /// all nodes had removed its address, and no other server is known to have answered it.
    fn explains(&self, failure: &Failure) -> bool {
        let in_time =
            failure.at + failure.after >= self.from && self.until.is_none_or(|until| failure.at <= until);
        in_time && failure.server.as_ref().is_none_or(|server| *server == self.server)
    }
}

/// The cost of one death.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The server and its cause of death.
    pub death: String,
    /// Requests that it had started to answer.
    pub cut_off: usize,
    /// Requests that no server had started to answer, and that may have been sent to it.
    pub unanswered: usize,
}

/// The failed requests of a load, by the deaths that explain them.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    /// The cost of each death.
    pub by_death: Vec<Cost>,
    /// Failures that no death explains.
    pub others: Vec<Failure>,
    /// Number of failures beyond those that were kept.
    pub unknown: u64,
}

impl Losses {
    /// Attributes the failures of a load.
    pub fn of(report: &Report, deaths: &[Death]) -> Self {
        let name = |death: &Death| format!("{} ({})", death.cause, death.server);
        let none = |death| Cost { death: name(death), cut_off: 0, unanswered: 0 };
        let mut by_death: Vec<Cost> = deaths.iter().map(none).collect();
        let mut others = Vec::new();
        for failure in &report.kept_failures {
            match deaths.iter().position(|death| death.explains(failure)) {
                Some(at) if failure.server.is_some() => by_death[at].cut_off += 1,
                Some(at) => by_death[at].unanswered += 1,
                None => others.push(failure.clone()),
            }
        }
        let kept = u64::try_from(report.kept_failures.len()).unwrap_or(u64::MAX);
        Self { by_death, others, unknown: report.failed.saturating_sub(kept) }
    }

    /// Whether every failed request is explained.
    pub fn is_explained(&self) -> bool {
        self.others.is_empty() && self.unknown == 0
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Cost { death, cut_off, unanswered } in &self.by_death {
            writeln!(f, "{death}: {cut_off} requests were cut off, {unanswered} got no answer at all")?;
        }
        write!(f, "{} other requests failed", self.others.len())?;
        if self.unknown > 0 {
            write!(f, ", and {} more that were not kept", self.unknown)?;
        }
        self.others.iter().try_for_each(|failure| write!(f, "\n  {failure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::RequestFailure;
    use super::super::report::{Kind, Tally};
    use super::*;

    fn report(failures: &[(f64, f64, Option<&str>)]) -> Report {
        let mut tally = Tally::default();
        for (at, seconds, server) in failures {
            tally.begin();
            let fault = Err(RequestFailure::Truncated("gone".into()));
            tally.end(Kind::Stream, *at, *seconds, server.map(str::to_owned), fault);
        }
        tally.report(100.0)
    }

    fn death(until: Option<f64>) -> Death {
        Death { server: "head-1".into(), cause: "power loss".into(), from: 10.0, until }
    }

    #[test]
    fn requests_of_the_dead_engine_are_explained() {
        let report = report(&[(2.0, 9.0, Some("head-1")), (2.0, 38.0, Some("head-1")), (14.0, 10.0, None)]);
        let losses = Losses::of(&report, &[death(Some(15.0))]);
        assert!(losses.is_explained(), "{losses}");
        assert_eq!((losses.by_death[0].cut_off, losses.by_death[0].unanswered), (2, 1), "{losses}");
    }

    #[test]
    fn all_other_failures_are_reported() {
        let too_early = (1.0, 5.0, Some("head-1"));
        let too_late = (16.0, 1.0, None);
        let of_another = (9.0, 4.0, Some("head-2"));
        for failure in [too_early, too_late, of_another] {
            let losses = Losses::of(&report(&[failure]), &[death(Some(15.0))]);
            assert!(!losses.is_explained() && losses.others.len() == 1, "{failure:?}: {losses}");
        }
        assert!(Losses::of(&report(&[too_late]), &[death(None)]).is_explained());
        assert!(!Losses::of(&report(&[too_late]), &[]).is_explained());
    }
}
