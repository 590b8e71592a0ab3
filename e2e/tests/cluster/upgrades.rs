//! Upgrades under load: of the engine alone, of the pods as the plan predicts, and an undo while the fleet
//! is scaled.

use std::time::Duration;

use anyhow::{Context, ensure};
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::manifest::Manifest;
use rayfleet_e2e::cluster::overhead::overhead;
use rayfleet_e2e::cluster::plan_check::foretell;
use rayfleet_e2e::cluster::pods::{pods, uids};
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::cluster::steps::What;
use rayfleet_e2e::demo::places;

use crate::bounds::{Bounds, within};
use crate::light::{self, REPLICAS, ROLLOUT};
use crate::suite::{Connections, Suite};

const COMMAND: Duration = Duration::from_mins(1);

/// New engine arguments on the same pods, one group at a time.
pub(crate) async fn engine_only(suite: &Suite) -> anyhow::Result<()> {
    let manifest = light::bounded(0, 1)?;
    let (fleet, before) = light::ensure_fleet(suite, &manifest).await?;
    let (pods_of, engine_of) = light::only_revision(&before)?;
    let pods_before = uids(&pods(&fleet).await?);
    suite
        .under_load(
            &fleet,
            Connections::FreshAndKept,
            Bounds { ready: REPLICAS - 1, groups: REPLICAS },
            async || {
                fleet.apply(&light::faster(manifest.clone())).await?;
                let after = light::settle(suite, &fleet, ROLLOUT).await?;
                let (new_pods_of, new_engine_of) = light::only_revision(&after)?;
                ensure!(new_pods_of == pods_of, "the pod revision changed from {pods_of} to {new_pods_of}");
                ensure!(new_engine_of != engine_of, "the engine revision is still {engine_of}");
                places::check(&fleet, &after).await.map(drop)
            },
        )
        .await?;
    let pods_after = uids(&pods(&fleet).await?);
    ensure!(pods_after == pods_before, "pods were {pods_before:?} and are {pods_after:?}");
    let overhead = overhead(&suite.cluster).await?;
    suite.console.say(overhead);
    ensure!(overhead.submit.count > 0 && overhead.open.count > 0, "the orchestrator measured no delays");
    Ok(())
}

/// A new pod template replaces every pod, never with fewer groups ready than wanted, step by step as the
/// plan predicted; undo returns to the revision before, and the fleet is scaled up and down meanwhile.
pub(crate) async fn template_and_undo(suite: &Suite) -> anyhow::Result<()> {
    let manifest = light::bounded(1, 0)?;
    let (fleet, before) = light::ensure_fleet(suite, &manifest).await?;
    let old = light::only_revision(&before)?;
    let whole = Bounds { ready: REPLICAS, groups: REPLICAS + 2 };
    suite
        .under_load(&fleet, Connections::FreshAndKept, whole, async || {
            let changed = light::with_template(manifest.clone(), 2);
            let new = template(suite, &fleet, &changed, &old.0).await?;
            undo(suite, &fleet, &old, &new).await
        })
        .await
        .map(drop)
}

/// The upgrade; returns the new pod revision.
async fn template(suite: &Suite, fleet: &Fleet, changed: &Manifest, old: &str) -> anyhow::Result<String> {
    let old_pods = uids(&pods(fleet).await?);
    let predicted = foretell(&suite.tools, changed).await?;
    let start = clock::instant();
    let account = within(fleet, Bounds { ready: REPLICAS, groups: REPLICAS + 1 }, async || {
        fleet.apply(changed).await?;
        light::settle(suite, fleet, ROLLOUT).await.map(drop)
    })
    .await?;
    suite.console.say(format_args!(
        "the plan predicted {} s and at most {} GPUs; it took {:.0} s and {} GPUs",
        predicted.seconds,
        predicted.gpus_peak,
        clock::seconds_since(start),
        account.seen.gpus.unwrap_or_default()
    ));
    account.is_as(&predicted, changed.valid()?.shape.gpus())?;
    let after = fleet.get().await?;
    let (new, _) = light::only_revision(&after)?;
    ensure!(new != old, "the pod revision is still {old}");
    places::check(fleet, &after).await?;
    let new_pods = uids(&pods(fleet).await?);
    ensure!(new_pods.len() == 4 && new_pods.is_disjoint(&old_pods), "not every pod was replaced");
    Ok(new)
}

/// Undo, with a third group wanted while the first one starts, and no longer wanted when an old group
/// drains. Only groups of the target revision are created.
async fn undo(suite: &Suite, fleet: &Fleet, to: &(String, String), from: &str) -> anyhow::Result<()> {
    let pods_before = uids(&pods(fleet).await?);
    let account = within(fleet, Bounds { ready: REPLICAS, groups: REPLICAS + 2 }, async || {
        let args = ["rayfleet", "rollout", "undo", fleet.name.as_str()];
        suite.console.say(suite.tools.run(&args, None, COMMAND).await?.trim_end());
        light::until_a_group(fleet, "have a group to go back to starting", |group| {
            light::is_starting(group, from)
        })
        .await?;
        fleet.scale(REPLICAS + 1).await?;
        light::until_a_group(fleet, "have a group draining", |group| light::is_draining(group, from)).await?;
        fleet.scale(REPLICAS).await?;
        light::settle(suite, fleet, ROLLOUT).await.map(drop)
    })
    .await?;
    let undone = fleet.get().await?;
    ensure!(light::only_revision(&undone)? == *to, "undo did not lead back to {to:?}");
    let made = account.steps.iter().filter(|step| step.what == What::Create);
    let right = format!("{}/{}", to.0, to.1);
    let wrong: Vec<_> = made.filter(|step| step.revision != right).collect();
    ensure!(
        wrong.is_empty(),
        "groups of another revision than {right} were made: {wrong:?}; {}",
        account.tale
    );
    let env = &undone.spec.template.spec["headGroupSpec"]["template"]["spec"]["containers"][0]["env"];
    let gone = env.as_array().context("no env")?.iter().all(|env| env["name"] != light::TEMPLATE);
    ensure!(gone, "the template still has what was undone");
    let last_pods = uids(&pods(fleet).await?);
    ensure!(last_pods.is_disjoint(&pods_before), "undo left pods of the undone revision");
    ensure!(i32::try_from(groups(&undone).len()) == Ok(REPLICAS));
    Ok(())
}
