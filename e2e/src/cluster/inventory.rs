//! Inventory of a namespace, to find objects that were left behind.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::try_join_all;
use kube::Api;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};

use super::{Cluster, call, until};

const KINDS: [(&str, &str, &str); 12] = [
    ("", "v1", "Pod"),
    ("", "v1", "Service"),
    ("", "v1", "Secret"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "ServiceAccount"),
    ("apps", "v1", "ControllerRevision"),
    ("batch", "v1", "Job"),
    ("coordination.k8s.io", "v1", "Lease"),
    ("discovery.k8s.io", "v1", "EndpointSlice"),
    ("orchestration.aibrix.ai", "v1alpha1", "RayClusterFleet"),
    ("rbac.authorization.k8s.io", "v1", "Role"),
    ("ray.io", "v1", "RayCluster"),
];

/// Objects as `Kind/name`.
pub type Inventory = BTreeSet<String>;

/// The namespace's present objects. Events are left out: they outlive their objects.
pub async fn inventory(cluster: &Cluster) -> anyhow::Result<Inventory> {
    let lists = KINDS.map(async |(group, version, kind)| {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let client = cluster.client.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &cluster.namespace, &resource);
        let list = call(&format!("list {kind}"), api.list_metadata(&ListParams::default())).await?;
        let names = list
            .items
            .into_iter()
            .filter_map(move |object| Some(format!("{kind}/{}", object.metadata.name?)));
        anyhow::Ok(names.collect::<Vec<_>>())
    });
    Ok(try_join_all(lists).await?.into_iter().flatten().collect())
}

/// Waits until no object is left that is not in `before`.
pub async fn nothing_left(cluster: &Cluster, before: &Inventory, limit: Duration) -> anyhow::Result<()> {
    let mut left = Vec::new();
    let waited = until("nothing to be left", limit, async || {
        left = inventory(cluster).await?.difference(before).cloned().collect();
        Ok(left.is_empty().then_some(()))
    })
    .await;
    waited.map_err(|error| error.context(format!("left behind: {}", left.join(", "))))
}
