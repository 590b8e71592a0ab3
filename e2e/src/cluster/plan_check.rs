//! Comparison of a change with its prediction by `kubectl rayfleet plan -f`.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::availability::Extremes;
use super::manifest::Manifest;
use super::steps::{self, GroupChange};
use super::tools::Tools;

const COMMAND: Duration = Duration::from_mins(1);

/// A plan in its machine-readable form.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prediction {
    /// The outcome; `Complete` on success.
    pub outcome: String,
    /// Seconds until then.
    pub seconds: i64,
    /// Fewest groups that take traffic.
    pub fewest_ready: i32,
    /// Most groups that exist.
    pub most_groups: i32,
    /// GPUs that the fleet's pods hold now.
    pub gpus_now: u32,
    /// Most GPUs that they hold, those of terminating pods included.
    pub gpus_peak: u32,
    /// Steps, in order.
    pub steps: Vec<PredictedStep>,
    /// Durations that it was calculated with.
    #[serde(default)]
    pub times: Times,
    /// Whether the start of an engine was seen before.
    #[serde(default)]
    pub times_seen: bool,
}

/// Durations in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Times {
    /// Of pods, until an engine can be launched.
    pub pods_seconds: u32,
    /// Of an engine's start.
    pub start_seconds: u32,
    /// Of a drain.
    pub drain_seconds: u32,
    /// Of an engine's stop.
    pub stop_seconds: u32,
    /// Of the end of pods.
    pub end_seconds: u32,
    /// Whether a drain and the end of pods were seen before.
    pub end_seen: bool,
}

/// One step of a plan.
#[derive(Clone, Debug, Deserialize)]
pub struct PredictedStep {
    /// The plan's word for the step.
    pub step: String,
    /// The group.
    pub group: String,
    /// The group's revision after the step.
    pub revision: String,
}

const ARGS: [&str; 6] = ["rayfleet", "plan", "-f", "-", "-o", "json"];

/// Asks for the plan of applying a manifest. A plan that does not complete is an error with its text.
pub async fn predict(tools: &Tools, manifest: &Manifest) -> anyhow::Result<Prediction> {
    let text = tools.run(&ARGS, Some(&manifest.fleet.to_string()), COMMAND).await?;
    read(&text)
}

/// The same, whatever the plan ends in.
pub async fn predict_any(tools: &Tools, manifest: &Manifest) -> anyhow::Result<Prediction> {
    read(&tools.ask(&ARGS, Some(&manifest.fleet.to_string()), COMMAND).await?.out)
}

fn read(text: &str) -> anyhow::Result<Prediction> {
    serde_json::from_str(text).with_context(|| format!("this is no plan: {text}"))
}

impl Prediction {
    /// Compares the plan with what happened. `gpus` is the number of GPUs of one group.
    ///
    /// Which of several old groups is removed first depends on their load at that moment, and their slots
    /// with it, so steps are equal if they do the same to groups of the same revision. The plan only
    /// estimates how long pods take to terminate, conservatively: the most GPUs held are at least those of
    /// all groups, and at most those predicted.
    pub fn hold_against(
        &self,
        happened: &[GroupChange],
        extremes: &Extremes,
        gpus: u32,
    ) -> anyhow::Result<()> {
        let both = || format!("predicted:\n{}happened:\n{}", self.lines(), steps::lines(happened));
        ensure!(self.outcome == "Complete", "the plan ends {}, the rollout was complete", self.outcome);
        let predicted = self.steps.iter().map(|step| (step.step.as_str(), step.revision.as_str()));
        let as_it_was = happened.iter().map(|step| (step.what.as_str(), step.revision.as_str()));
        ensure!(predicted.eq(as_it_was), "the steps are not those of the plan; {}", both());
        ensure!(
            extremes.ready == Some(self.fewest_ready),
            "the plan has at least {} groups ready, it was {:?} by the fleet's status; {}",
            self.fewest_ready,
            extremes.ready,
            both()
        );
        ensure!(
            extremes.most == self.most_groups,
            "the plan has at most {} groups, it was {}; {}",
            self.most_groups,
            extremes.most,
            both()
        );
        let least = gpus * u32::try_from(self.most_groups).unwrap_or_default();
        ensure!(
            extremes.gpus.is_some_and(|held| (least..=self.gpus_peak).contains(&held)),
            "the plan has at most {} GPUs held, {least} of them by groups that are not ending; it was {:?}; {}",
            self.gpus_peak,
            extremes.gpus,
            both()
        );
        Ok(())
    }

    /// One line for each step.
    pub fn lines(&self) -> String {
        let line = |step: &PredictedStep| format!("  {} {} ({})\n", step.step, step.group, step.revision);
        self.steps.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::steps::What;

    fn predicted() -> Prediction {
        serde_json::from_str(
            r#"{"namespace": "n", "fleet": "f", "to": "b", "outcome": "Complete", "reason": null, "seconds": 9,
                "fewestReady": 2, "mostGroups": 3, "gpusNow": 4, "gpusPeak": 8, "timesSeen": true, "steps": [
                {"seconds": 0, "step": "create", "group": "f-b-2", "revision": "b", "ready": 2, "groups": 3, "gpus": 6},
                {"seconds": 5, "step": "drain", "group": "f-a-1", "revision": "a", "ready": 2, "groups": 3, "gpus": 6}]}"#,
        )
        .unwrap()
    }

    fn step(what: What, group: &str, revision: &str) -> GroupChange {
        GroupChange { what, group: group.into(), revision: revision.into() }
    }

    const EXTREMES: Extremes = Extremes { ready: Some(2), most: 3, addresses: Some(2), gpus: Some(6) };

    #[test]
    fn the_same_step_on_another_group_of_the_revision_matches() {
        let happened = [step(What::Create, "f-b-2", "b"), step(What::Drain, "f-a-0", "a")];
        for gpus in [6, 8] {
            let extremes = Extremes { gpus: Some(gpus), ..EXTREMES };
            predicted().hold_against(&happened, &extremes, 2).unwrap();
        }
        let wrong = [
            Extremes { ready: Some(1), ..EXTREMES },
            Extremes { most: 4, ..EXTREMES },
            Extremes { gpus: Some(10), ..EXTREMES },
            Extremes { gpus: Some(4), ..EXTREMES },
            Extremes { gpus: None, ..EXTREMES },
        ];
        for extremes in wrong {
            assert!(predicted().hold_against(&happened, &extremes, 2).is_err(), "{extremes:?}");
        }
    }

    #[test]
    fn other_steps_or_another_order_do_not_match() {
        let (create, drain) = (step(What::Create, "f-b-2", "b"), step(What::Drain, "f-a-1", "a"));
        for happened in [
            vec![create.clone()],
            vec![drain.clone(), create.clone()],
            vec![create.clone(), step(What::Drain, "f-b-2", "b")],
            vec![create, drain.clone(), drain],
        ] {
            let error = predicted().hold_against(&happened, &EXTREMES, 2).unwrap_err().to_string();
            assert!(error.contains("predicted:\n  create f-b-2 (b)\n"), "{error}");
        }
    }
}
