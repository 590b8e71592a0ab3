//! The manifests of `corpus/`, which have the shapes of those that AIBrix, LWS and vLLM publish: what is found in each, and what each
//! becomes. `INSTA_UPDATE=always cargo test -p rayfleet-lint` writes the snapshots again.

#![allow(clippy::unwrap_used, reason = "how a test's helper fails")]

use std::collections::BTreeSet;

use rayfleet_lint::migrate::Options;
use rayfleet_lint::{Rule, Severity, exit_code, lint, migrate, text};

const PUBLISHED: [(&str, &str); 9] = [
    ("aibrix-deepseek", include_str!("corpus/aibrix-deepseek.yaml")),
    ("aibrix-no-engine", include_str!("corpus/aibrix-no-engine.yaml")),
    ("aibrix-one-pod", include_str!("corpus/aibrix-one-pod.yaml")),
    ("aibrix-pipeline", include_str!("corpus/aibrix-pipeline.yaml")),
    ("aibrix-two-nodes", include_str!("corpus/aibrix-two-nodes.yaml")),
    ("lws-sglang", include_str!("corpus/lws-sglang.yaml")),
    ("lws-vllm-gpu", include_str!("corpus/lws-vllm-gpu.yaml")),
    ("lws-vllm-tpu", include_str!("corpus/lws-vllm-tpu.yaml")),
    ("other-kinds", include_str!("corpus/other-kinds.yaml")),
];
const TRAPS: &str = include_str!("corpus/traps.yaml");

fn linted(name: &str, manifest: &str) -> String {
    text::text(&format!("{name}.yaml"), &lint(manifest.as_bytes()).unwrap())
}

#[test]
fn what_is_found_in_published_manifests() {
    for (name, manifest) in PUBLISHED {
        insta::assert_snapshot!(format!("lint-{name}"), linted(name, manifest));
    }
    insta::assert_snapshot!("lint-traps", linted("traps", TRAPS));
}

#[test]
fn what_published_manifests_become() {
    for (name, manifest) in PUBLISHED {
        let new = migrate(manifest.as_bytes(), Options::default()).unwrap();
        let shown =
            format!("{}\n{}", new.yaml().unwrap(), text::text(&format!("{name}.yaml"), &new.findings));
        insta::assert_snapshot!(format!("migrate-{name}"), shown);
    }
    let split = Options { split_tensor: true };
    for (name, manifest) in [PUBLISHED[0], PUBLISHED[4]] {
        let new = migrate(manifest.as_bytes(), split).unwrap();
        let shown =
            format!("{}\n{}", new.yaml().unwrap(), text::text(&format!("{name}.yaml"), &new.findings));
        insta::assert_snapshot!(format!("split-{name}"), shown);
    }
}

#[test]
fn no_rule_is_there_that_nothing_ever_breaks() {
    let mut found = BTreeSet::new();
    for (_, manifest) in PUBLISHED.into_iter().chain([("traps", TRAPS)]) {
        found.extend(lint(manifest.as_bytes()).unwrap().into_iter().map(|finding| finding.rule));
        let new = migrate(manifest.as_bytes(), Options::default()).unwrap();
        found.extend(new.findings.into_iter().map(|finding| finding.rule));
    }
    let never: Vec<&str> =
        Rule::ALL.iter().filter(|rule| !found.contains(rule)).map(|rule| rule.id()).collect();
    assert_eq!(never, Vec::<&str>::new());
}

#[test]
fn what_a_migration_gives_is_valid_and_stays_as_it_is() {
    for (name, manifest) in PUBLISHED {
        for split_tensor in [false, true] {
            let options = Options { split_tensor };
            let once = migrate(manifest.as_bytes(), options).unwrap();
            let yaml = once.yaml().unwrap();
            let again = migrate(yaml.as_bytes(), options).unwrap();
            let value = |new: &rayfleet_lint::migrate::New| new.value.clone();
            let values = |of: &rayfleet_lint::Migrated| of.objects.iter().map(value).collect::<Vec<_>>();
            assert_eq!(values(&again), values(&once), "{name}");
            let errors = lint(yaml.as_bytes()).unwrap();
            let refused = [
                Rule::InvalidFleet,
                Rule::DroppedField,
                Rule::WrongType,
                Rule::RayStartBlocks,
                Rule::PortOfRay,
            ];
            let refused: Vec<_> = errors.iter().filter(|finding| refused.contains(&finding.rule)).collect();
            assert!(refused.is_empty(), "{name}: {refused:?}");
        }
    }
}

#[test]
fn the_projects_own_examples_are_clean() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut seen = 0;
    for file in std::fs::read_dir(examples).unwrap() {
        let path = file.unwrap().path();
        // A folder of what are no manifests.
        if path.is_dir() {
            continue;
        }
        let findings = lint(&std::fs::read(&path).unwrap()).unwrap();
        // AIBrix's shape is shown with what bites in it.
        let fails_from =
            if path.ends_with("aibrix-compatible.yaml") { Severity::Error } else { Severity::Note };
        assert_eq!(
            exit_code(&findings, fails_from),
            0,
            "{}",
            text::text(&path.display().to_string(), &findings)
        );
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
}
