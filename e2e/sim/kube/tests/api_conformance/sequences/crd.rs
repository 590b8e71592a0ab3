//! The shipped CRD: it is accepted, it accepts the published examples, and it refuses what its rules
//! forbid.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::fleets::fleet;
use super::with;
use crate::step::{Sequence, Step, post, try_crd};

pub(super) fn all() -> Vec<Sequence> {
    let mut steps = vec![try_crd().code(201)];
    steps.extend(examples().into_iter().map(|fleet| post("rayclusterfleets?dryRun=All", fleet).code(201)));
    steps.extend(refused());
    vec![Sequence { name: "the CRD that is shipped", steps }]
}

/// The fleets of `examples/`, in the namespace of the test.
fn examples() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    let read = |file: &PathBuf| -> Vec<Value> {
        serde_saphyr::from_multiple(&std::fs::read_to_string(file).unwrap()).unwrap()
    };
    let mut fleets: Vec<Value> = files.iter().flat_map(read).collect();
    fleets.retain(|object| object["kind"] == "RayClusterFleet");
    for fleet in &mut fleets {
        fleet["metadata"].as_object_mut().unwrap().remove("namespace");
    }
    assert!(!fleets.is_empty(), "there are examples");
    fleets
}

/// Fleets that the CRD's own rules refuse, each valid except for one field.
fn refused() -> Vec<Step> {
    let change = |change: Value| post("rayclusterfleets?dryRun=All", with(fleet("f"), &change));
    let invalid = |cause: &str| {
        let about = "RayClusterFleet orchestration.aibrix.ai f";
        json!({"code": 422, "reason": "Invalid", "about": about, "causes": [format!("{cause} FieldValueInvalid")]})
    };
    vec![
        change(json!({"spec": {"replicas": 501}})).gives(invalid("spec.replicas")),
        change(json!({"spec": {"model": {"port": 10_500}}})).gives(invalid("spec.model.port")),
        change(json!({"spec": {"model": {"parallelism": {"pipeline": 3}}}}))
            .gives(invalid("spec.model.parallelism")),
        change(json!({"spec": {"template": {"metadata": {"labels": {"a": "other"}}}}}))
            .gives(invalid("spec.selector.matchLabels")),
    ]
}
