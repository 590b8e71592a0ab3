//! An upgrade of the pods under load, sent through the gateway, that goes as the plan has it although the orchestrator is killed twice in the middle of it:
//! when a new group is starting, and when an old one is draining; the second time KubeRay's operator with it. Then undo, in which a pod of
//! the gateway goes.

use std::time::Duration;

use anyhow::{Context, ensure};
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::manifest::Manifest;
use rayfleet_e2e::cluster::plan_check::predict;
use rayfleet_e2e::cluster::pods::{pods, uids};
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::cluster::steps::What;
use rayfleet_e2e::cluster::{KUBERAY_NAMESPACE, SYSTEM_NAMESPACE};
use rayfleet_e2e::demo::places;

use crate::bounds::{Bounds, within};
use crate::gateway;
use crate::light::{self, REPLICAS, ROLLOUT};
use crate::suite::{Connections, Suite};
use crate::takeover::{kill, no_strays};

const COMMAND: Duration = Duration::from_mins(1);

/// What both changes promise.
const WHOLE: Bounds = Bounds { ready: REPLICAS, groups: REPLICAS + 1 };

/// A new pod template replaces every pod, never with fewer groups ready than wanted, step by step as the plan predicted; undo goes
/// back to the revision before.
pub(crate) async fn through_kills_and_undone(suite: &Suite) -> anyhow::Result<()> {
    let manifest = light::bounded(1, 0)?;
    let (fleet, before) = light::ensure_fleet(suite, &manifest).await?;
    let old = light::only_revision(&before)?;
    gateway::with_gateway(suite, async || {
        let change = async || {
            let changed = light::with_template(manifest.clone(), 2);
            template(suite, &fleet, &changed, &old.0).await?;
            undo(suite, &fleet, &old).await
        };
        suite
            .under_load_through(gateway::SERVICE, &fleet, Connections::FreshAndKept, WHOLE, change)
            .await
            .map(drop)
    })
    .await
}

/// The upgrade. The successors of those who are killed finish it as if nothing had been.
async fn template(suite: &Suite, fleet: &Fleet, changed: &Manifest, old: &str) -> anyhow::Result<()> {
    let old_pods = uids(&pods(fleet).await?);
    let predicted = predict(&suite.tools, changed).await?;
    let start = clock::instant();
    let observations = within(fleet, WHOLE, async || {
        fleet.apply(changed).await?;
        light::until_a_group(fleet, "have a new group starting", |group| light::is_starting(group, old))
            .await?;
        kill(suite, SYSTEM_NAMESPACE).await?;
        light::until_a_group(fleet, "have an old group draining", |group| light::is_draining(group, old))
            .await?;
        futures::try_join!(kill(suite, SYSTEM_NAMESPACE), kill(suite, KUBERAY_NAMESPACE))?;
        light::settle(suite, fleet, ROLLOUT).await.map(drop)
    })
    .await?;
    suite.console.say(format_args!(
        "the plan predicted {} s and at most {} GPUs; it took {:.0} s and {} GPUs",
        predicted.seconds,
        predicted.gpus_peak,
        clock::seconds_since(start),
        observations.extremes.gpus.unwrap_or_default()
    ));
    observations.is_as(&predicted, changed.valid()?.shape.gpus())?;
    let after = fleet.get().await?;
    let (new, _) = light::only_revision(&after)?;
    ensure!(new != old, "the pod revision is still {old}");
    places::check(fleet, &after).await?;
    let new_pods = uids(&pods(fleet).await?);
    ensure!(new_pods.len() == 4 && new_pods.is_disjoint(&old_pods), "not every pod was replaced");
    no_strays(fleet).await
}

/// Goes back. Only groups of the revision to go to are made.
async fn undo(suite: &Suite, fleet: &Fleet, to: &(String, String)) -> anyhow::Result<()> {
    let pods_before = uids(&pods(fleet).await?);
    let observations = within(fleet, WHOLE, async || {
        let args = ["rayfleet", "rollout", "undo", fleet.name.as_str()];
        suite.console.say(suite.tools.run(&args, None, COMMAND).await?.trim_end());
        gateway::delete_one(suite).await?;
        light::settle(suite, fleet, ROLLOUT).await.map(drop)
    })
    .await?;
    let undone = fleet.get().await?;
    ensure!(light::only_revision(&undone)? == *to, "undo did not lead back to {to:?}");
    let made = observations.steps.iter().filter(|step| step.what == What::Create);
    let right = format!("{}/{}", to.0, to.1);
    let wrong: Vec<_> = made.filter(|step| step.revision != right).collect();
    ensure!(
        wrong.is_empty(),
        "groups of another revision than {right} were made: {wrong:?}; {}",
        observations.last_changes
    );
    let env = &undone.spec.template.spec["headGroupSpec"]["template"]["spec"]["containers"][0]["env"];
    let gone = env.as_array().context("no env")?.iter().all(|env| env["name"] != light::TEMPLATE);
    ensure!(gone, "the template still has what was undone");
    let last_pods = uids(&pods(fleet).await?);
    ensure!(last_pods.is_disjoint(&pods_before), "undo left pods of the undone revision");
    ensure!(i32::try_from(groups(&undone).len()) == Ok(REPLICAS));
    Ok(())
}
