//! Migration from AIBrix, and the effects of its CRD. Not standard scenarios: no real cluster plays them,
//! and they are played without faults.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

use std::path::Path;

use rayfleet_sim::run::{Plan, Scenario, simulated};

fn plays(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aibrix").join(name);
    let report = simulated(&Scenario::read(&file).unwrap(), 1, &Plan::default());
    assert!(report.failures.is_empty(), "{}\n{:#?}", report.text(), report.failures);
}

#[test]
fn a_foreign_crd_costs_no_group_and_no_request() {
    plays("foreign-crd.yaml");
}

#[test]
fn groups_of_aibrix_are_adopted_without_replacing_pods() {
    plays("move.yaml");
}

#[test]
fn an_orchestrator_that_starts_under_a_foreign_crd_costs_no_group_and_no_request() {
    plays("restart.yaml");
}

#[test]
fn a_fleet_without_its_model_at_startup_waits_for_its_manifest() {
    plays("restart-written.yaml");
}

#[test]
fn a_fleet_deleted_under_a_foreign_crd_is_removed_after_its_deadline() {
    plays("delete.yaml");
}

#[test]
fn a_fleet_deleted_under_a_foreign_crd_drains_once_its_crd_is_restored() {
    plays("delete-restored.yaml");
}
