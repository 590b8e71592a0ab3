//! The leading replica of the orchestrator, and moving leadership to another one. Decided by the lease, as
//! the replicas do.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};

use super::overhead::{looks, orchestrators};
use super::{Cluster, SYSTEM_NAMESPACE, call, until};

const LEASE: &str = "rayfleet-orchestrator";
/// A replica releases its lease when it exits, and others try to acquire it every two seconds.
const HANDOVER: Duration = Duration::from_mins(1);
/// Observations of Ray clusters after which a new leader knows every pod.
const LOOKS: u64 = 5;

/// The replica that holds the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its pod.
    pub pod: String,
    /// The pod's node.
    pub node: String,
}

/// The leader; `None` while there is none.
pub async fn leader(cluster: &Cluster) -> anyhow::Result<Option<Leader>> {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let Some(lease) = call("get the lease", api.get_opt(LEASE)).await? else { return Ok(None) };
    let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
    let pods = orchestrators(cluster).await?;
    let lives = |pod: &&Pod| pod.name_any() == holder && pod.metadata.deletion_timestamp.is_none();
    let node = pods.iter().find(lives).and_then(|pod| pod.spec.as_ref()?.node_name.clone());
    Ok(node.map(|node| Leader { pod: holder, node }))
}

/// Moves leadership to a replica that is not on this node, and waits until it has observed the groups.
pub async fn keep_off(cluster: &Cluster, node: &str) -> anyhow::Result<Leader> {
    let now = until("a replica to lead", HANDOVER, async || leader(cluster).await).await?;
    if now.node != node {
        return Ok(now);
    }
    let others = orchestrators(cluster).await?;
    let elsewhere = others.iter().any(|pod| {
        let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        on.is_some_and(|on| on != node)
    });
    ensure!(elsewhere, "all replicas of the orchestrator are on {node}: they should be spread over nodes");
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    call("end the leader", api.delete(&now.pod, &DeleteParams::default())).await?;
    until("another replica to lead", HANDOVER, async || {
        let next = leader(cluster).await?.filter(|next| next.pod != now.pod && next.node != node);
        let Some(next) = next else { return Ok(None) };
        Ok((looks(cluster, &next.pod).await? >= LOOKS).then_some(next))
    })
    .await
    .with_context(|| format!("{} led before", now.pod))
}
