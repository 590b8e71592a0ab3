//! Random walks: sequences of valid and invalid changes of a fleet, with random pauses. Whatever the
//! sequence, the fleet ends as if the last spec had been the only change, and as it started if that is the
//! first spec again.

use std::time::Duration;

use serde_json::{Value, json};

use super::faults::Plan;
use super::oracle;
use super::report::Report;
use super::scenario::{Length, Patch, Scenario, Step, Until};
use super::world::simulated;

/// Number of changes in a walk.
const CHANGES: usize = 10;
/// Longest pause between two changes, in milliseconds.
const PAUSE: u64 = 45_000;

/// Time for the last requests.
const LAST: Duration = Duration::from_secs(10);

/// A walk, and the direct way to the same final spec.
#[derive(Clone, Debug)]
pub struct Walk {
    /// All changes.
    pub long: Scenario,
    /// The last spec alone.
    pub short: Scenario,
}

/// The walk of a seed over the fleet of `base`. Every fourth ends where it started.
pub fn walk(base: &Scenario, seed: u64) -> Walk {
    let mut random = fastrand::Rng::with_seed(seed);
    let spec = base.fleet["spec"].clone();
    let mut last = spec.clone();
    if !seed.is_multiple_of(4) {
        for change in [replicas(&mut random), release(&mut random), speed(&mut random)] {
            json_patch::merge(&mut last, &change["spec"]);
        }
    }
    let mut steps = vec![complete()];
    for _ in 0..CHANGES {
        steps.push(Step::Try(Patch::Merge(change(&mut random))));
        steps.push(Step::Wait(Length(Duration::from_millis(random.u64(0..PAUSE)))));
    }
    // Some requests are to be answered on the direct way too.
    let end = || vec![replace(&last), complete(), Step::Wait(Length(LAST))];
    steps.extend(end());
    let mut expect = base.unbounded().expect;
    expect.ready = last["replicas"].as_u64().and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or(1);
    let scenario = |kind: &str, steps: Vec<Step>| Scenario {
        name: format!("walk-{seed}-{kind}"),
        about: format!("A walk of {CHANGES} changes."),
        steps,
        expect: expect.clone(),
        ..base.clone()
    };
    Walk { long: scenario("long", steps), short: scenario("short", [vec![complete()], end()].concat()) }
}

/// Plays a walk, and compares the final states.
pub fn walked(walk: &Walk, seed: u64) -> Report {
    let short = simulated(&walk.short, seed, &Plan::default());
    let mut long = simulated(&walk.long, seed, &Plan::default());
    long.failures.extend(short.failures.iter().map(|failure| format!("the direct way: {failure}")));
    long.failures.extend(oracle::same_end(&short, &long));
    long
}

fn complete() -> Step {
    Step::Until(Until { complete: true, within: Length::minutes(60), ..Until::default() })
}

fn replace(spec: &Value) -> Step {
    let operations = json!([{ "op": "replace", "path": "/spec", "value": spec }]);
    match serde_json::from_value(operations) {
        Ok(patch) => Step::Apply(Patch::Json(patch)),
        Err(error) => unreachable!("a JSON patch of one operation: {error}"),
    }
}

fn replicas(random: &mut fastrand::Rng) -> Value {
    json!({"spec": {"replicas": random.u32(1..=3)}})
}

fn release(random: &mut fastrand::Rng) -> Value {
    let release = ["1", "2", "3"].get(random.usize(0..3)).copied();
    json!({"spec": {"template": {"metadata": {"annotations": {"release": release}}}}})
}

fn speed(random: &mut fastrand::Rng) -> Value {
    let speed = random.u32(20..=22).to_string();
    json!({"spec": {"model": {"engine": {"args": ["--tokens-per-second", speed, "--load-seconds", "1"]}}}})
}

/// One change: most are valid, some are refused by the API server, some by the orchestrator, some lead to
/// engines that fail.
fn change(random: &mut fastrand::Rng) -> Value {
    match random.u32(0..22) {
        0..=2 => replicas(random),
        3..=5 => release(random),
        6 | 7 => speed(random),
        8 => json!({"spec": {"replicas": 0}}),
        9 => json!({"spec": {"paused": random.bool()}}),
        10 => json!({"spec": {"strategy": {"rollingUpdate": {"partition": random.u32(0..=2)}}}}),
        11 => {
            json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": random.u32(0..=1)}}}})
        }
        12 => json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}),
        13 => json!({"spec": {"strategy": {"type": "RollingUpdate", "onFailure": "Rollback"}}}),
        14 => json!({"spec": {"model": {"source": "/var/lib/rayfleet-local/models/absent"}}}),
        15 => json!({"spec": {"model": {"source": "/var/lib/rayfleet-local/models/tiny"}}}),
        16 => json!({"spec": {"model": {"parallelism": {"tensor": 2, "pipeline": 2}}}}),
        17 => json!({"spec": {"replicas": -1}}),
        18 => json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
        19 => json!({"spec": {"model": {"engine": {"args": ["--por", "1"]}}}}),
        20 => json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}),
        _ => json!({"spec": {"template": {"spec": {"headGroupSpec": null}}}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::scenario::standard;

    #[test]
    fn a_walk_is_reproducible_and_every_fourth_ends_where_it_started() {
        let base = standard().unwrap().into_iter().find(|scenario| scenario.name == "create").unwrap();
        let steps = |seed| format!("{:?}", walk(&base, seed).long.steps);
        assert_eq!(steps(1), steps(1));
        assert_ne!(steps(1), steps(2));
        let back = walk(&base, 4).short.steps;
        let Some(Step::Apply(patch)) = back.get(1) else { panic!("{back:?}") };
        let mut fleet = json!({"spec": {}});
        patch.apply(&mut fleet).unwrap();
        assert_eq!(fleet["spec"], base.fleet["spec"]);
    }
}
