//! `rollout abort`: ends a rollout that is under way by writing the last complete revision back into the spec. Unlike `undo` it never
//! takes back another change than the one that it has read.

use rayfleet_api::revision::Revision as Hash;
use rayfleet_cli_kit::{CliError, Terminal};
use serde_json::json;

use super::promote::PARTITION;
use super::undo::operations;
use crate::error::OBJECT;
use crate::fleets::Fleets;
use crate::revisions::{self, Revision};
use crate::rollout::args::FleetArg;
use crate::view::Fleet;

pub(super) async fn run(args: &FleetArg, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let name = &args.fleet;
    let object = fleets.get(name).await?;
    let stored = fleets.revisions(name).await?;
    let (revisions, current) = (revisions::owned(&stored, &object), revisions::current(&object)?);
    let fleet = Fleet::read(&object);
    let back = target(&fleet, &current, &revisions, &fleets.named(name))?;
    // The spec's version: the resource version changes with every step of the rollout. A fleet of the same name made meanwhile has another UID.
    let mut changes = vec![json!({"op": "test", "path": "/metadata/uid", "value": object.metadata.uid})];
    changes.extend(operations(&object, back));
    if fleet.paused {
        changes.push(json!({"op": "replace", "path": "/spec/paused", "value": false}));
    }
    // It would keep as many groups of the revision that is given up.
    if fleet.partition > 0 {
        changes.push(json!({"op": "replace", "path": PARTITION, "value": 0}));
    }
    let written = fleets.replace_at(name, fleet.generation, changes).await?;
    if written.is_none() {
        return Err(changed(name, &fleets.named(name)));
    }
    let resumed = if fleet.paused { "; it is no longer paused" } else { "" };
    let whole = if fleet.partition > 0 { "; its partition is 0" } else { "" };
    let (number, hash) = (back.number, back.hash()?);
    terminal.print(&format!(
        "{OBJECT}/{name} rollout of {current} aborted: back to revision {number} ({hash}){resumed}{whole}\n"
    ))
}

/// The revision to go back to: the last complete one, if another one is being rolled out.
fn target<'r>(
    fleet: &Fleet,
    current: &Hash,
    revisions: &'r [Revision],
    named: &str,
) -> Result<&'r Revision, CliError> {
    let name = &fleet.name;
    let refused = |why: String, cure: String| Err(CliError::failed(format!("fleet \"{name}\": {why}"), cure));
    if fleet.deleting {
        return refused("it is being deleted".to_owned(), format!("see: kubectl rayfleet status {named}"));
    }
    if !fleet.observed_now() {
        return refused(
            format!("the orchestrator has not observed generation {} of its spec yet", fleet.generation),
            format!(
                "see what was changed just now: kubectl rayfleet rollout diff {named}; abort again once it is observed, or go back with \
                 kubectl rayfleet rollout undo {named}"
            ),
        );
    }
    let stable = fleet.rollout.as_ref().and_then(|rollout| rollout.stable.as_ref());
    let Some(stable) = stable else {
        return refused(
            "no revision of it was ever complete, so there is none to go back to".to_owned(),
            format!("hold it: kubectl rayfleet rollout pause {named}"),
        );
    };
    if stable == current {
        return refused(
            format!("no rollout is under way: {current} is the last complete revision"),
            format!("go back to an earlier one: kubectl rayfleet rollout undo {named}"),
        );
    }
    let found = revisions.iter().rev().find(|revision| revision.hash().is_ok_and(|hash| hash == *stable));
    found.ok_or_else(|| {
        CliError::failed(
            format!("fleet \"{name}\": the last complete revision, {stable}, is no longer in its history"),
            format!(
                "apply its manifest, or see what there is: kubectl rayfleet rollout history {named}; spec.revisionHistoryLimit says how \
                 many are kept"
            ),
        )
    })
}

