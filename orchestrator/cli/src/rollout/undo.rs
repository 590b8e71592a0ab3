//! `rollout undo`: restores template and model of an earlier revision.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::args::UndoArgs;
use crate::error::{CliError, OBJECT};
use crate::fleets::Fleets;
use crate::revisions::{self, Revision, Target};
use crate::terminal::Terminal;
use crate::view::Fleet;

/// How often the fleet is read again because somebody else changed its spec in between.
const ATTEMPTS: usize = 5;

pub(super) async fn run(args: &UndoArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let name = &args.fleet;
    for _ in 0..ATTEMPTS {
        let object = fleets.get(name).await?;
        if Fleet::read(&object).paused {
            return Err(CliError::with_cure(
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
    Err(CliError::with_cure(
        format!("the spec of fleet \"{name}\" changed {ATTEMPTS} times while it was being rolled back"),
        format!(
            "see who writes it: kubectl get rayclusterfleet {} --show-managed-fields -o yaml",
            fleets.named(name)
        ),
    ))
}

/// The patch that makes the fleet's spec equal to the revision: whole blocks, so that nothing of the present
/// ones remains.
fn operations(fleet: &DynamicObject, revision: &Revision) -> Vec<Value> {
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
    use k8s_openapi::api::apps::v1::ControllerRevision;

    use super::*;
    use crate::fake::Fake;
    use crate::sample;
    use crate::terminal::kept::Kept;

    fn stored(number: i64, image: &str, model: &Value) -> ControllerRevision {
        serde_json::from_value(json!({
            "metadata": {
                "name": format!("llama-{number}"),
                "namespace": "serving",
                "ownerReferences": [{
                    "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet",
                    "name": "llama", "uid": "fleet-uid"
                }]
            },
            "revision": number,
            "data": {"spec": {"template": sample::template(image), "model": model}}
        }))
        .unwrap()
    }

    fn history() -> Vec<ControllerRevision> {
        vec![
            stored(1, "ray:0", &Value::Null),
            stored(6, "ray:1", &sample::model(&[])),
            stored(7, "ray:1", &sample::model(&["--max-model-len", "8192"])),
        ]
    }

    fn args(to_revision: Option<i64>) -> UndoArgs {
        UndoArgs { fleet: "llama".into(), to_revision }
    }

    #[tokio::test]
    async fn an_undo_writes_the_previous_revision_with_a_test_of_the_generation() {
        let fake = Fake::new([sample::upgrading()]).with_revisions(history());
        run(&args(None), &fake.fleets(), &Kept::default().terminal(false)).await.unwrap();
        assert_eq!(
            fake.patches(),
            [json!([
                {"op": "test", "path": "/metadata/generation", "value": 4},
                {"op": "replace", "path": "/spec/template", "value": sample::template("ray:1")},
                {"op": "add", "path": "/spec/model", "value": sample::model(&[])}
            ])]
        );
    }

    #[tokio::test]
    async fn a_revision_without_a_model_removes_it() {
        let fake = Fake::new([sample::upgrading()]).with_revisions(history());
        run(&args(Some(1)), &fake.fleets(), &Kept::default().terminal(false)).await.unwrap();
        assert_eq!(fake.patches()[0][2], json!({"op": "remove", "path": "/spec/model"}));
    }

    #[tokio::test]
    async fn an_undo_to_the_present_revision_writes_nothing() {
        let fake = Fake::new([sample::upgrading()]).with_revisions(history());
        run(&args(Some(7)), &fake.fleets(), &Kept::default().terminal(false)).await.unwrap();
        assert!(fake.patches().is_empty());
    }

    #[tokio::test]
    async fn an_undo_is_retried_after_a_conflicting_change() {
        let fake = Fake::new([sample::upgrading()]).with_revisions(history()).changing_once();
        run(&args(Some(6)), &fake.fleets(), &Kept::default().terminal(false)).await.unwrap();
        let generations: Vec<Value> = fake.patches().iter().map(|patch| patch[0]["value"].clone()).collect();
        assert_eq!(generations, [json!(4), json!(5)]);
    }

    #[tokio::test]
    async fn a_paused_fleet_is_not_rolled_back() {
        let mut fleet = sample::upgrading();
        fleet.data["spec"]["paused"] = json!(true);
        let fake = Fake::new([fleet]).with_revisions(history());
        let fault =
            run(&args(None), &fake.fleets(), &Kept::default().terminal(false)).await.unwrap_err().to_string();
        assert!(fault.contains("resume it first: kubectl rayfleet rollout resume llama"), "{fault}");
        assert!(fake.patches().is_empty());
    }
}
