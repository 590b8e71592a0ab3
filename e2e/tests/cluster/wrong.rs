//! A rollout of what cannot work, with `onFailure: Rollback`: the fleet goes back by itself, says why, and never gives up more than
//! a rollout may. The simulation has others; what a kubelet says of a bad image is in `bad_input`.

use std::time::Duration;

use anyhow::{Context, ensure};
use rayfleet_api::RayClusterFleet;
use rayfleet_api::status::{RollbackStatus, RolloutStep};
use rayfleet_e2e::cluster::diagnosis::{Cause, Diagnosis};
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::manifest::Manifest;
use rayfleet_e2e::cluster::ready;
use rayfleet_e2e::cluster::steps::{self, GroupChange, What};
use rayfleet_e2e::cluster::warnings::warnings;
use rayfleet_e2e::demo::places;
use serde_json::json;

use crate::bounds::{Bounds, within};
use crate::light::{self, REPLICAS, ROLLOUT};
use crate::suite::{Connections, Suite};

const ABSENT_MODEL: &str = "/var/lib/rayfleet-local/models/absent";
/// While it is tried, and from then on until somebody corrects it.
const DIAGNOSIS: Cause = &[
    ("Engine", "JobEnded"),
    ("Engine", "EngineDied"),
    ("Rollout", "the revision that the spec asks for has failed"),
];
const SOON: Duration = Duration::from_secs(10);
/// Engine restarts before a start counts as failed.
const RESTARTS: u32 = 1;

pub(crate) async fn model(suite: &Suite) -> anyhow::Result<()> {
    let (fleet, before) = light::ensure_fleet(suite, &careful(1, 0)?).await?;
    let (pods_of, engine_of) = light::only_revision(&before)?;
    let stable = format!("{pods_of}/{engine_of}");
    let bounds = Bounds { ready: REPLICAS - 1, groups: REPLICAS };
    suite
        .under_load(&fleet, Connections::FreshAndKept, bounds, async || {
            bad_model(suite, &fleet, &stable).await
        })
        .await
        .map(drop)
}

/// The serving fleet with automatic rollback.
fn careful(max_surge: u32, max_unavailable: u32) -> anyhow::Result<Manifest> {
    light::bounded(max_surge, max_unavailable)?.with("/spec/strategy/onFailure", json!("Rollback"))?.with(
        "/spec/failurePolicy",
        json!({"engineRestarts": RESTARTS, "backoff": {"initial": "1s", "max": "1s"}}),
    )
}

/// A model that is not there, on pods that are kept: one group tries it as often as it may, and is recreated as it was.
async fn bad_model(suite: &Suite, fleet: &Fleet, stable: &str) -> anyhow::Result<()> {
    let groups_before = ready::groups(&fleet.get().await?).to_vec();
    let bad = careful(0, 1)?.with("/spec/model/source", json!(ABSENT_MODEL))?;
    let observations = within(fleet, Bounds { ready: REPLICAS - 1, groups: REPLICAS }, async || {
        fleet.apply(&bad).await?;
        let diagnosed = Diagnosis::begin(&suite.tools);
        let rollback = rolled_back(suite, fleet, stable).await?;
        let said = diagnosed.named(&fleet.name, DIAGNOSIS, SOON).await?;
        suite.console.say(said.row("a rollout to a model that is not there, rolled back"));
        let tries = format!("after {RESTARTS} engine restarts");
        reported(&rollback, &[ABSENT_MODEL, "correct the path", tries.as_str()])
    })
    .await?;
    happened(&observations.steps, &[What::Drain, What::Swap, What::Delete, What::Create, What::Serves])?;
    let after = fleet.get().await?;
    places::check(fleet, &after).await?;
    let kept = groups_before.iter().filter(|old| {
        ready::groups(&after)
            .iter()
            .any(|new| (&new.name, &new.uid, new.launch) == (&old.name, &old.uid, old.launch))
    });
    ensure!(
        i32::try_from(kept.count()) == Ok(REPLICAS - 1),
        "one group was to be re-created and no other touched: they were {groups_before:#?} and are {:#?}",
        ready::groups(&after)
    );
    Ok(())
}

/// Waits until the fleet is back at its revision, and returns the reported rollback.
async fn rolled_back(suite: &Suite, fleet: &Fleet, stable: &str) -> anyhow::Result<RollbackStatus> {
    let seen = fleet.follow("be rolled back, with all groups ready", ROLLOUT, |fleet| {
        let status = fleet?.status.as_ref()?;
        let step = status.rollout.as_ref().map(|rollout| rollout.step);
        let all = status.replicas == REPLICAS && status.ready_replicas == REPLICAS;
        let done = all
            && step == Some(RolloutStep::RolledBack)
            && status.observed_generation == fleet?.metadata.generation;
        done.then(|| fleet.cloned()).flatten()
    });
    let seen = seen.await?;
    let revision = light::only_revision(&seen)?;
    ensure!(
        format!("{}/{}", revision.0, revision.1) == stable,
        "it went back to {revision:?}, not to {stable}"
    );
    let rollback = seen.status.as_ref().and_then(|status| status.rollout.as_ref()?.rollback.clone());
    let rollback =
        rollback.with_context(|| format!("status.rollout.rollback is missing: {}", ready::words(&seen)))?;
    suite.console.say(format_args!("rolled back from {}: {}", rollback.failed, rollback.cause));
    let failed = rollback.failed.to_string();
    ensure!(failed != stable, "the revision that is said to have failed is the one that it went back to");
    let undo = format!("kubectl rayfleet rollout undo {}", fleet.name);
    condition(&seen, "Progressing", "False", &[&failed])?;
    condition(&seen, "Stalled", "True", &[&failed, &undo])?;
    let warned = warnings(fleet).await?;
    let warned = warned.iter().any(|it| it.reason == "RolledBack" && it.message.contains(&failed));
    ensure!(warned, "there is no event RolledBack that names {failed}");
    Ok(rollback)
}

fn condition(seen: &RayClusterFleet, type_: &str, status: &str, words: &[&str]) -> anyhow::Result<()> {
    let conditions = seen.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.into_iter().find(|condition| condition.type_ == type_);
    let found = found.with_context(|| format!("there is no condition {type_}"))?;
    ensure!(
        found.status == status
            && found.reason == "RolledBack"
            && words.iter().all(|word| found.message.contains(word)),
        "condition {type_} was to be {status} for RolledBack with {words:?}, and is {} for {}: {}",
        found.status,
        found.reason,
        found.message
    );
    Ok(())
}

fn reported(rollback: &RollbackStatus, words: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<_> = words.iter().filter(|word| !rollback.cause.contains(**word)).collect();
    ensure!(missing.is_empty(), "{missing:?} is not in the cause of the rollback: {}", rollback.cause);
    Ok(())
}

fn happened(steps: &[GroupChange], wanted: &[What]) -> anyhow::Result<()> {
    ensure!(
        steps.iter().map(|step| step.what).eq(wanted.iter().copied()),
        "the steps were to be {wanted:?}, and were:\n{}",
        steps::lines(steps)
    );
    Ok(())
}
