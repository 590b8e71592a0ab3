//! Upgrades under load: of the engine alone, of the pods, and back.

use std::time::Duration;

use anyhow::{Context, ensure};
use rayfleet_e2e::cluster::overhead::overhead;
use rayfleet_e2e::cluster::pods::{pods, uids};
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::mainjob::places;

use crate::light::{self, REPLICAS, ROLLOUT};
use crate::suite::{Connections, Suite, never_above, never_below};

/// New engine arguments on the very same pods, one group at a time.
pub(crate) async fn engine_only(suite: &Suite) -> anyhow::Result<()> {
    let manifest = light::bounded(0, 1)?;
    let (fleet, before) = light::ensure_fleet(suite, &manifest).await?;
    let (pods_of, engine_of) = light::only_revision(&before)?;
    let pods_before = uids(&pods(&fleet).await?);
    let seen = suite
        .under_load(&fleet, Connections::FreshAndKept, async || {
            fleet.apply(&light::faster(manifest.clone())).await?;
            let after = light::settle(suite, &fleet, ROLLOUT).await?;
            let (new_pods_of, new_engine_of) = light::only_revision(&after)?;
            ensure!(new_pods_of == pods_of, "the pod revision changed from {pods_of} to {new_pods_of}");
            ensure!(new_engine_of != engine_of, "the engine revision is still {engine_of}");
            places::check(&fleet, &after).await.map(drop)
        })
        .await?;
    let pods_after = uids(&pods(&fleet).await?);
    ensure!(pods_after == pods_before, "pods were {pods_before:?} and are {pods_after:?}");
    never_below(&seen, REPLICAS - 1)?;
    never_above(&seen, REPLICAS)?;
    let overhead = overhead(&suite.cluster).await?;
    suite.console.say(overhead);
    ensure!(overhead.submit.count > 0 && overhead.open.count > 0, "the orchestrator measured no delays");
    Ok(())
}

/// A new pod template replaces every pod, never with fewer groups ready than wanted; undo goes back to the
/// revision before.
pub(crate) async fn template_and_undo(suite: &Suite) -> anyhow::Result<()> {
    let manifest = light::bounded(1, 0)?;
    let (fleet, before) = light::ensure_fleet(suite, &manifest).await?;
    let revision = light::only_revision(&before)?;
    let old_pods = uids(&pods(&fleet).await?);
    let seen = suite
        .under_load(&fleet, Connections::FreshAndKept, async || {
            fleet.apply(&manifest.clone().with_env("RAYFLEET_E2E_TEMPLATE", "2")).await?;
            let after = light::settle(suite, &fleet, ROLLOUT).await?;
            ensure!(
                light::only_revision(&after)?.0 != revision.0,
                "the pod revision is still {}",
                revision.0
            );
            places::check(&fleet, &after).await?;
            let new_pods = uids(&pods(&fleet).await?);
            ensure!(new_pods.len() == 4 && new_pods.is_disjoint(&old_pods), "not every pod was replaced");

            let limit = Duration::from_secs(30);
            let args = ["rayfleet", "rollout", "undo", fleet.name.as_str()];
            suite.console.say(suite.tools.run(&args, None, limit).await?.trim_end());
            let undone = light::settle(suite, &fleet, ROLLOUT).await?;
            ensure!(light::only_revision(&undone)? == revision, "undo did not lead back to {revision:?}");
            let env = &undone.spec.template.spec["headGroupSpec"]["template"]["spec"]["containers"][0]["env"];
            let gone =
                env.as_array().context("no env")?.iter().all(|env| env["name"] != "RAYFLEET_E2E_TEMPLATE");
            ensure!(gone, "the template still has what was undone");
            let last_pods = uids(&pods(&fleet).await?);
            ensure!(last_pods.is_disjoint(&new_pods), "undo left pods of the undone revision");
            ensure!(groups(&undone).len() == 2);
            Ok(())
        })
        .await?;
    never_below(&seen, REPLICAS)?;
    never_above(&seen, REPLICAS + 1)
}
