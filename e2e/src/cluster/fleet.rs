//! Operations on one fleet in a cluster: apply, change, follow, wait, delete.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::StreamExt;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use rayfleet_api::RayClusterFleet;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::manifest::Manifest;
use super::{Cluster, call, ready};
use crate::clock;

const MANAGER: &str = "rayfleet-e2e";

/// A fleet, by name.
#[derive(Clone)]
pub struct Fleet {
    /// The cluster and namespace that it is in.
    pub cluster: Cluster,
    /// Its name.
    pub name: String,
}

impl Fleet {
    /// A fleet that may or may not exist.
    pub fn new(cluster: &Cluster, name: &str) -> Self {
        Self { cluster: cluster.clone(), name: name.to_owned() }
    }

    /// Typed access.
    pub fn api(&self) -> Api<RayClusterFleet> {
        Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace)
    }

    /// Applies a manifest's fleet (server-side), exactly as written.
    pub async fn apply(&self, manifest: &Manifest) -> anyhow::Result<()> {
        self.patch(&PatchParams::apply(MANAGER).force(), &Patch::Apply(&manifest.fleet)).await
    }

    /// Dry-runs a manifest's fleet. Returns the API server's refusal, if any.
    pub async fn refusal(&self, manifest: &Manifest) -> anyhow::Result<Option<String>> {
        let params = PatchParams::apply(MANAGER).force().dry_run().validation_strict();
        match self.patch(&params, &Patch::Apply(&manifest.fleet)).await {
            Ok(()) => Ok(None),
            Err(error) => match error.downcast_ref::<kube::Error>() {
                Some(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
                _ => Err(error),
            },
        }
    }

    async fn patch(&self, params: &PatchParams, patch: &Patch<&Value>) -> anyhow::Result<()> {
        // Untyped: what is written is applied, without conversion by our types.
        let resource = kube::core::ApiResource::erase::<RayClusterFleet>(&());
        let client = self.cluster.client.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &self.cluster.namespace, &resource);
        call(&format!("apply fleet {}", self.name), api.patch(&self.name, params, patch)).await.map(drop)
    }

    /// Sets the number of groups through the scale subresource, as autoscalers and `kubectl scale` do.
    pub async fn scale(&self, replicas: i32) -> anyhow::Result<()> {
        let patch = json!({ "spec": { "replicas": replicas } });
        let (api, params) = (self.api(), PatchParams::default());
        call("scale the fleet", api.patch_scale(&self.name, &params, &Patch::Merge(&patch))).await.map(drop)
    }

    /// The fleet's present state.
    pub async fn get(&self) -> anyhow::Result<RayClusterFleet> {
        call(&format!("get fleet {}", self.name), self.api().get(&self.name)).await
    }

    /// The fleet's present state, if it exists.
    pub async fn find(&self) -> anyhow::Result<Option<RayClusterFleet>> {
        call(&format!("get fleet {}", self.name), self.api().get_opt(&self.name)).await
    }

    /// Follows the fleet until `judge` returns a value; `None` is passed while it does not exist.
    pub async fn follow<T>(
        &self,
        what: &str,
        limit: Duration,
        mut judge: impl FnMut(Option<&RayClusterFleet>) -> Option<T>,
    ) -> anyhow::Result<T> {
        let end = Instant::from_std(clock::instant() + limit);
        let mut changes = pin!(watch_object(self.api(), &self.name).default_backoff());
        let (mut last, mut trouble) = (None, None);
        loop {
            match timeout_at(end, changes.next()).await {
                Ok(Some(Ok(fleet))) => {
                    if let Some(answer) = judge(fleet.as_ref()) {
                        return Ok(answer);
                    }
                    last = fleet;
                }
                // The watch restarts by itself.
                Ok(Some(Err(error))) => trouble = Some(error),
                Ok(None) => bail!("the watch of fleet {} ended", self.name),
                Err(_) => {
                    let state = last.as_ref().map_or_else(|| "it does not exist".to_owned(), ready::words);
                    let trouble =
                        trouble.map(|e| format!("\nthe watch failed in between: {e}")).unwrap_or_default();
                    let why = last.as_ref().and_then(ready::unsettled).unwrap_or_default();
                    bail!(
                        "fleet {}: waited {} s for it to {what} ({why}); it says:\n{state}{trouble}",
                        self.name,
                        limit.as_secs()
                    )
                }
            }
        }
    }

    /// Waits until the fleet matches its spec.
    pub async fn settle(&self, limit: Duration) -> anyhow::Result<RayClusterFleet> {
        let settled = |fleet: &RayClusterFleet| ready::settled(fleet).then(|| fleet.clone());
        self.follow("match its spec", limit, |fleet| fleet.and_then(settled)).await
    }

    /// Deletes it and waits until the object is gone.
    pub async fn delete(&self, limit: Duration) -> anyhow::Result<()> {
        let (api, params) = (self.api(), DeleteParams::background());
        match call("delete the fleet", api.delete(&self.name, &params)).await {
            Ok(_) => {}
            Err(error) if is_not_found(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.follow("be gone", limit, |fleet| fleet.is_none().then_some(())).await
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Api(status)) if status.is_not_found())
}

/// Deletes every fleet of the namespace and waits until they are gone.
pub async fn delete_all(cluster: &Cluster, limit: Duration) -> anyhow::Result<()> {
    let api: Api<RayClusterFleet> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let all = call("list fleets", api.list(&ListParams::default())).await?;
    for fleet in all {
        let name = fleet.metadata.name.context("a fleet without a name")?;
        Fleet::new(cluster, &name).delete(limit).await?;
    }
    Ok(())
}
