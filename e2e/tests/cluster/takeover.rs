//! The orchestrator or KubeRay's operator is killed, and a successor takes over.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use rayfleet_api::names;
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::pods::pods;
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::cluster::{call, processes, ray_cluster_resource, until};

use crate::suite::Suite;

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

/// What exists is what the status says, and nothing beside it.
pub(crate) async fn no_strays(fleet: &Fleet) -> anyhow::Result<()> {
    let reported: BTreeSet<String> =
        groups(&fleet.get().await?).iter().map(|group| group.name.to_string()).collect();
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
