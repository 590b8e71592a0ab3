//! What all scenarios share: the local cluster, a namespace, and its initial inventory.

use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use rayfleet_e2e::cluster::fleet::delete_all;
use rayfleet_e2e::cluster::inventory::{Inventory, inventory, nothing_left};
use rayfleet_e2e::cluster::tools::Tools;
use rayfleet_e2e::cluster::{Cluster, call, overhead, processes, room, until};
use rayfleet_e2e::console::Console;

const NAMESPACE: &str = "rayfleet-scenarios";
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Fixture {
    pub(crate) cluster: Cluster,
    pub(crate) tools: Tools,
    pub(crate) console: Console,
    before: Inventory,
}

impl Fixture {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        ensure!(
            processes::is_local(),
            "scenarios shape nodes and cut their power, which only the local cluster can bear: hack/e2e --scenarios"
        );
        let cluster = Cluster::connect(None, Some(NAMESPACE.to_owned())).await?;
        overhead::overhead(&cluster).await?;
        // A run that was killed may have left fleets, and nodes in another shape.
        power_back(&cluster).await?;
        delete_all(&cluster, PATIENCE).await?;
        room::undo(&cluster.client).await?;
        cluster.create_namespace(PATIENCE).await?;
        let before = until("the namespace's own objects", PATIENCE, async || {
            let found = inventory(&cluster).await?;
            let complete =
                found.contains("ConfigMap/kube-root-ca.crt") && found.contains("ServiceAccount/default");
            Ok(complete.then_some(found))
        })
        .await?;
        Ok(Self { tools: Tools::new(None, NAMESPACE), console: Console::default(), cluster, before })
    }

    /// Ends: deletes the namespace, unless it is to be kept for inspection.
    pub(crate) async fn end(&self) -> anyhow::Result<()> {
        if std::env::var_os("RAYFLEET_E2E_KEEP").is_some() {
            return Ok(());
        }
        self.cluster.delete_namespace(PATIENCE).await
    }

    /// Deletes what a scenario created, and waits until the namespace is as it was before all of them.
    pub(crate) async fn clear(&self, services: &[String]) -> anyhow::Result<()> {
        delete_all(&self.cluster, PATIENCE).await?;
        let api: Api<Service> = Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace);
        for service in services {
            call("delete the Service", api.delete(service, &DeleteParams::default())).await?;
        }
        nothing_left(&self.cluster, &self.before, PATIENCE).await
    }
}

/// Restores power to every node; a node with power is unchanged.
pub(crate) async fn power_back(cluster: &Cluster) -> anyhow::Result<()> {
    let api: Api<Node> = Api::all(cluster.client.clone());
    for node in call("list nodes", api.list_metadata(&ListParams::default())).await? {
        processes::cluster_tool(&["start-node", &node.name_any()]).await?;
    }
    Ok(())
}
