//! The standard scenarios without faults: each reaches its expected final state, and the same seed gives
//! the same run.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

use rayfleet_sim::run::grid::{in_parallel, judged};
use rayfleet_sim::run::scenario::standard;
use rayfleet_sim::run::{Plan, Scenario, simulated, trace};

fn named(name: &str) -> Scenario {
    standard().unwrap().into_iter().find(|scenario| scenario.name == name).unwrap()
}

#[test]
fn every_scenario_reaches_its_expected_end() {
    let mut failed = Vec::new();
    let run = |scenario: &Scenario| simulated(scenario, 1, &Plan::default());
    in_parallel(2, &standard().unwrap(), run, |report| {
        if !report.failures.is_empty() {
            println!("{}", report.text());
            failed.push(format!("{}: {}", report.scenario, report.failures.join("; ")));
        }
    });
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn unmet_conditions_and_expectations_are_reported() {
    let reported = |step: &str, expect: &str| {
        let mut scenario = named("create");
        scenario.steps = vec![serde_json::from_str(step).unwrap()];
        scenario.expect = serde_json::from_str(expect).unwrap();
        simulated(&scenario, 1, &Plan::default()).failures
    };
    let complete = r#"{"until": {"complete": true}}"#;
    for (step, expect, says) in [
        (r#"{"kill": {"engine": 7}}"#, r#"{"ready": 0}"#, ["step 1: there is no group 7"].as_slice()),
        (
            r#"{"until": {"ready": 3, "within": "90s"}}"#,
            r#"{"ready": 2}"#,
            &["step 1: after 90 s this does not hold: ready 3; the fleet: 2 ready"],
        ),
        (
            complete,
            r#"{"ready": 3, "minReady": 3, "maxGroups": 1}"#,
            &[
                "after 40 min ready should be 3 and is 2; the fleet: 2 ready",
                "only 2 groups took traffic",
                "2 RayClusters existed at one time, at most 1 allowed",
            ],
        ),
    ] {
        let failures = reported(step, expect);
        for says in says {
            assert!(failures.iter().any(|failure| failure.starts_with(says)), "{says}: {failures:#?}");
        }
    }
}

/// Regressions found by soaks and the grid: a replica that became leader again kept the token of a Ray
/// cluster that had been re-created under its name; one that took over closed the gates of groups that had
/// just started to serve; a group counted as serving while it left the endpoints; one that took over with a
/// stale list of pods closed all gates at once.
#[test]
fn past_failures_stay_fixed() {
    for (name, seed, plan) in [
        ("undo", 20_037, "hangs:14,hangs:20,hangs:44"),
        ("bad-model", 30_002, "crash-after:13,crash-before:15"),
        ("undo", 1, "hangs:28"),
        ("upgrade-no-room", 40_058, "hangs:16,watch-expires:52,hangs:2,event-late:162"),
    ] {
        let scenario = named(name);
        let report = judged(&scenario, &simulated(&scenario, seed, &Plan::default()), &plan.parse().unwrap());
        assert!(report.failures.is_empty(), "{}", report.text());
    }
}

/// Pods with copied labels, unparseable timestamps and another tool's labels, at any moment of a run,
/// followed by a list: they have no effect.
#[test]
fn foreign_objects_do_not_affect_a_fleet() {
    for (name, plan) in [
        ("create", "foreign:6,watch-expires:30"),
        ("upgrade-surge", "foreign:14,crash-after:16"),
        ("upgrade-no-room", "foreign:9"),
        ("delete", "foreign:10"),
        ("aibrix", "foreign:8,watch-expires:60"),
    ] {
        let scenario = named(name);
        let report = judged(&scenario, &simulated(&scenario, 1, &Plan::default()), &plan.parse().unwrap());
        assert!(report.failures.is_empty(), "{}", report.text());
        let came = report.lines.iter().any(|line| line.what.contains("foreign at write"));
        assert!(came, "{name}: the fault did not occur");
    }
}

/// RayClusters are resized and suspended by others at some write of a run: the final state is that of an
/// undisturbed run.
#[test]
fn a_foreign_resize_or_suspension_does_not_change_the_final_state() {
    let mut failed = Vec::new();
    let names = ["create", "scale", "upgrade-surge", "upgrade-no-room", "engine-only", "canary", "aibrix"];
    let plans = ["resized:4", "resized:9", "resized:14", "suspended:4", "suspended:9", "suspended:14"];
    let baselines: Vec<_> =
        names.map(named).into_iter().map(|of| (simulated(&of, 1, &Plan::default()), of)).collect();
    let all: Vec<_> = baselines.iter().flat_map(|run| plans.map(|plan| (run, plan))).collect();
    let run = |((baseline, scenario), plan): &(&(_, Scenario), &str)| {
        judged(scenario, baseline, &plan.parse().unwrap())
    };
    in_parallel(2, &all, run, |report| {
        if !report.failures.is_empty() {
            println!("{}", report.text());
            failed.push(format!("{} {}: {}", report.scenario, report.plan, report.failures.join("; ")));
        }
    });
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_run_is_reproducible_by_its_seed() {
    let scenario = named("upgrade-surge");
    let plan: Plan = "crash-after:9,watch-breaks:60,unanswered:20".parse().unwrap();
    let lines = |seed| trace::text(&simulated(&scenario, seed, &plan).lines);
    let (once, again) = (lines(3), lines(3));
    let apart = once.lines().zip(again.lines()).find(|(a, b)| a != b);
    assert_eq!(apart, None);
    assert_eq!(once.len(), again.len());
    assert_ne!(once, lines(4));
}
