//! A fleet that holds every GPU of the cluster is upgraded: there is no room for a surge group, so groups
//! give their places to their successors. The plan reports this beforehand, with its reason in numbers.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use rayfleet_api::status::RolloutStep;
use rayfleet_e2e::cluster::call;
use rayfleet_e2e::cluster::manifest::Manifest;
use rayfleet_e2e::cluster::plan_check::predict;
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::demo::places;
use serde_json::json;

use crate::bounds::Bounds;
use crate::light::{self, ROLLOUT};
use crate::suite::{Connections, Suite};

/// Number of groups: one for each node, with all of its GPUs.
const GROUPS: i32 = 3;
const GPUS_OF_A_NODE: u32 = 4;

pub(crate) async fn replaced(suite: &Suite) -> anyhow::Result<()> {
    suite.clear().await?;
    is_of_its_size(suite).await?;
    let manifest = manifest()?;
    let (fleet, before) = light::ensure_fleet(suite, &manifest).await?;
    places::check(&fleet, &before).await?;
    let (old, _) = light::only_revision(&before)?;

    let changed = light::with_template(manifest, 2);
    let needs = format!("{GPUS_OF_A_NODE} nvidia.com/gpu");
    let numbers = ["no room", "needs 1 ", needs.as_str(), "best free: 0 + 0 + 0"];
    let waiting = changed.clone().with("/spec/strategy/whenNoRoom", json!("Wait"))?;
    let stands = predict(&suite.tools, &waiting).await.err();
    let stands = stands.context("a plan that would wait for room forever was accepted")?.to_string();
    ensure!(has_all(&stands, &numbers), "the plan that waits for room does not report {numbers:?}: {stands}");
    let predicted = predict(&suite.tools, &changed).await?;
    ensure!(
        predicted.gpus_peak == predicted.gpus_now,
        "the plan has {} GPUs held now and {} at the most, where none is free",
        predicted.gpus_now,
        predicted.gpus_peak
    );

    let bounds = Bounds { ready: GROUPS - 1, groups: GROUPS };
    let observations = suite
        .under_load(&fleet, Connections::FreshAndKept, bounds, async || {
            fleet.apply(&changed).await?;
            let reported = fleet.follow("say in numbers that there is no room", ROLLOUT, |fleet| {
                let reason = fleet?.status.as_ref()?.rollout.as_ref()?.reason.as_ref()?;
                has_all(reason, &numbers).then(|| reason.clone())
            });
            suite.console.say(reported.await?);
            let canary = fleet.follow("have its one new group ready beside the others", ROLLOUT, |fleet| {
                let status = fleet?.status.as_ref()?;
                let step = status.rollout.as_ref().map(|rollout| rollout.step);
                let whole =
                    (status.replicas, status.ready_replicas, status.updated_replicas) == (GROUPS, GROUPS, 1);
                (whole && step == Some(RolloutStep::Complete)).then(|| fleet.cloned()).flatten()
            });
            let canary = canary.await?;
            let new = groups(&canary).iter().filter(|group| group.revision != old).count();
            ensure!(new == 1, "{new} groups are of the new template, where the partition allows one");
            places::check(&fleet, &canary).await.map(drop)
        })
        .await?;
    observations.is_as(&predicted, GPUS_OF_A_NODE)?;
    fleet.delete(Duration::from_mins(1)).await?;
    suite.nothing_left().await
}

fn has_all(text: &str, words: &[&str]) -> bool {
    words.iter().all(|word| text.contains(word))
}

/// A group is only a head, tensor parallel over the GPUs of a node. One of the three is replaced: the
/// partition keeps the others, which would be replaced in the same way.
fn manifest() -> anyhow::Result<Manifest> {
    let gpus = GPUS_OF_A_NODE.to_string();
    let head = "/spec/template/spec/headGroupSpec/template/spec/containers/0/resources";
    let resources = json!({
        "requests": {"cpu": "150m", "memory": "512Mi", "nvidia.com/gpu": gpus},
        "limits": {"memory": "3Gi", "nvidia.com/gpu": gpus}
    });
    let bounds = json!({"maxSurge": 1, "maxUnavailable": 1, "partition": GROUPS - 1});
    light::manifest()?
        .named("full")
        .with("/spec/replicas", json!(GROUPS))?
        .with("/spec/strategy", json!({"rollingUpdate": bounds, "whenNoRoom": "Replace"}))?
        .with("/spec/model/parallelism", json!({"tensor": GPUS_OF_A_NODE, "pipeline": 1}))?
        .with("/spec/template/spec/workerGroupSpecs", json!([]))?
        .with(head, resources)
}

/// Checks that the cluster has the size that the fleet is made for.
async fn is_of_its_size(suite: &Suite) -> anyhow::Result<()> {
    let api: Api<Node> = Api::all(suite.cluster.client.clone());
    let nodes = call("list nodes", api.list(&ListParams::default())).await?.items;
    let gpus = |node: &Node| node.status.as_ref()?.allocatable.as_ref()?.get("nvidia.com/gpu").cloned();
    let found: Vec<_> =
        nodes.iter().map(|node| gpus(node).map_or_else(|| "0".to_owned(), |gpus| gpus.0)).collect();
    let wanted = vec![GPUS_OF_A_NODE.to_string(); usize::try_from(GROUPS)?];
    ensure!(
        found == wanted,
        "this needs {GROUPS} nodes of {GPUS_OF_A_NODE} GPUs, not {found:?}: hack/cluster down, then up"
    );
    Ok(())
}
