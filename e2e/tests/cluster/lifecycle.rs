//! A fleet is created, scaled up and down, and deleted.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use rayfleet_e2e::cluster::endpoint::Endpoint;
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::pods::{pods, uids};
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::cluster::until;
use rayfleet_e2e::demo::places;
use rayfleet_e2e::load::complete;

use crate::bounds::Bounds;
use crate::light::{self, BRING_UP, REPLICAS};
use crate::suite::{Connections, Suite};

/// A fleet is ready: status, Ray and pods agree on every rank, and a request is answered. The fleet came up
/// from nothing, here or in the scenario before.
pub(crate) async fn create(suite: &Suite) -> anyhow::Result<()> {
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

/// Scaling down drains the groups that are removed; scaling up leaves existing groups alone.
pub(crate) async fn scale(suite: &Suite) -> anyhow::Result<()> {
    let manifest = light::manifest()?;
    let (fleet, _) = light::ensure_fleet(suite, &manifest).await?;
    suite
        .under_load(&fleet, Connections::FreshAndKept, Bounds { ready: 1, groups: 3 }, async || {
            let two = uids(&pods(&fleet).await?);
            scale_to(suite, &fleet, 1, |one| one.is_subset(&two)).await?;
            let one = uids(&pods(&fleet).await?);
            scale_to(suite, &fleet, 3, |three| one.is_subset(three)).await?;
            let three = uids(&pods(&fleet).await?);
            scale_to(suite, &fleet, REPLICAS, |two| two.is_subset(&three)).await
        })
        .await
        .map(drop)
}

/// Scales and waits until exactly the right pods of `replicas` groups are left.
async fn scale_to(
    suite: &Suite,
    fleet: &Fleet,
    replicas: i32,
    right: impl Fn(&BTreeSet<String>) -> bool,
) -> anyhow::Result<()> {
    fleet.scale(replicas).await?;
    let seen = light::settle(suite, fleet, BRING_UP).await?;
    ensure!(i32::try_from(groups(&seen).len()) == Ok(replicas));
    let mut left = BTreeSet::new();
    until(&format!("the pods of {replicas} groups"), Duration::from_secs(30), async || {
        left = uids(&pods(fleet).await?);
        Ok((i32::try_from(left.len()) == Ok(2 * replicas)).then_some(()))
    })
    .await?;
    ensure!(
        right(&left),
        "scaling to {replicas} touched pods that were to stay, or made some: {left:?} are there"
    );
    Ok(())
}

/// Deleting a serving fleet deletes everything with it: pods and their GPUs, RayClusters, Services,
/// Secrets, revisions.
pub(crate) async fn delete(suite: &Suite) -> anyhow::Result<()> {
    let fleet = light::any_fleet(suite).await?;
    fleet.delete(Duration::from_mins(1)).await?;
    suite.nothing_left().await
}
