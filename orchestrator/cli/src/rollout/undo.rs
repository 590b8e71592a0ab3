//! `rollout undo`: restores template and model of an earlier revision.

use kube::core::DynamicObject;
use rayfleet_cli_kit::{CliError, Terminal};
use serde_json::{Value, json};

use crate::error::OBJECT;
use crate::fleets::Fleets;
use crate::revisions::{self, Revision, Target};
use crate::rollout::args::UndoArgs;
use crate::view::Fleet;

/// How often the fleet is read again because somebody else changed its spec in between.
const ATTEMPTS: usize = 5;

pub(super) async fn run(args: &UndoArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let name = &args.fleet;
    for _ in 0..ATTEMPTS {
        let object = fleets.get(name).await?;
        if Fleet::read(&object).paused {
            return Err(CliError::failed(
                format!("cannot roll back fleet \"{name}\": it is paused"),
                format!("resume it first: kubectl rayfleet rollout resume {}", fleets.named(name)),
            ));
        }
        let stored = fleets.revisions(name).await?;
        let revisions = revisions::owned(&stored, &object);
        let current = revisions::current(&object)?;
        let revision =
            match revisions::target(&fleets.namespace, name, &revisions, &current, args.to_revision)? {
                Target::Already(number) => {
                    return terminal.print(&format!("{OBJECT}/{name} already at revision {number}\n"));
                }
                Target::To(revision) => revision,
            };
        let generation = object.metadata.generation.unwrap_or_default();
        if fleets.replace_at(name, generation, operations(&object, revision)).await?.is_some() {
            let (number, hash) = (revision.number, revision.hash()?);
            return terminal.print(&format!("{OBJECT}/{name} rolled back to revision {number} ({hash})\n"));
        }
    }
    Err(CliError::failed(
        format!("the spec of fleet \"{name}\" changed {ATTEMPTS} times while it was being rolled back"),
        format!(
            "see who writes it: kubectl get rayclusterfleet {} --show-managed-fields -o yaml",
            fleets.named(name)
        ),
    ))
}

/// The patch that makes the fleet's spec equal to the revision: whole blocks, so that nothing of the present
/// ones remains.
pub(super) fn operations(fleet: &DynamicObject, revision: &Revision) -> Vec<Value> {
    let has_model = fleet.data["spec"].get("model").is_some();
    let mut operations = vec![json!({"op": "replace", "path": "/spec/template", "value": revision.template})];
    if !revision.model.is_null() {
        operations.push(json!({"op": "add", "path": "/spec/model", "value": revision.model}));
    } else if has_model {
        operations.push(json!({"op": "remove", "path": "/spec/model"}));
    }
    operations
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rayfleet_cli_kit::Format;
    use rayfleet_cli_kit::testing::Kept;
    use rayfleet_sim_kube::api::{Call, Interceptor, Kind, Verb, Verdict};

    use super::*;
    use crate::rollout::testing::with_history;
    use crate::sample;
    use crate::simulated::Simulated;

    async fn undo(to_revision: Option<i64>, fleets: &Fleets) -> Result<(), CliError> {
        run(&UndoArgs { fleet: "llama".into(), to_revision }, fleets, &Kept::default().terminal(Format::Text))
            .await
    }

    /// Somebody else changes the spec just before the first patch.
    struct Meanwhile(Simulated, AtomicBool);

    impl Interceptor for Meanwhile {
        fn judge(&self, call: &Call) -> Verdict {
            if call.verb == Verb::Patch && !self.1.swap(true, Ordering::Relaxed) {
                let change = json!({"spec": {"replicas": 3}});
                self.0.0.merge_patch(&Kind::FLEET, "serving", "llama", &change).unwrap();
            }
            Verdict::Pass
        }
    }

    #[tokio::test]
    async fn the_revision_before_is_written_under_the_generation_that_was_read() {
        let server = with_history(sample::upgrading());
        let generation = server.llama().metadata.generation;
        undo(None, &server.fleets()).await.unwrap();
        assert_eq!(
            server.patches(),
            [json!([
                {"op": "test", "path": "/metadata/generation", "value": generation},
                {"op": "replace", "path": "/spec/template", "value": sample::template("ray:1")},
                {"op": "add", "path": "/spec/model", "value": sample::model(&[])}
            ])]
        );
        assert_eq!(server.llama().data["spec"]["model"]["engine"]["args"], json!([]));
    }

    #[tokio::test]
    async fn a_revision_without_a_model_removes_it() {
        let server = with_history(sample::upgrading());
        undo(Some(1), &server.fleets()).await.unwrap();
        let fleet = server.llama();
        assert_eq!(fleet.data["spec"].get("model"), None);
        assert_eq!(fleet.data["spec"]["template"], sample::template("ray:0"));
    }

    #[tokio::test]
    async fn being_there_already_writes_nothing() {
        let server = with_history(sample::upgrading());
        undo(Some(7), &server.fleets()).await.unwrap();
        assert!(server.patches().is_empty());
    }

    #[tokio::test]
    async fn a_change_in_between_is_read_again() {
        let server = with_history(sample::upgrading());
        let generation = server.llama().metadata.generation.unwrap();
        let meanwhile = Meanwhile(server.clone(), AtomicBool::new(false));
        undo(Some(6), &server.fleets_with(meanwhile)).await.unwrap();
        let generations: Vec<Value> =
            server.patches().iter().map(|patch| patch[0]["value"].clone()).collect();
        assert_eq!(generations, [json!(generation), json!(generation + 1)]);
        let spec = &server.llama().data["spec"];
        assert_eq!((&spec["replicas"], &spec["model"]["engine"]["args"]), (&json!(3), &json!([])));
    }

    #[tokio::test]
    async fn a_paused_fleet_is_not_rolled_back() {
        let mut fleet = sample::upgrading();
        fleet.data["spec"]["paused"] = json!(true);
        let server = with_history(fleet);
        let fault = undo(None, &server.fleets()).await.unwrap_err().to_string();
        assert!(fault.contains("resume it first: kubectl rayfleet rollout resume llama"), "{fault}");
        assert!(server.patches().is_empty());
    }
}
