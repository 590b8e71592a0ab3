//! A change as it was planned and as it happened: differences, and a row of a table. Pure.

use std::fmt::Write as _;

use crate::cluster::plan_check::Prediction;
use crate::cluster::steps::{self, GroupChange};

/// By how much of what a change took its plan may be off.
const OFF: f64 = 0.2;
/// Durations are kept as whole seconds, each of which may be one off: of a change of a few seconds that is much.
const ROUNDING: f64 = 3.0;

/// What happened.
#[derive(Clone, Debug)]
pub struct Happened {
    /// The steps, in order.
    pub steps: Vec<GroupChange>,
    /// Fewest groups that took traffic.
    pub fewest_ready: i32,
    /// Most groups that existed.
    pub most_groups: i32,
    /// Seconds from the change until the fleet had it.
    pub seconds: f64,
}

/// A change, planned and carried out.
#[derive(Clone, Debug)]
pub struct Compared {
    /// What its user does.
    pub change: &'static str,
    /// How it ends, in the plan's word.
    pub end: &'static str,
    /// Whether all durations of the plan were seen before; otherwise some are assumed, as the plan says.
    pub seen: bool,
    /// The plan.
    pub planned: Prediction,
    /// What happened.
    pub happened: Happened,
}

impl Compared {
    /// What the plan was wrong about, in words: nothing, if it was right.
    ///
    /// Which of several groups of a revision goes first depends on their load at that moment, and their slots with it: steps are
    /// equal if they do the same to groups of the same revision.
    pub fn differences(&self) -> Vec<String> {
        let Self { planned, happened, .. } = self;
        let mut all = Vec::new();
        if planned.outcome != self.end {
            all.push(format!("the plan ends {}, it was {}", planned.outcome, self.end));
        }
        let predicted = planned.steps.iter().map(|step| (step.step.as_str(), step.revision.as_str()));
        let as_it_was = happened.steps.iter().map(|step| (step.what.as_str(), step.revision.as_str()));
        if !predicted.eq(as_it_was) {
            let (planned, happened) = (planned.lines(), steps::lines(&happened.steps));
            all.push(format!("other steps than planned; planned:\n{planned}happened:\n{happened}"));
        }
        let mut differ = |what: &str, planned: i32, happened: i32| {
            if planned != happened {
                all.push(format!("the plan has {planned} {what}, it was {happened}"));
            }
        };
        differ("groups ready at least", planned.fewest_ready, happened.fewest_ready);
        differ("groups at the most", planned.most_groups, happened.most_groups);
        if self.seen && self.has_a_time() && !self.is_in_time() {
            all.push(format!("planned for {} s, it took {:.1} s", planned.seconds, happened.seconds));
        }
        all
    }

    /// What only ends when somebody goes on has no time of its own.
    fn has_a_time(&self) -> bool {
        self.end == "Complete"
    }

    fn is_in_time(&self) -> bool {
        let off = (self.planned_seconds() - self.happened.seconds).abs();
        off <= ROUNDING.max(OFF * self.happened.seconds)
    }

    fn planned_seconds(&self) -> f64 {
        f64::from(i32::try_from(self.planned.seconds).unwrap_or(i32::MAX))
    }

    /// Planned time over the one that it took, if it has one.
    pub fn ratio(&self) -> Option<f64> {
        self.has_a_time().then(|| self.planned_seconds() / self.happened.seconds)
    }
}

/// A table in Markdown.
pub fn table(all: &[Compared]) -> String {
    let mut text = "| change | ends | steps | fewest ready | most groups | planned | took | ratio |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for it in all {
        let Compared { change, end, seen, planned, happened } = it;
        let assumed = if *seen { "" } else { " (assumed)" };
        let (seconds, took, ratio) = it.ratio().map_or_else(
            || ("-".to_owned(), "-".to_owned(), "-".to_owned()),
            |ratio| {
                let planned = format!("{} s{assumed}", planned.seconds);
                (planned, format!("{:.0} s", happened.seconds), format!("{ratio:.2}"))
            },
        );
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {change} | {end} | {} | {} | {} | {seconds} | {took} | {ratio} |",
            happened.steps.len(),
            happened.fewest_ready,
            happened.most_groups,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::plan_check::{PredictedStep, Times};
    use crate::cluster::steps::What;

    fn compared(change: impl FnOnce(&mut Compared)) -> Vec<String> {
        let step = PredictedStep { step: "create".into(), group: "f-b-2".into(), revision: "b".into() };
        let planned = Prediction {
            outcome: "Complete".to_owned(),
            seconds: 50,
            fewest_ready: 2,
            most_groups: 3,
            gpus_now: 4,
            gpus_peak: 6,
            steps: vec![step],
            times: Times::default(),
            times_seen: true,
        };
        let step = GroupChange { what: What::Create, group: "f-b-1".into(), revision: "b".into() };
        let happened = Happened { steps: vec![step], fewest_ready: 2, most_groups: 3, seconds: 45.0 };
        let mut compared = Compared { change: "c", end: "Complete", seen: true, planned, happened };
        change(&mut compared);
        compared.differences()
    }

    #[test]
    fn a_plan_that_was_right_has_no_differences() {
        assert_eq!(compared(|_| {}), Vec::<String>::new());
        assert_eq!(compared(|it| it.happened.seconds = 62.0), Vec::<String>::new());
        let short = |it: &mut Compared| (it.planned.seconds, it.happened.seconds) = (6, 8.9);
        assert_eq!(compared(short), Vec::<String>::new(), "whole seconds");
    }

    #[test]
    fn each_difference_is_named() {
        type Change = fn(&mut Compared);
        let cases: [(Change, &str); 6] = [
            (|it| it.end = "Stalled", "the plan ends Complete, it was Stalled"),
            (|it| it.happened.fewest_ready = 1, "the plan has 2 groups ready at least, it was 1"),
            (|it| it.happened.most_groups = 4, "the plan has 3 groups at the most, it was 4"),
            (|it| it.happened.seconds = 41.0, "planned for 50 s, it took 41.0 s"),
            (|it| it.happened.seconds = 63.0, "planned for 50 s, it took 63.0 s"),
            (
                |it| it.happened.steps.clear(),
                "other steps than planned; planned:\n  create f-b-2 (b)\nhappened:\n",
            ),
        ];
        for (change, says) in cases {
            assert_eq!(compared(change), [says]);
        }
    }

    #[test]
    fn an_assumed_time_need_not_be_right() {
        let assumed = |it: &mut Compared| (it.seen, it.planned.seconds) = (false, 500);
        assert_eq!(compared(assumed), Vec::<String>::new());
    }

    #[test]
    fn a_change_that_waits_for_somebody_has_no_time() {
        let paused = |it: &mut Compared| {
            (it.end, it.planned.outcome) = ("Paused", "Paused".to_owned());
            it.happened.seconds = 1.0;
        };
        assert_eq!(compared(paused), Vec::<String>::new());
    }
}
