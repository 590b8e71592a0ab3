//! The manifests grant the orchestrator exactly the rights that it uses; every run of the simulation
//! refuses calls beyond them. Limited to chosen namespaces, it behaves the same.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

use std::collections::BTreeSet;
use std::path::Path;

use rayfleet_sim::run::scenario::standard;
use rayfleet_sim::run::{Install, Plan, Scenario, installed};

/// Runs that together make every kind of call.
const RUNS: [(&str, &str); 12] = [
    ("create", "unanswered:2,unanswered:3,unanswered:5"),
    ("create", "unanswered:8,unanswered:10,crash-stale:14"),
    ("upgrade-surge", "crash-stale:9"),
    ("third-revision", ""),
    ("undo", ""),
    ("delete-drains", ""),
    ("resized", ""),
    ("drain-node", ""),
    ("evict-worker", ""),
    ("port-change", ""),
    ("finalizer", ""),
    ("aibrix", ""),
];

/// Rights that are granted although no run uses them, with the reason.
const EXCEPTIONS: [(&str, &str); 4] = [
    (
        "update rayclusterfleets/finalizers.orchestration.aibrix.ai",
        "admission plugin OwnerReferencesPermissionEnforcement asks for it; the simulated API server does not have that",
    ),
    ("get services", AFTER_A_LOST_ANSWER),
    ("get controllerrevisions.apps", AFTER_A_LOST_ANSWER),
    ("get poddisruptionbudgets.policy", AFTER_A_LOST_ANSWER),
];
const AFTER_A_LOST_ANSWER: &str =
    "a create finds one of its name that no watch has shown yet; tests of the executor have it";

fn named(name: &str) -> Scenario {
    standard().unwrap().into_iter().find(|scenario| scenario.name == name).unwrap()
}

fn moved_from_aibrix() -> Scenario {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aibrix/move.yaml");
    Scenario::read(&file).unwrap()
}

fn used(install: Install) -> BTreeSet<rayfleet_sim::run::rights::Right> {
    let runs = RUNS.iter().map(|(name, plan)| {
        let mut scenario = named(name);
        if *name == "third-revision" {
            // Revisions beyond the limit are deleted.
            scenario.fleet["spec"]["revisionHistoryLimit"] = serde_json::json!(0);
        }
        (scenario, plan.parse().unwrap())
    });
    let mut used = BTreeSet::new();
    for (scenario, plan) in runs.chain([(moved_from_aibrix(), Plan::default())]) {
        let report = installed(&scenario, 1, &plan, install);
        assert!(report.failures.is_empty(), "{}\n{:#?}", report.text(), report.failures);
        used.extend(report.used);
    }
    used
}

/// Granted rights that were not used, except for the exceptions.
fn idle(install: Install) -> Vec<String> {
    let mut idle = install.rights("default").beside(&used(install));
    idle.retain(|right| {
        !EXCEPTIONS.iter().any(|(name, _)| right.strip_suffix(" in default").unwrap_or(right) == *name)
    });
    idle
}

#[test]
fn every_granted_right_is_used() {
    assert_eq!(idle(Install::Everywhere), Vec::<String>::new());
}

#[test]
fn every_namespaced_right_is_used() {
    assert_eq!(idle(Install::Namespaced), Vec::<String>::new());
}

#[test]
fn a_confined_install_creates_and_repairs_groups() {
    for name in ["create", "pod-deleted", "engine-only"] {
        let report = installed(&named(name), 1, &Plan::default(), Install::Confined);
        assert!(report.failures.is_empty(), "{}\n{:#?}", report.text(), report.failures);
    }
}

/// Applied by hand, in each namespace with fleets.
const BY_HAND: &str = "fleet-network-policy.yaml";

#[test]
fn every_kustomization_lists_the_manifests_beside_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests");
    for folder in ["", "orchestrator", "namespaced", "namespaced/role"] {
        let folder = root.join(folder);
        let text = std::fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
        let kustomization: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let paths = |list: &serde_json::Value| -> BTreeSet<String> {
            let items = list.as_array().cloned().unwrap_or_default();
            let path = |item: &serde_json::Value| item.as_str().or(item["path"].as_str()).map(str::to_owned);
            items.iter().filter_map(path).collect()
        };
        let listed: BTreeSet<String> = [paths(&kustomization["resources"]), paths(&kustomization["patches"])]
            .into_iter()
            .flatten()
            .collect();
        for path in &listed {
            assert!(folder.join(path).exists(), "{} lists {path}", folder.display());
        }
        let files = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut unlisted: Vec<String> =
            files.filter(|file| file.contains(".yaml") && !listed.contains(file)).collect();
        unlisted.retain(|file| file != "kustomization.yaml" && file != BY_HAND);
        assert!(unlisted.is_empty(), "{}: {unlisted:?}", folder.display());
    }
}
