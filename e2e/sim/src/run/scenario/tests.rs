//! The project's files are valid scenarios, and invalid ones are refused.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::super::faults::Fault;
use super::*;

fn written(name: &str, text: &str) -> Result<Scenario, ReadError> {
    let folder = std::env::temp_dir().join(format!("rayfleet-sim-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file: PathBuf = folder.join(name);
    fs::write(&file, text).unwrap();
    let read = Scenario::read(&file);
    fs::remove_file(&file).unwrap();
    read
}

#[test]
fn all_standard_scenarios_can_be_read() {
    let all = standard().unwrap();
    assert!(all.len() >= 18, "{}", all.len());
    for scenario in all {
        assert!(scenario.about.ends_with('.'), "{}", scenario.name);
        assert!(!scenario.steps.is_empty(), "{}", scenario.name);
        let fleet = serde_json::from_value(scenario.fleet.clone()).unwrap();
        assert!(rayfleet_api::ValidFleet::new(&fleet).is_ok(), "{}", scenario.name);
    }
}

#[test]
fn the_patches_of_a_scenario_change_its_manifest() {
    let scenario = written(
        "patched.yaml",
        "about: x.\nfleet:\n  manifest: {kind: RayClusterFleet, spec: {replicas: 1, list: [1, 2]}}\n  patches:\n  \
         - spec: {replicas: 3}\n  - [{op: remove, path: /spec/list/0}]\nnodes: []\nsteps: [delete, {wait: 90s}]\n\
         expect: {ready: 0}\n",
    )
    .unwrap();
    assert_eq!(scenario.fleet["spec"], json!({"replicas": 3, "list": [2]}));
    assert!(
        matches!(&scenario.steps[..], [Step::Delete, Step::Wait(Length(wait))] if *wait == Duration::from_secs(90))
    );
}

#[test]
fn only_without_faults_a_stalled_fleet_has_a_number_of_groups_that_serve() {
    let scenario = written(
        "stalled.yaml",
        "about: x.\nfleet: {manifest: {}}\nnodes: []\nsteps: [{until: {ready: 1, stalled: NoRoom}}, {until: {ready: 2}}]\n\
         expect: {ready: 0}\n",
    )
    .unwrap();
    let ready = |plan: &Plan| {
        let steps = scenario.under(plan).steps;
        let ready = |step: &Step| if let Step::Until(until) = step { until.ready } else { None };
        steps.iter().map(ready).collect::<Vec<_>>()
    };
    assert_eq!(ready(&Plan::default()), [Some(1), Some(2)]);
    assert_eq!(ready(&Plan(vec![Fault { kind: Kind::Suspended, at: 1 }])), [None, Some(2)]);
}

#[test]
fn unknown_fields_are_refused_by_name() {
    for (text, word) in [
        ("about: x\nfleet: {}\nnodes: []\nexpect: {ready: 0}\n", "`from` and `manifest`"),
        ("about: x\nfleet: {manifest: {}}\nnodes: []\nexpect: {redy: 0}\n", "redy"),
        ("about: x\nfleet: {manifest: {}}\nnodes: []\nsteps: [{wait: soon}]\nexpect: {ready: 0}\n", "soon"),
        (
            "about: x\nfleet: {manifest: {}}\nnodes: []\nsteps: [{apply: 3}]\nexpect: {ready: 0}\n",
            "map or a list",
        ),
    ] {
        let error = written("wrong.yaml", text).unwrap_err().to_string();
        assert!(error.contains(word), "{word} is not in {error}");
    }
}