fn changed(name: &str, named: &str) -> CliError {
    CliError::failed(
        format!(
            "somebody changed the spec of fleet \"{name}\" while its rollout was being aborted: nothing was taken back"
        ),
        format!("see what it asks for now: kubectl rayfleet rollout diff {named}"),
    )
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rayfleet_cli_kit::Format;
    use rayfleet_cli_kit::testing::Kept;
    use rayfleet_sim_kube::api::{Call, Interceptor, Kind, Verb, Verdict};
    use serde_json::Value;

    use super::*;
    use crate::rollout::testing::{under_way, with_history};
    use crate::sample;
    use crate::simulated::Simulated;

    async fn abort(fleets: &Fleets) -> Result<String, CliError> {
        let kept = Kept::default();
        run(&FleetArg { fleet: "llama".into() }, fleets, &kept.terminal(Format::Text)).await?;
        Ok(kept.out())
    }

    #[tokio::test]
    async fn the_last_complete_revision_is_written_under_the_generation_that_was_read() {
        let server = with_history(under_way());
        let uid = server.llama().metadata.uid;
        let text = abort(&server.fleets()).await.unwrap();
        insta::assert_snapshot!(text);
        assert_eq!(
            server.patches(),
            [json!([
                {"op": "test", "path": "/metadata/generation", "value": 1},
                {"op": "test", "path": "/metadata/uid", "value": uid},
                {"op": "replace", "path": "/spec/template", "value": sample::template("ray:1")},
                {"op": "add", "path": "/spec/model", "value": sample::model(&[])}
            ])]
        );
    }

    #[tokio::test]
    async fn no_partition_keeps_groups_of_what_was_given_up() {
        let mut fleet = under_way();
        fleet.data["spec"]["strategy"] = json!({"rollingUpdate": {"partition": 1}});
        let server = with_history(fleet);
        let said = abort(&server.fleets()).await.unwrap();
        assert!(said.ends_with("; its partition is 0\n"), "{said}");
        assert_eq!(server.llama().data["spec"]["strategy"]["rollingUpdate"]["partition"], 0);
    }

    #[tokio::test]
    async fn a_pause_ends_with_the_rollout_that_it_held() {
        let mut fleet = under_way();
        fleet.data["spec"]["paused"] = json!(true);
        let server = with_history(fleet);
        let text = abort(&server.fleets()).await.unwrap();
        assert!(text.ends_with("; it is no longer paused\n"), "{text}");
        let spec = &server.llama().data["spec"];
        assert_eq!((&spec["paused"], &spec["model"]["engine"]["args"]), (&json!(false), &json!([])));
    }

    /// Somebody else changes the spec just before the patch.
    struct Meanwhile(Simulated, AtomicBool);

    impl Interceptor for Meanwhile {
        fn judge(&self, call: &Call) -> Verdict {
            if call.verb == Verb::Patch && !self.1.swap(true, Ordering::Relaxed) {
                let change = json!({"spec": {"model": {"engine": {"args": ["--newer"]}}}});
                self.0.0.merge_patch(&Kind::FLEET, "serving", "llama", &change).unwrap();
            }
            Verdict::Pass
        }
    }

    #[tokio::test]
    async fn a_newer_change_is_never_taken_back() {
        let server = with_history(under_way());
        let meanwhile = Meanwhile(server.clone(), AtomicBool::new(false));
        let fault = abort(&server.fleets_with(meanwhile)).await.unwrap_err();
        insta::assert_snapshot!(fault);
        assert_eq!(server.llama().data["spec"]["model"]["engine"]["args"], json!(["--newer"]));
        assert_eq!(server.patches().len(), 1);
    }

    #[tokio::test]
    async fn nothing_is_written_where_nothing_is_under_way() {
        let edits: [fn(&mut Value); 4] = [
            |fleet| fleet["status"]["observedGeneration"] = json!(0),
            |fleet| fleet["status"]["rollout"]["stable"] = Value::Null,
            |fleet| fleet["spec"]["model"] = sample::model(&[]),
            |fleet| fleet["status"]["rollout"]["stable"] = json!("gone/gone"),
        ];
        let mut faults = String::new();
        for edit in edits {
            let mut fleet = under_way();
            edit(&mut fleet.data);
            let server = with_history(fleet);
            let fault = abort(&server.fleets()).await.unwrap_err();
            assert_eq!(fault.code(), 1);
            writeln!(faults, "{fault}\n").unwrap();
            assert!(server.patches().is_empty());
        }
        insta::assert_snapshot!(faults);
    }
}
