//! Failing nodes, under load: one on which ranks keep dying is avoided and reported; then it loses power in
//! the middle of a rollout. Requests to the dead engines are counted; no other may be lost.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use rayfleet_api::status::{GroupStatus, NodeFailures};
use rayfleet_api::{RayClusterFleet, names};
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::manifest::Manifest;
use rayfleet_e2e::cluster::pods::{FleetPod, nodes_by_group, pods, uids};
use rayfleet_e2e::cluster::processes::{self, cluster_tool, the_one};
use rayfleet_e2e::cluster::ready::{self, groups};
use rayfleet_e2e::cluster::warnings::warnings;
use rayfleet_e2e::cluster::{call, until};
use rayfleet_e2e::demo::places;
use serde_json::json;

use crate::bounds::Bounds;
use crate::deaths::Deaths;
use crate::light::{self, REPLICAS, ROLLOUT};
use crate::suite::{Connections, Suite};

/// Number of ranks that die on a node before it is avoided.
const DEATHS: u32 = 2;

/// A node that two groups share, and one of the two: the other one stays on it when this one has moved
/// away.
struct Suspect {
    node: String,
    victim: String,
    other: String,
}

pub(crate) async fn avoided_and_lost(suite: &Suite) -> anyhow::Result<()> {
    ensure!(processes::is_local(), "nodes only lose their power on the local cluster: hack/e2e node");
    let (fleet, before) = light::ensure_fleet(suite, &light::bounded(1, 0)?).await?;
    let suspect = suspect(&fleet, &before).await?;
    let known = entry(&before, &suspect.node).map_or(0, |entry| entry.failures);
    let manifest = light::bounded(1, 0)?.with(
        "/spec/failurePolicy",
        json!({
            "engineRestarts": 10, "backoff": {"initial": "1s", "max": "1s"}, "avoidNodeAfter": known + DEATHS
        }),
    )?;
    light::ensure_fleet(suite, &manifest).await?;
    let bounds = Bounds { ready: REPLICAS - 1, groups: REPLICAS + 1 };
    suite
        .under_load_with_deaths(&fleet, Connections::FreshAndKept, bounds, async |deaths: &Deaths| {
            avoid(suite, &fleet, &suspect, known, deaths)
                .await
                .context("a node on which ranks keep dying")?;
            let lost = lose(suite, &fleet, &manifest, &suspect, deaths).await;
            // The next scenario needs all nodes, whatever the result.
            let back = cluster_tool(&["start-node", &suspect.node]).await;
            lost.context("a node lost in the middle of a rollout")?;
            back
        })
        .await?;
    forgotten(&fleet).await
}

async fn suspect(fleet: &Fleet, seen: &RayClusterFleet) -> anyhow::Result<Suspect> {
    let nodes = nodes_by_group(&pods(fleet).await?);
    let [victim, other] = groups(seen) else {
        anyhow::bail!("the fleet has not two groups: {}", ready::words(seen))
    };
    let of = |group: &GroupStatus| nodes.get(group.name.as_str()).cloned().unwrap_or_default();
    let shared = of(victim).intersection(&of(other)).next().cloned();
    let node = shared
        .with_context(|| format!("no node has pods of both groups, as of three nodes one must: {nodes:?}"))?;
    Ok(Suspect { node, victim: victim.name.to_string(), other: other.name.to_string() })
}

fn entry<'f>(fleet: &'f RayClusterFleet, node: &str) -> Option<&'f NodeFailures> {
    fleet.status.as_ref()?.node_failures.iter().find(|entry| entry.node == node)
}

