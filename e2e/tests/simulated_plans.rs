//! The plan of each of a row of changes against what the simulation then does: the same steps, as many groups ready and in existence,
//! and the time. The same changes are made on a real cluster by `hack/e2e plan_agrees`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

use rayfleet_api::RayClusterFleet;
use rayfleet_e2e::changes::compared::{Compared, Happened, table};
use rayfleet_e2e::changes::{Change, End, changes, first};
use rayfleet_e2e::cluster::plan_check::{PredictedStep, Prediction, Times};
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::cluster::steps;
use rayfleet_sim::run::planned::Planned;
use rayfleet_sim::run::scenario::{Patch, Step, Until};
use rayfleet_sim::run::{Scenario, planned};
use serde_json::{Value, json};

const SEED: u64 = 1;

fn scenario() -> Scenario {
    let mut manifest = first().unwrap();
    let until = |until: &Value| Step::Until(serde_json::from_value::<Until>(until.clone()).unwrap());
    let complete = json!({"complete": true});
    let fleet = manifest.fleet.clone();
    let mut steps = vec![until(&complete)];
    for change in changes() {
        manifest = change.applied_to(manifest).unwrap();
        let patch = json!([{"op": "replace", "path": "/spec", "value": manifest.fleet["spec"]}]);
        steps.push(Step::Apply(Patch::of(patch).unwrap()));
        steps.push(match change.end {
            End::Complete => until(&complete),
            // What happens until then is all that happens.
            End::Paused => Step::Wait(serde_json::from_value(json!("30s")).unwrap()),
            End::Stalled => until(&json!({"stalled": "NoRoom"})),
        });
    }
    Scenario {
        name: "planned".to_owned(),
        about: "Changes with their plans.".to_owned(),
        fleet,
        others: Vec::new(),
        nodes: serde_json::from_value(json!([{"name": "node-", "count": 3, "gpus": 4}])).unwrap(),
        load: serde_json::from_value(json!({})).unwrap(),
        steps,
        expect: serde_json::from_value(json!({"ready": 2})).unwrap(),
        standby: false,
        from_aibrix: false,
        only_simulated: None,
    }
}

#[test]
fn plans_agree_with_what_then_happens() {
    let (report, planned) = planned(&scenario(), SEED);
    assert!(report.failures.is_empty(), "{}", report.text());
    let all = changes();
    assert_eq!(planned.len(), all.len());
    let all: Vec<Compared> =
        all.iter().zip(&planned).map(|(change, planned)| compared(change, planned)).collect();
    println!("{}", table(&all));
    let wrong: Vec<String> = all
        .iter()
        .flat_map(|it| {
            it.differences().into_iter().map(move |difference| format!("{}: {difference}", it.change))
        })
        .collect();
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), table(&all));
}

fn compared(change: &Change, planned: &Planned) -> Compared {
    let forecast = &planned.forecast;
    let steps = forecast.moments.iter().map(|moment| PredictedStep {
        step: moment.what.as_str().to_owned(),
        group: moment.group.to_string(),
        revision: moment.revision.to_string(),
    });
    let whole = |number: u32| i32::try_from(number).unwrap();
    let prediction = Prediction {
        outcome: outcome(forecast).to_owned(),
        seconds: forecast.seconds,
        fewest_ready: whole(forecast.fewest_ready),
        most_groups: whole(forecast.most_groups),
        gpus_now: forecast.gpus_now,
        gpus_peak: forecast.gpus_peak,
        steps: steps.collect(),
        times: Times::default(),
        times_seen: planned.pace.observed,
    };
    let end = change.end;
    let seen = planned.pace.observed && planned.pace.observed_end;
    let happened = happened(end, planned);
    Compared { change: change.name, end: end.as_str(), seen, planned: prediction, happened }
}

fn outcome(forecast: &rayfleet_core::forecast::Forecast) -> &'static str {
    use rayfleet_core::forecast::Outcome;
    match forecast.outcome {
        Outcome::Complete => "Complete",
        Outcome::Paused => "Paused",
        Outcome::Stalled(_) => "Stalled",
        Outcome::Open => "Open",
    }
}

/// What the states show up to the first one that has the change.
fn happened(end: End, planned: &Planned) -> Happened {
    let over = planned.states.iter().position(|(_, fleet)| has(end, fleet, planned));
    let states = &planned.states[..=over.unwrap_or(planned.states.len() - 1)];
    let pairs = states.windows(2);
    let steps = pairs.flat_map(|pair| steps::between(groups(&pair[0].1), groups(&pair[1].1))).collect();
    let counts = |of: fn(&rayfleet_api::RayClusterFleetStatus) -> i32| {
        states.iter().map(move |(_, fleet)| fleet.status.as_ref().map_or(0, of))
    };
    Happened {
        steps,
        fewest_ready: counts(|status| status.ready_replicas).min().unwrap(),
        most_groups: counts(|status| status.replicas).max().unwrap(),
        seconds: states.last().unwrap().0.saturating_sub(planned.at).as_secs_f64(),
    }
}

/// Whether a fleet has ended as the change ends. The state before the change may have been such an end, too.
fn has(end: End, fleet: &RayClusterFleet, planned: &Planned) -> bool {
    let before = planned.states[0].1.metadata.generation;
    fleet.metadata.generation > before && end.reached(fleet)
}
