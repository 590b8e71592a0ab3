//! The orchestrator is killed in the middle of an upgrade, twice: when a new group is starting, and when
//! an old one is draining. Its successor finishes as if nothing had been.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use rayfleet_api::names;
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::overhead::orchestrators;
use rayfleet_e2e::cluster::pods::pods;
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::cluster::{SYSTEM_NAMESPACE, call, ray_cluster_resource, until};
use rayfleet_e2e::mainjob::places;

use crate::light::{self, REPLICAS, ROLLOUT};
use crate::suite::{Connections, Suite, never_above, never_below};

pub(crate) async fn killed(suite: &Suite) -> anyhow::Result<()> {
    let manifest = light::faster(light::bounded(1, 0)?);
    let (fleet, before) = light::ensure_fleet(suite, &manifest).await?;
    let (old, _) = light::only_revision(&before)?;
    let seen = suite
        .under_load(&fleet, Connections::FreshAndKept, async || {
            fleet.apply(&manifest.clone().with_env("RAYFLEET_E2E_TEMPLATE", "3")).await?;
            let starting = |group: &GroupStatus| {
                group.revision != old && matches!(group.phase, Phase::Forming | Phase::Loading)
            };
            when(&fleet, "have a new group starting", starting).await?;
            kill(suite).await?;
            let draining = |group: &GroupStatus| group.revision == old && group.phase == Phase::Draining;
            when(&fleet, "have an old group draining", draining).await?;
            kill(suite).await?;
            let after = light::settle(suite, &fleet, ROLLOUT).await?;
            let (new, _) = light::only_revision(&after)?;
            ensure!(new != old, "the pod revision is still {old}");
            places::check(&fleet, &after).await.map(drop)
        })
        .await?;
    never_below(&seen, REPLICAS)?;
    never_above(&seen, REPLICAS + 1)?;
    no_strays(&fleet).await
}

async fn when(fleet: &Fleet, what: &str, is: impl Fn(&GroupStatus) -> bool) -> anyhow::Result<()> {
    fleet.follow(what, ROLLOUT, |fleet| groups(fleet?).iter().any(&is).then_some(())).await
}

/// SIGKILL for every replica, and no word to anybody.
async fn kill(suite: &Suite) -> anyhow::Result<()> {
    let api: Api<Pod> = Api::namespaced(suite.cluster.client.clone(), SYSTEM_NAMESPACE);
    let victims: BTreeSet<String> =
        orchestrators(&suite.cluster).await?.iter().map(ResourceExt::name_any).collect();
    suite.console.say(format_args!("killing {victims:?}"));
    for name in &victims {
        call("kill the orchestrator", api.delete(name, &DeleteParams::default().grace_period(0))).await?;
    }
    until("a new orchestrator", Duration::from_mins(1), async || {
        let pods = orchestrators(&suite.cluster).await?;
        let fresh = pods.iter().find(|pod| !victims.contains(&pod.name_any()));
        Ok(fresh
            .and_then(|pod| pod.status.as_ref()?.phase.as_deref().filter(|phase| *phase == "Running"))
            .map(drop))
    })
    .await
}

/// What exists is what the status says, and nothing beside it.
async fn no_strays(fleet: &Fleet) -> anyhow::Result<()> {
    let told: BTreeSet<String> = groups(&fleet.get().await?).iter().map(|group| group.name.clone()).collect();
    let cluster = &fleet.cluster;
    let api: Api<kube::core::DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &ray_cluster_resource());
    let ours = ListParams::default().labels(&format!("{}={}", names::LABEL_FLEET, fleet.name));
    until("only the fleet's groups to exist", Duration::from_mins(1), async || {
        let list = call("list RayClusters", api.list_metadata(&ours)).await?;
        let there: BTreeSet<String> = list.items.iter().map(ResourceExt::name_any).collect();
        let of_pods: BTreeSet<String> = pods(fleet).await?.into_iter().map(|pod| pod.group).collect();
        Ok((there == told && of_pods == told).then_some(()))
    })
    .await
    .with_context(|| format!("the status has the groups {told:?}"))
}