/// Kills ranks on the node until it is avoided.
async fn avoid(
    suite: &Suite,
    fleet: &Fleet,
    suspect: &Suspect,
    known: u32,
    deaths: &Deaths,
) -> anyhow::Result<()> {
    let Suspect { node, victim, other } = suspect;
    let before = pods(fleet).await?;
    let head = head_of(&before, victim)?;
    let rank =
        before.iter().find(|pod| pod.group == *victim && pod.node == *node).context("a pod is missing")?;
    for death in 1..=DEATHS {
        let what = format!("have group {victim} taking traffic");
        let is_ready = |group: &GroupStatus| group.name == *victim && group.ready_since.is_some();
        let launch = light::until_a_group(fleet, &what, is_ready).await?.launch;
        suite
            .console
            .say(format_args!("killing the rank of {victim} on {node} (launch {launch}), time {death}"));
        let kill = async { the_one(rank, "ray::RayWorkerProc")?.signal("KILL") };
        deaths.inflict(&format!("the death {death} of a rank on {node}"), head, kill).await?;
        let counted = |fleet: &RayClusterFleet| {
            entry(fleet, node).filter(|entry| entry.failures >= known + death).cloned()
        };
        let what = format!("count {} failures of {node}", known + death);
        let counted = fleet.follow(&what, ROLLOUT, |fleet| counted(fleet?)).await?;
        ensure!(
            counted.failures == known + death && counted.avoided == (death == DEATHS),
            "after death {death} of {DEATHS} the fleet has against {node}: {counted:?}"
        );
        ensure!(
            counted.cause.contains(victim.as_str()),
            "the cause does not name group {victim}: {}",
            counted.cause
        );
    }
    let after = light::settle(suite, fleet, ROLLOUT).await?;
    let warned = warnings(fleet).await?;
    ensure!(
        warned.iter().any(|it| it.reason == "NodeAvoided" && it.message.contains(node.as_str())),
        "there is no event NodeAvoided that names {node}: {warned:?}"
    );
    let new = groups(&after).iter().find(|group| group.name != *other);
    let new = new.with_context(|| format!("group {victim} has no successor: {}", ready::words(&after)))?;
    ensure!(
        new.name != *victim && new.avoid_nodes.contains(&node.into()) && !new.nodes.contains(&node.into()),
        "{victim} was to be re-created without {node}; what there is: {new:?}"
    );
    let pods_after = pods(fleet).await?;
    let of_other =
        |pods: &[FleetPod]| uids(&pods.iter().filter(|pod| pod.group == *other).cloned().collect::<Vec<_>>());
    ensure!(
        of_other(&before) == of_other(&pods_after),
        "group {other} had no part in it, and its pods were replaced"
    );
    places::check(fleet, &after).await.map(drop)
}

/// The node loses power while the first group of a new template starts. New groups avoid the node, so only
/// the group that was left on it dies.
async fn lose(
    suite: &Suite,
    fleet: &Fleet,
    manifest: &Manifest,
    suspect: &Suspect,
    deaths: &Deaths,
) -> anyhow::Result<()> {
    let Suspect { node, other, .. } = suspect;
    let (old, _) = light::only_revision(&fleet.get().await?)?;
    fleet.apply(&light::with_template(manifest.clone(), 3)).await?;
    let starting =
        light::until_a_group(fleet, "have a new group starting", |group| light::is_starting(group, &old))
            .await?;
    let before = pods(fleet).await?;
    let on_it: BTreeSet<_> =
        before.iter().filter(|pod| pod.node == *node).map(|pod| pod.group.clone()).collect();
    ensure!(
        on_it == BTreeSet::from([other.clone()]),
        "of the groups only {other} was to have pods on {node}, which is avoided: {on_it:?} have; {} is starting",
        starting.name
    );
    let power = async { cluster_tool(&["kill-node", node]).await };
    deaths.inflict(&format!("the power loss of {node}"), head_of(&before, other)?, power).await?;
    let after = light::settle(suite, fleet, ROLLOUT).await?;
    let (new, _) = light::only_revision(&after)?;
    ensure!(new != old, "the pod revision is still {old}");
    let left = pods(fleet).await?;
    ensure!(left.iter().all(|pod| pod.node != *node), "there are pods on {node}, which is lost: {left:?}");
    places::check(fleet, &after).await.map(drop)
}

fn head_of<'p>(pods: &'p [FleetPod], group: &str) -> anyhow::Result<&'p FleetPod> {
    let head = pods.iter().find(|pod| pod.head && pod.group == group);
    head.with_context(|| format!("group {group} has no head"))
}

/// Nothing is left of the dead groups once the node is back, including pods that could not terminate.
async fn forgotten(fleet: &Fleet) -> anyhow::Result<()> {
    let api: Api<Pod> = Api::namespaced(fleet.cluster.client.clone(), &fleet.cluster.namespace);
    let ours = ListParams::default().labels(&format!("{}={}", names::LABEL_FLEET, fleet.name));
    let reported: BTreeSet<String> =
        groups(&fleet.get().await?).iter().map(|group| group.name.to_string()).collect();
    let mut left = BTreeSet::new();
    let waited = until("only the fleet's groups to have pods", Duration::from_mins(1), async || {
        let list = call("list the fleet's pods", api.list_metadata(&ours)).await?.items;
        left = list.iter().filter_map(|pod| pod.labels().get(names::RAY_LABEL_CLUSTER).cloned()).collect();
        Ok((left == reported).then_some(()))
    })
    .await;
    waited.with_context(|| format!("the fleet has the groups {reported:?}; there are pods of {left:?}"))
}
