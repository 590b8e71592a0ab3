//! Formats a plan for people and programs. No decisions here.

use std::collections::BTreeSet;
use std::time::Duration;

use rayfleet_cli_kit::age::span;
use rayfleet_cli_kit::table::{Cell, Table, Tone};
use rayfleet_core::forecast::{Forecast, Moment, Outcome, Question};
use serde_json::{Value, json};

/// The plan as text.
pub(super) fn text(question: &Question<'_>, forecast: &Forecast, color: bool) -> String {
    let mut text = headline(question);
    if !forecast.moments.is_empty() {
        text.push('\n');
        text.push_str(&steps(&forecast.moments).render(color));
    }
    text.push('\n');
    for line in summary(question, forecast, color) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn headline(question: &Question<'_>) -> String {
    let fleet = question.fleet;
    let strategy = &fleet.strategy;
    let from = question.status.rollout.as_ref().and_then(|rollout| rollout.stable.as_ref());
    let to = &fleet.revision;
    let revisions = match from.filter(|from| *from != to) {
        Some(from) => format!("{from} -> {to}"),
        None => to.to_string(),
    };
    let groups = if fleet.replicas == 1 { "group" } else { "groups" };
    format!(
        "{}/{}  {revisions}  {} {groups} of {} GPUs  maxSurge {}, maxUnavailable {}\n",
        fleet.namespace,
        fleet.name,
        fleet.replicas,
        fleet.shape.gpus(),
        strategy.max_surge,
        strategy.max_unavailable
    )
}

fn steps(moments: &[Moment]) -> Table {
    let mut table = Table::new(["TIME", "STEP", "GROUP", "REVISION", "READY", "GROUPS", "GPUS"]);
    for moment in moments {
        let number = |number: u32| Cell::from(number.to_string());
        table.push([
            Cell::from(after(moment.seconds)),
            Cell::from(moment.what.as_str()),
            Cell::from(&*moment.group),
            Cell::from(moment.revision.to_string()),
            number(moment.ready),
            number(moment.groups),
            number(moment.gpus),
        ]);
    }
    table
}

fn after(seconds: i64) -> String {
    format!("+{}", of(seconds))
}

fn of(seconds: i64) -> String {
    span(Duration::from_secs(seconds.try_into().unwrap_or_default()))
}

fn summary(question: &Question<'_>, forecast: &Forecast, color: bool) -> Vec<String> {
    let mut lines = vec![outcome(forecast, color)];
    if !forecast.moments.is_empty() {
        lines.push(service(question, forecast, color));
        lines.push(size(forecast));
        lines.push(times(question));
        lines.extend(volumes(question));
    }
    lines
}

/// The outcome, and the availability of a rollout that would end, in one line.
pub(super) fn line(question: &Question<'_>, forecast: &Forecast, color: bool) -> String {
    let outcome = outcome(forecast, color);
    if forecast.outcome == Outcome::Complete && !forecast.moments.is_empty() {
        format!("{outcome} {}", service(question, forecast, color))
    } else {
        outcome
    }
}

fn outcome(forecast: &Forecast, color: bool) -> String {
    match &forecast.outcome {
        Outcome::Complete if forecast.moments.is_empty() => Tone::Good.paint("Nothing to do.", color),
        Outcome::Complete => {
            let text = format!("Complete after about {}.", of(forecast.seconds));
            Tone::Good.paint(&text, color)
        }
        Outcome::Paused => Tone::Busy.paint("spec.paused holds the rollout.", color),
        Outcome::Stalled(why) => Tone::Bad.paint(&format!("Stands still: {why}"), color),
        Outcome::Open => Tone::Busy.paint("Takes longer than a plan simulates.", color),
    }
}

/// The line about availability.
fn service(question: &Question<'_>, forecast: &Forecast, color: bool) -> String {
    let fleet = question.fleet;
    let floor = fleet.replicas.saturating_sub(fleet.strategy.max_unavailable);
    if forecast.fewest_ready > 0 || fleet.replicas == 0 {
        return format!(
            "Never fewer than {} of {} groups take traffic (maxUnavailable asks for {floor}).",
            forecast.fewest_ready, fleet.replicas
        );
    }
    let from = forecast.moments.iter().find(|moment| moment.ready == 0).map_or(0, |moment| moment.seconds);
    let until = forecast.moments.iter().find(|moment| moment.ready > 0 && moment.seconds >= from);
    if question.status.ready_replicas == 0
        && let Some(first) = until
    {
        // Nothing is taken away from anybody.
        return format!("The first group takes traffic after about {}; none does now.", of(first.seconds));
    }
    let until = until.map_or_else(|| "the end".to_owned(), |moment| after(moment.seconds));
    Tone::Bad.paint(&format!("No group takes traffic from {} to {until}.", after(from)), color)
}

/// The line about GPUs and groups.
fn size(forecast: &Forecast) -> String {
    let more = forecast.gpus_peak.saturating_sub(forecast.gpus_now);
    let more = if more == 0 { "no more than now".to_owned() } else { format!("{more} more than now") };
    let groups = if forecast.most_groups == 1 { "group" } else { "groups" };
    format!(
        "At most {} {groups} at a time, holding {} GPUs: {more}.",
        forecast.most_groups, forecast.gpus_peak
    )
}

/// The line about the assumed durations.
fn times(question: &Question<'_>) -> String {
    let pace = question.pace;
    let source = if pace.observed {
        "as this fleet's groups took"
    } else {
        "assumed: no start of a group with this model was observed; --start sets the latter"
    };
    let ends = if pace.observed_end { "as they took" } else { "assumed" };
    format!(
        "Calculated with {} for pods and {} for an engine to start ({source}), {} for a drain and {} for pods to end ({ends}).",
        span(pace.pods),
        span(pace.start),
        span(pace.drain),
        span(pace.end)
    )
}

/// The line about volumes, which capacity does not cover.
fn volumes(question: &Question<'_>) -> Option<String> {
    let claims: Vec<&str> = claims(question).into_iter().collect();
    (!claims.is_empty()).then(|| {
        format!(
            "Not counted: to which nodes the volumes of {} can go. One that is bound to a node or zone may leave pods pending.",
            claims.join(", ")
        )
    })
}

/// Volume claims of a group's pods.
fn claims<'q>(question: &Question<'q>) -> BTreeSet<&'q str> {
    let volumes = question.fleet.shape.roles.iter().filter_map(|role| role.spec["volumes"].as_array());
    let claims = volumes.flatten().map(|volume| &volume["persistentVolumeClaim"]["claimName"]);
    claims.filter_map(Value::as_str).collect()
}

