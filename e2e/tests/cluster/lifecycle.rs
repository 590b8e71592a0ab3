//! A fleet comes up, grows, shrinks and goes.

use std::time::Duration;

use anyhow::{Context, ensure};
use rayfleet_e2e::cluster::endpoint::Endpoint;
use rayfleet_e2e::cluster::pods::{pods, uids};
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::cluster::until;
use rayfleet_e2e::load::complete;
use rayfleet_e2e::mainjob::places;

use crate::light::{self, BRING_UP, REPLICAS};
use crate::suite::{Connections, Suite, never_below};

/// From nothing to ready: every rank where the status, Ray and the pods agree that it is, and an answer.
pub(crate) async fn create(suite: &Suite) -> anyhow::Result<()> {
    suite.clear().await?;
    let manifest = light::manifest()?;
    let (fleet, seen) = light::ensure_fleet(suite, &manifest).await?;
    for line in places::lines(&places::check(&fleet, &seen).await?) {
        suite.console.say(line);
    }
    let pods = pods(&fleet).await?;
    ensure!(pods.len() == 4, "{} pods where two groups of two have 4", pods.len());
    let conditions = seen.status.unwrap_or_default().conditions;
    for (type_, wanted) in [
        ("Available", "True"),
        ("PlacementVerified", "True"),
        ("Progressing", "True"),
        ("ReplicaFailure", "False"),
        ("Stalled", "False"),
    ] {
        let found = conditions.iter().find(|condition| condition.type_ == type_);
        let found = found.with_context(|| format!("there is no condition {type_}"))?;
        ensure!(found.status == wanted, "condition {type_} is {}: {}", found.status, found.message);
    }
    let endpoint = Endpoint::of(&suite.cluster, &fleet.name, &suite.tools).await?;
    let text = complete(&endpoint.target, "light", "Hello", 5, Duration::from_secs(30)).await?;
    ensure!(text.split_whitespace().count() == 5, "5 tokens were asked for, `{text}` came");
    Ok(())
}

/// Growing leaves the groups alone that are there; shrinking drains those that go.
pub(crate) async fn scale(suite: &Suite) -> anyhow::Result<()> {
    let manifest = light::manifest()?;
    let (fleet, _) = light::ensure_fleet(suite, &manifest).await?;
    let two = uids(&pods(&fleet).await?);
    let seen = suite
        .under_load(&fleet, Connections::FreshAndKept, async || {
            fleet.scale(3).await?;
            light::settle(suite, &fleet, BRING_UP).await?;
            let three = uids(&pods(&fleet).await?);
            ensure!(three.len() == 6 && two.is_subset(&three), "scaling to 3 touched pods that were there");
            fleet.scale(1).await?;
            let left = light::settle(suite, &fleet, BRING_UP).await?;
            ensure!(groups(&left).len() == 1);
            until("two pods to be left", Duration::from_secs(30), async || {
                let one = uids(&pods(&fleet).await?);
                ensure!(one.is_subset(&three), "scaling to 1 made new pods");
                Ok((one.len() == 2).then_some(()))
            })
            .await
        })
        .await?;
    never_below(&seen, 1)?;
    fleet.scale(REPLICAS).await?;
    light::settle(suite, &fleet, BRING_UP).await.map(drop)
}

/// Deleting a fleet that serves takes everything along: pods and their GPUs, RayClusters, Services,
/// secrets, revisions.
pub(crate) async fn delete(suite: &Suite) -> anyhow::Result<()> {
    let fleet = light::any_fleet(suite).await?;
    fleet.delete(Duration::from_mins(1)).await?;
    suite.nothing_left().await
}
