//! The fleet of light engines that most scenarios share: two groups, each with a head and a worker,
//! pipeline parallel 2. A scenario reuses the fleet that an earlier one left, or creates it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use rayfleet_api::RayClusterFleet;
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::manifest::Manifest;
use rayfleet_e2e::cluster::ready::{self, groups};
use rayfleet_e2e::demo::follow;
use rayfleet_e2e::examples;
use serde_json::json;

use crate::suite::Suite;

pub(crate) const REPLICAS: i32 = 2;

/// An environment variable of the pods that nothing reads.
pub(crate) const TEMPLATE: &str = "RAYFLEET_E2E_TEMPLATE";

/// Longest time from nothing to all groups ready. A group needs about half a minute on an idle machine.
pub(crate) const BRING_UP: Duration = Duration::from_mins(3);
/// Longest time of a rollout of all groups, streams included.
pub(crate) const ROLLOUT: Duration = Duration::from_mins(5);

pub(crate) fn manifest() -> anyhow::Result<Manifest> {
    examples::read("light.yaml")
}

/// The fleet with the given bounds of a rollout.
pub(crate) fn bounded(max_surge: u32, max_unavailable: u32) -> anyhow::Result<Manifest> {
    let bounds = json!({ "maxSurge": max_surge, "maxUnavailable": max_unavailable });
    manifest()?.with("/spec/strategy/rollingUpdate", bounds)
}

/// The same with other pods that do the same.
pub(crate) fn with_template(manifest: Manifest, number: u32) -> Manifest {
    manifest.with_env(TEMPLATE, &number.to_string())
}

/// The present fleet, if it serves; else a new one from the manifest.
pub(crate) async fn any_fleet(suite: &Suite) -> anyhow::Result<Fleet> {
    let manifest = manifest()?;
    let fleet = suite.fleet(manifest.name()?);
    if fleet.find().await?.is_none_or(|fleet| !ready::settled(&fleet)) {
        ensure_fleet(suite, &manifest).await?;
    }
    Ok(fleet)
}

/// Applies a manifest and waits until the fleet matches it.
pub(crate) async fn ensure_fleet(
    suite: &Suite,
    manifest: &Manifest,
) -> anyhow::Result<(Fleet, RayClusterFleet)> {
    let fleet = suite.fleet(manifest.name()?);
    fleet.apply(manifest).await?;
    let seen = settle(suite, &fleet, BRING_UP).await?;
    Ok((fleet, seen))
}

/// Waits until the fleet matches its spec, and reports progress.
pub(crate) async fn settle(suite: &Suite, fleet: &Fleet, limit: Duration) -> anyhow::Result<RayClusterFleet> {
    follow::settle(fleet, limit, suite.console, || None).await
}

/// Waits until a group of the fleet satisfies a condition.
pub(crate) async fn until_a_group(
    fleet: &Fleet,
    what: &str,
    is: impl Fn(&GroupStatus) -> bool,
) -> anyhow::Result<GroupStatus> {
    fleet.follow(what, ROLLOUT, |fleet| groups(fleet?).iter().find(|group| is(group)).cloned()).await
}

/// Whether a group of a new revision has its pods, and its engine does not serve yet.
pub(crate) fn is_starting(group: &GroupStatus, old: &str) -> bool {
    group.revision != old && matches!(group.phase, Phase::Forming | Phase::Placing | Phase::Loading)
}

/// Whether a group of the old revision takes no new requests.
pub(crate) fn is_draining(group: &GroupStatus, old: &str) -> bool {
    group.revision == old && group.phase == Phase::Draining
}

/// Asserts that all groups have one pod revision and one engine revision; returns both.
pub(crate) fn only_revision(seen: &RayClusterFleet) -> anyhow::Result<(String, String)> {
    let revisions: BTreeSet<_> = groups(seen)
        .iter()
        .map(|group| {
            (group.revision.to_string(), group.engine_revision.clone().unwrap_or_default().to_string())
        })
        .collect();
    ensure!(revisions.len() == 1, "the groups are of different revisions: {revisions:?}");
    Ok(revisions.into_iter().next().unwrap_or_default())
}