/// The plan as a document.
pub(super) fn value(question: &Question<'_>, forecast: &Forecast) -> Value {
    let (outcome, reason) = match &forecast.outcome {
        Outcome::Complete => ("Complete", None),
        Outcome::Paused => ("Paused", None),
        Outcome::Stalled(why) => ("Stalled", Some(why)),
        Outcome::Open => ("Open", None),
    };
    let step = |moment: &Moment| {
        json!({
            "seconds": moment.seconds,
            "step": moment.what.as_str(),
            "group": moment.group,
            "revision": moment.revision,
            "ready": moment.ready,
            "groups": moment.groups,
            "gpus": moment.gpus,
        })
    };
    json!({
        "namespace": question.fleet.namespace,
        "fleet": question.fleet.name,
        "to": question.fleet.revision,
        "outcome": outcome,
        "reason": reason,
        "seconds": forecast.seconds,
        "fewestReady": forecast.fewest_ready,
        "mostGroups": forecast.most_groups,
        "gpusNow": forecast.gpus_now,
        "gpusPeak": forecast.gpus_peak,
        "timesSeen": question.pace.observed,
        "times": {
            "podsSeconds": question.pace.pods.as_secs(),
            "startSeconds": question.pace.start.as_secs(),
            "drainSeconds": question.pace.drain.as_secs(),
            "stopSeconds": question.pace.stop.as_secs(),
            "endSeconds": question.pace.end.as_secs(),
            "endSeen": question.pace.observed_end,
        },
        "claimsNotCounted": claims(question),
        "steps": forecast.moments.iter().map(step).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use rayfleet_api::{RayClusterFleet, RayClusterFleetStatus, ValidFleet};
    use rayfleet_core::capacity::Viewer;
    use rayfleet_core::forecast::{Pace, forecast};

    use super::*;
    use crate::plan::read;
    use crate::sample;

    /// The plan of a new fleet with this strategy on `gpus` nodes of one GPU.
    fn planned(strategy: &Value, gpus: usize, show: impl Fn(&Question<'_>, &Forecast) -> String) -> String {
        let mut spec = sample::spec("ray:1", &[]);
        spec["strategy"] = strategy.clone();
        planned_of(&spec, gpus, show)
    }

    fn planned_of(spec: &Value, gpus: usize, show: impl Fn(&Question<'_>, &Forecast) -> String) -> String {
        let object = serde_json::to_value(sample::object(spec, &Value::Null)).unwrap();
        let raw: RayClusterFleet = serde_json::from_value(object).unwrap();
        let node = |number: usize| {
            let node = json!({
                "metadata": {"name": format!("node-{number}")},
                "status": {
                    "allocatable": {"nvidia.com/gpu": "1", "pods": "110"},
                    "conditions": [{"type": "Ready", "status": "True"}]
                }
            });
            read::node(&node.to_string()).unwrap()
        };
        let second = Duration::from_secs(1);
        let pace = Pace {
            pods: 60 * second,
            start: 600 * second,
            drain: second,
            stop: Duration::ZERO,
            end: second,
            observed: false,
            observed_end: false,
        };
        let fleet = ValidFleet::new(&raw).unwrap();
        let question = Question {
            fleet: &fleet,
            stable: None,
            status: &RayClusterFleetStatus::default(),
            capacity: &read::capacity(&Viewer::of(&fleet), (0..gpus).map(node).collect(), &[], &[]),
            pace,
            now: sample::now(),
        };
        show(&question, &forecast(&question))
    }

    #[test]
    fn the_text_of_a_new_fleet() {
        insta::assert_snapshot!(planned(&json!(null), 4, |question, forecast| text(
            question, forecast, false
        )));
    }

    #[test]
    fn the_text_without_room() {
        insta::assert_snapshot!(planned(&json!(null), 3, |question, forecast| text(
            question, forecast, false
        )));
    }

    #[test]
    fn the_outcome_in_one_line() {
        let line = |gpus| planned(&json!(null), gpus, |question, forecast| line(question, forecast, false));
        assert_eq!(
            line(4),
            "Complete after about 11m. The first group takes traffic after about 11m; none does now."
        );
        assert!(line(3).starts_with("Stands still: ") && !line(3).contains("takes traffic"), "{}", line(3));
    }

    #[test]
    fn volumes_that_were_not_checked_are_named() {
        let mut spec = sample::spec("ray:1", &[]);
        let pod = &mut spec["template"]["spec"]["headGroupSpec"]["template"]["spec"];
        pod["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "weights"}}, {"name": "e", "emptyDir": {}}]);
        let text = planned_of(&spec, 4, |question, forecast| text(question, forecast, false));
        assert!(text.contains("Not counted: to which nodes the volumes of weights can go."), "{text}");
        let document = planned_of(&spec, 4, |question, forecast| value(question, forecast).to_string());
        assert!(document.contains(r#""claimsNotCounted":["weights"]"#), "{document}");
    }

    #[test]
    fn the_document_of_a_plan() {
        insta::assert_snapshot!(planned(&json!(null), 4, |question, forecast| {
            serde_json::to_string_pretty(&value(question, forecast)).unwrap()
        }));
    }
}
