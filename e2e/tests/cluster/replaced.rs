//! `kubectl rayfleet drain GROUP` under load: another group comes first, then the old one's requests end, and it goes.

use std::time::Duration;

use anyhow::{Context, ensure};
use rayfleet_e2e::cluster::pods::{FleetPod, pods, uids};
use rayfleet_e2e::cluster::ready::{self, groups};
use rayfleet_e2e::demo::places;

use crate::bounds::Bounds;
use crate::light::{self, REPLICAS};
use crate::suite::{Connections, Suite};

const DRAIN: Duration = Duration::from_mins(3);

pub(crate) async fn by_drain(suite: &Suite) -> anyhow::Result<()> {
    let (fleet, before) = light::ensure_fleet(suite, &light::bounded(1, 0)?).await?;
    let revision = light::only_revision(&before)?;
    let victim = groups(&before).first().context("the fleet has no group")?.name.to_string();
    let of_others =
        |pods: Vec<FleetPod>| uids(&pods.into_iter().filter(|pod| pod.group != victim).collect::<Vec<_>>());
    let others = of_others(pods(&fleet).await?);
    let bounds = Bounds { ready: REPLICAS, groups: REPLICAS + 1 };
    suite
        .under_load(&fleet, Connections::FreshAndKept, bounds, async || {
            let args = ["rayfleet", "drain", victim.as_str(), "--timeout", "2m"];
            let said = suite.tools.run(&args, None, DRAIN).await?;
            said.lines().for_each(|line| suite.console.say(line));
            let done = format!("group {victim} was replaced: {REPLICAS} of {REPLICAS} groups available");
            ensure!(said.lines().any(|line| line.starts_with(&done)), "`{done}` was not said");
            let after = fleet.get().await?;
            ensure!(ready::whole(&after), "the command returned too soon: {}", ready::words(&after));
            ensure!(groups(&after).iter().all(|group| group.name != victim), "{victim} is still there");
            ensure!(light::only_revision(&after)? == revision, "the successor is of another revision");
            let pods = of_others(pods(&fleet).await?);
            ensure!(others.is_subset(&pods), "pods of a group were replaced that nobody asked for");
            places::check(&fleet, &after).await.map(drop)
        })
        .await
        .map(drop)
}
