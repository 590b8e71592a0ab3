//! What `kubectl rayfleet template` prints, applied as it is: a tiny model by its config.json becomes ready over two nodes and
//! answers. All that the local cluster has of its own stands in `examples/profiles/local.yaml`.

use std::time::Duration;

use anyhow::{Context, ensure};
use rayfleet_api::status::Phase;
use rayfleet_e2e::cluster::endpoint::Endpoint;
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::examples;
use rayfleet_e2e::load::complete;
use serde_json::json;

use crate::suite::Suite;

const FLEET: &str = "templated";
/// The model's folder, and the name of the claim that the profile names with the volume behind it.
const MODEL: &str = "/var/lib/rayfleet-local/models/tiny";
const VOLUME: &str = "rayfleet-local";

const COMMAND: Duration = Duration::from_secs(30);
const READY: Duration = Duration::from_mins(5);
const TOKENS: u32 = 5;

pub(crate) async fn applied(suite: &Suite) -> anyhow::Result<()> {
    suite.clear().await?;
    // One that a failed run left is bound to its claim for ever.
    remove_volume(suite).await?;
    volume(suite).await?;
    let manifest = rendered(suite).await?;
    apply(suite, &manifest).await?;
    let fleet = suite.fleet(FLEET);
    fleet
        .follow("have a ready group", READY, |fleet| {
            groups(fleet?).iter().any(|group| group.phase == Phase::Ready).then_some(())
        })
        .await?;
    let endpoint = Endpoint::of(&suite.cluster, FLEET, &suite.tools).await?;
    let text = complete(&endpoint.target, "tiny", "Hello", TOKENS, COMMAND).await?;
    ensure!(!text.trim().is_empty(), "the answer has no words");
    suite.console.say(format_args!("the templated fleet answers `{}`", text.trim()));
    fleet.delete(Duration::from_mins(2)).await?;
    suite.nothing_left().await?;
    remove_volume(suite).await
}

/// The manifest as a user writes it for a model of one's own: one rank on each of two nodes.
async fn rendered(suite: &Suite) -> anyhow::Result<String> {
    let config = format!("{MODEL}/config.json");
    let profile = examples::folder().join("profiles/local.yaml");
    let profile = profile.to_str().context("the repository's path is no text")?;
    let args = [
        &["rayfleet", "template", "--config", config.as_str(), "--profile", profile][..],
        &["--name", FLEET, "--served-model-name", "tiny", "--source", MODEL, "--gpu", "l40s"],
        &["--gpus-per-node", "1", "--tensor", "1", "--pipeline", "2", "--max-num-seqs", "16"],
        // Of the engine on CPU: nothing is compiled.
        &["--engine-arg=--enforce-eager"],
    ]
    .concat();
    suite.tools.run(&args, None, COMMAND).await
}

async fn apply(suite: &Suite, text: &str) -> anyhow::Result<()> {
    let args = ["apply", "--server-side", "--validate=strict", "-f", "-"];
    suite.tools.run(&args, Some(text), COMMAND).await.map(drop)
}

async fn remove_volume(suite: &Suite) -> anyhow::Result<()> {
    for object in ["persistentvolumeclaim", "persistentvolume"] {
        suite.tools.run(&["delete", object, VOLUME, "--ignore-not-found"], None, COMMAND).await?;
    }
    Ok(())
}

/// A claim of the folder that every node of the local cluster has.
async fn volume(suite: &Suite) -> anyhow::Result<()> {
    let namespace = &suite.cluster.namespace;
    let size = json!({"storage": "1Gi"});
    let text = json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": VOLUME},
            "spec": {
                "accessModes": ["ReadOnlyMany"], "capacity": size, "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": namespace, "name": VOLUME},
                "hostPath": {"path": "/var/lib/rayfleet-local", "type": "Directory"},
            },
        },
        {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": VOLUME, "namespace": namespace},
            "spec": {
                "accessModes": ["ReadOnlyMany"], "resources": {"requests": size},
                "storageClassName": "", "volumeName": VOLUME,
            },
        },
    ]});
    apply(suite, &text.to_string()).await
}
