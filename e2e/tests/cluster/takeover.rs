//! The orchestrator is killed in the middle of an upgrade, twice: when a new group is starting, and when an
//! old one is draining, the second time together with KubeRay's operator. Their successors finish the
//! upgrade without a trace of the kill.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use rayfleet_api::names;
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::plan_check::foretell;
use rayfleet_e2e::cluster::pods::pods;
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::cluster::{
    KUBERAY_NAMESPACE, SYSTEM_NAMESPACE, call, processes, ray_cluster_resource, until,
};
use rayfleet_e2e::demo::places;

use crate::bounds::Bounds;
use crate::light::{self, REPLICAS, ROLLOUT};
use crate::suite::{Connections, Suite};

pub(crate) async fn killed(suite: &Suite) -> anyhow::Result<()> {
    let manifest = light::faster(light::bounded(1, 0)?);
    let (fleet, before) = light::ensure_fleet(suite, &manifest).await?;
    let (old, _) = light::only_revision(&before)?;
    let changed = light::upgraded(1, 0)?;
    let predicted = foretell(&suite.tools, &changed).await?;
    let bounds = Bounds { ready: REPLICAS, groups: REPLICAS + 1 };
    let account = suite
        .under_load(&fleet, Connections::FreshAndKept, bounds, async || {
            fleet.apply(&changed).await?;
            light::until_a_group(&fleet, "have a new group starting", |group| {
                light::is_starting(group, &old)
            })
            .await?;
            kill(suite, SYSTEM_NAMESPACE).await?;
            light::until_a_group(&fleet, "have an old group draining", |group| {
                light::is_draining(group, &old)
            })
            .await?;
            futures::try_join!(kill(suite, SYSTEM_NAMESPACE), kill(suite, KUBERAY_NAMESPACE))?;
            let after = light::settle(suite, &fleet, ROLLOUT).await?;
            let (new, _) = light::only_revision(&after)?;
            ensure!(new != old, "the pod revision is still {old}");
            places::check(&fleet, &after).await.map(drop)
        })
        .await?;
    account.is_as(&predicted, changed.valid()?.shape.gpus())?;
    no_strays(&fleet).await
}

/// SIGKILL for every process of every pod in a namespace without notice, then waits for replacement pods.
/// On a cluster whose processes cannot be reached, kubelets end them with a second's notice.
pub(crate) async fn kill(suite: &Suite, namespace: &str) -> anyhow::Result<()> {
    let api: Api<Pod> = Api::namespaced(suite.cluster.client.clone(), namespace);
    let list =
        async || Ok::<_, anyhow::Error>(call("list pods", api.list(&ListParams::default())).await?.items);
    let runs = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
    };
    let victims: BTreeSet<(String, String)> = list()
        .await?
        .iter()
        .filter(|pod| runs(pod))
        .map(|pod| (pod.name_any(), pod.uid().unwrap_or_default()))
        .collect();
    ensure!(!victims.is_empty(), "no pod runs in {namespace}");
    suite.console.say(format_args!("killing {namespace}: {victims:?}"));
    for (name, uid) in &victims {
        if processes::is_local() {
            let all = processes::of_uid(uid, "");
            ensure!(!all.is_empty(), "pod {name} has no process that could be killed");
            for process in all {
                // A process may end with an earlier one of the list.
                drop(process.signal("KILL"));
            }
        }
        call(&format!("delete pod {name}"), api.delete(name, &DeleteParams::default().grace_period(0)))
            .await?;
    }
    let is_fresh = |pod: &Pod| victims.iter().all(|(_, uid)| pod.uid().as_ref() != Some(uid));
    until(&format!("another pod to run in {namespace}"), Duration::from_mins(1), async || {
        Ok(list().await?.iter().any(|pod| is_fresh(pod) && runs(pod)).then_some(()))
    })
    .await
}

/// Only what the status reports exists.
async fn no_strays(fleet: &Fleet) -> anyhow::Result<()> {
    let reported: BTreeSet<String> =
        groups(&fleet.get().await?).iter().map(|group| group.name.clone()).collect();
    let cluster = &fleet.cluster;
    let api: Api<kube::core::DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &ray_cluster_resource());
    let ours = ListParams::default().labels(&format!("{}={}", names::LABEL_FLEET, fleet.name));
    until("only the fleet's groups to exist", Duration::from_mins(1), async || {
        let list = call("list RayClusters", api.list_metadata(&ours)).await?;
        let there: BTreeSet<String> = list.items.iter().map(ResourceExt::name_any).collect();
        let of_pods: BTreeSet<String> = pods(fleet).await?.into_iter().map(|pod| pod.group).collect();
        Ok((there == reported && of_pods == reported).then_some(()))
    })
    .await
    .with_context(|| format!("the status has the groups {reported:?}"))
}
