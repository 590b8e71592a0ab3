//! Result of the main use case, and which promises were kept.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::cluster::availability::Extremes;
use crate::cluster::overhead::Overhead;
use crate::load::Report;

/// Minimum length of the streams that prove that a drain waits for them: longer than a drain takes when
/// nothing is in flight.
const DRAIN_GRACE: f64 = 5.0;

/// A step and its duration.
#[derive(Clone, Debug, Serialize)]
pub struct StepTime {
    /// The step.
    pub step: &'static str,
    /// Duration in seconds.
    pub seconds: f64,
}

/// Pod revision and engine revision of each group.
pub type Revisions = BTreeSet<(String, String)>;

/// The whole job.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Steps, in order.
    pub steps: Vec<StepTime>,
    /// The load during both upgrades.
    pub load: Report,
    /// Lowest numbers of ready groups during both upgrades.
    pub extremes: Extremes,
    /// Lower bound of ready groups: replicas less maxUnavailable.
    pub fewest_allowed: i32,
    /// Upper bound of groups: replicas plus maxSurge.
    pub most_allowed: i32,
    /// Revisions before the engine-only upgrade, and after it.
    pub revisions: (Revisions, Revisions),
    /// Pods that the engine-only upgrade kept, of all.
    pub pods_kept: (usize, usize),
    /// Pods replaced by the template upgrade, and all pods.
    pub pods_replaced: (usize, usize),
    /// The orchestrator's own delays.
    pub overhead: Overhead,
}

impl Summary {
    /// Promises that were broken.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut promise = |kept: bool, words: String| {
            if !kept {
                broken.push(words);
            }
        };
        let load = &self.load;
        promise(load.sent > 0, "no request was sent".into());
        promise(load.failed == 0, format!("{} requests failed", load.failed));
        promise(load.open == 0, format!("{} requests did not end", load.open));
        promise(
            load.longest_stream_seconds > DRAIN_GRACE,
            format!("no stream was longer than {DRAIN_GRACE} s, so draining was not put to the test"),
        );
        let extremes = self.extremes;
        promise(
            extremes.ready.is_some_and(|ready| ready >= self.fewest_allowed),
            format!(
                "{:?} groups were ready by the fleet's status, {} are promised",
                extremes.ready, self.fewest_allowed
            ),
        );
        promise(
            extremes
                .addresses
                .is_some_and(|ready| i32::try_from(ready).is_ok_and(|ready| ready >= self.fewest_allowed)),
            format!(
                "{:?} groups were in the endpoints, {} are promised",
                extremes.addresses, self.fewest_allowed
            ),
        );
        promise(
            extremes.most <= self.most_allowed,
            format!("{} groups existed, at most {} allowed", extremes.most, self.most_allowed),
        );
        let (before, after) = &self.revisions;
        promise(
            only_the_engine_changed(before, after),
            format!("the engine-only upgrade led from the revisions {before:?} to {after:?}"),
        );
        let (kept, all) = self.pods_kept;
        promise(kept == all, format!("the engine-only upgrade kept {kept} of {all} pods"));
        let (replaced, all) = self.pods_replaced;
        promise(replaced == all, format!("the template upgrade replaced {replaced} of {all} pods"));
        let Overhead { submit, open } = self.overhead;
        promise(
            submit.count > 0 && open.count > 0,
            format!("the orchestrator measured {} launches and {} openings", submit.count, open.count),
        );
        broken
    }
}

/// All groups went from one engine revision to another, and kept the one pod revision that they had.
fn only_the_engine_changed(before: &Revisions, after: &Revisions) -> bool {
    let (Some((pods, engine)), Some((pods_after, engine_after))) = (before.first(), after.first()) else {
        return false;
    };
    before.len() == 1 && after.len() == 1 && pods == pods_after && engine != engine_after
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{:7.1} s  {}", step.seconds, step.step)?;
        }
        writeln!(f, "{}", self.load)?;
        writeln!(f, "longest stream: {:.1} s", self.load.longest_stream_seconds)?;
        let number = |number: Option<String>| number.unwrap_or_else(|| "?".into());
        writeln!(
            f,
            "lowest number of ready groups: {} by the fleet's status, {} in the endpoints; {} promised",
            number(self.extremes.ready.map(|n| n.to_string())),
            number(self.extremes.addresses.map(|n| n.to_string())),
            self.fewest_allowed
        )?;
        writeln!(f, "highest number of groups: {}; {} allowed", self.extremes.most, self.most_allowed)?;
        let ((kept, before), (replaced, after)) = (self.pods_kept, self.pods_replaced);
        writeln!(
            f,
            "pods kept by the engine-only upgrade: {kept} of {before}; replaced by the template upgrade: {replaced} of {after}"
        )?;
        write!(f, "{}", self.overhead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revisions(of: &[(&str, &str)]) -> Revisions {
        of.iter().map(|(pods, engine)| ((*pods).to_owned(), (*engine).to_owned())).collect()
    }

    #[test]
    fn an_engine_only_upgrade_changes_every_engine_and_nothing_else() {
        let before = revisions(&[("a", "1")]);
        assert!(only_the_engine_changed(&before, &revisions(&[("a", "2")])));
        for after in [[("a", "1")].as_slice(), &[("b", "2")], &[("a", "1"), ("a", "2")], &[]] {
            assert!(!only_the_engine_changed(&before, &revisions(after)), "{after:?}");
        }
    }
}
