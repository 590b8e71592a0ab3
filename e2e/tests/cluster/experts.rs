//! A mixture of experts on real vLLM: a group is two data-parallel engines of two ranks, one on each of its two nodes,
//! which share the experts. It comes up, and a whole group more replaces it while requests run.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use rayfleet_api::RayClusterFleet;
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::endpoint::Endpoint;
use rayfleet_e2e::cluster::manifest::Manifest;
use rayfleet_e2e::cluster::pods::{pods, uids};
use rayfleet_e2e::demo::{follow, places};
use rayfleet_e2e::examples;
use rayfleet_e2e::load::{Load, Plan, Share};
use serde_json::json;

use crate::bounds::{Bounds, within};
use crate::light;
use crate::suite::Suite;

const MODEL: &str = "experts";
/// Longest time of a bring-up or an upgrade: seven vLLM processes of a group on two cores, beside those of another.
const LIMIT: Duration = Duration::from_mins(15);
/// One group serves at any time, and one more is made.
const SURGE: Bounds = Bounds { ready: 1, groups: 2 };

/// The quickstart's fleet with another model and shape.
fn manifest() -> anyhow::Result<Manifest> {
    let gpus = |group: &str| format!("/spec/template/spec/{group}/template/spec/containers/0/resources");
    let resources = json!({
        "requests": {"cpu": "250m", "memory": "1Gi", "nvidia.com/gpu": "2"},
        "limits": {"memory": "8Gi", "nvidia.com/gpu": "2"},
    });
    let mut manifest = examples::read("quickstart.yaml")?
        .named(MODEL)
        .with("/spec/replicas", json!(1))?
        .with("/spec/strategy/rollingUpdate", json!({"maxSurge": 1, "maxUnavailable": 0}))?
        .with("/spec/model/name", json!(MODEL))?
        .with("/spec/model/source", json!("/var/lib/rayfleet-local/models/tiny-experts"))?
        .with("/spec/model/parallelism", json!({"data": 2, "tensor": 2}))?
        .with(&gpus("headGroupSpec"), resources.clone())?
        .with(&gpus("workerGroupSpecs/0"), resources)?;
    if let Some(args) = manifest.fleet["spec"]["model"]["engine"]["args"].as_array_mut() {
        args.push(json!("--enable-expert-parallel"));
    }
    Ok(manifest)
}

pub(crate) async fn shared(suite: &Suite) -> anyhow::Result<()> {
    suite.clear().await?;
    let manifest = manifest()?;
    let fleet = suite.fleet(MODEL);
    let start = clock::instant();
    fleet.apply(&manifest).await?;
    let seen = follow::settle(&fleet, LIMIT, suite.console, || None).await?;
    suite.console.say(format_args!("ready after {:.0} s", clock::seconds_since(start)));
    for line in places::lines(&places::check(&fleet, &seen).await?) {
        suite.console.say(line);
    }
    whole(&seen)?;

    let endpoint = Endpoint::of(&suite.cluster, &fleet.name, &suite.tools).await?;
    let load = Load::start(&Plan {
        target: endpoint.target,
        model: MODEL.to_owned(),
        short: Share { fresh: 1, kept: 1, pause: Duration::from_secs(1), tokens: 4 },
        stream: Share { fresh: 1, kept: 0, pause: Duration::from_secs(10), tokens: 100 },
        patience: Duration::from_mins(2),
    });
    let before = uids(&pods(&fleet).await?);
    let start = clock::instant();
    within(&fleet, SURGE, async || {
        fleet.apply(&light::with_template(manifest.clone(), 2)).await?;
        follow::settle(&fleet, LIMIT, suite.console, || Some(load.so_far().line())).await.map(drop)
    })
    .await?;
    suite.console.say(format_args!("upgraded after {:.0} s", clock::seconds_since(start)));
    let report = load.stop(Duration::from_mins(3)).await;
    suite.console.say(format_args!("{report}"));
    ensure!(report.failed == 0 && report.open == 0 && report.sent > 10, "requests were lost:\n{report}");
    let seen = fleet.get().await?;
    places::check(&fleet, &seen).await?;
    whole(&seen)?;
    let after = uids(&pods(&fleet).await?);
    ensure!(after.len() == 2 && after.is_disjoint(&before), "not every pod was replaced");
    fleet.delete(Duration::from_mins(1)).await?;
    suite.nothing_left().await
}

/// Each engine is whole on a node of its own.
fn whole(seen: &RayClusterFleet) -> anyhow::Result<()> {
    for group in seen.status.iter().flat_map(|status| &status.groups) {
        let nodes = |engine: u32| -> BTreeSet<&str> {
            let ranks = group.placement.iter().filter(|rank| rank.data == Some(engine));
            ranks.map(|rank| rank.node.as_str()).collect()
        };
        let (first, second) = (nodes(0), nodes(1));
        ensure!(
            first.len() == 1 && second.len() == 1 && first != second,
            "the engines of {} are on {first:?} and {second:?}",
            group.name
        );
    }
    Ok(())
}
