//! What will bite in manifests of multi-node engines, and their translation into fleets with a model block: AIBrix's and Rayfleet's
//! `RayClusterFleet`s, `LeaderWorkerSet`s, and the Services, PodDisruptionBudgets and claims of volumes beside them.
//!
//! Only pure functions over the bytes of a manifest: no file, no network, no cluster and no clock. Everything is bounded, whatever the
//! bytes are. What a fleet may say is checked by `rayfleet-api`, not here a second time.

pub mod finding;
mod launch;
pub mod migrate;
pub mod node;
mod path;
pub mod place;
mod plain;
mod probe;
pub mod read;
pub mod rule;
mod rules;
pub mod sarif;
pub mod severity;
mod shell;
pub mod text;
mod vllm;
mod workload;

pub use finding::{Finding, exit_code};
pub use migrate::{Migrated, migrate};
pub use place::Place;
pub use read::{LARGEST, Unreadable};
pub use rule::Rule;
pub use severity::Severity;

/// Everything that is found in a manifest (YAML documents or JSON), by its place.
///
/// # Errors
/// For bytes that are no manifest, or more than is read.
pub fn lint(manifest: &[u8]) -> Result<Vec<Finding>, Unreadable> {
    let manifest = read::read(manifest)?;
    Ok(rules::check(&manifest).sorted())
}

/// Everything that is found in several manifests that are applied together, one answer for each in their order: a Service of one may select
/// pods of another. At most a thousand findings of all are kept.
///
/// # Errors
/// Each for itself: for bytes that are no manifest, or more than is read.
pub fn lint_all(manifests: &[&[u8]]) -> Vec<Result<Vec<Finding>, Unreadable>> {
    let mut all = read::Manifest::default();
    let numbers: Vec<Result<usize, Unreadable>> = manifests
        .iter()
        .map(|bytes| {
            let file = all.files;
            all.append(read::read(bytes)?);
            Ok(file)
        })
        .collect();
    let found = rules::check(&all).sorted();
    let of = |file: usize| found.iter().filter(|finding| finding.file == file).cloned().collect();
    numbers.into_iter().map(|file| file.map(of)).collect()
}
