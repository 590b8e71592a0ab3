//! A cluster as users of Rayfleet see it: fleets, their pods and Services, and Ray's own reports. Reads and
//! plain writes with timeouts; expectations of tests do not belong here.

pub mod addresses;
pub mod availability;
pub mod diagnosis;
pub mod dump;
pub mod endpoint;
pub mod fleet;
pub mod inventory;
pub mod journal;
pub mod leader;
pub mod manifest;
pub mod narrator;
pub mod overhead;
pub mod plan_check;
pub mod pods;
pub mod processes;
pub mod ray;
pub mod ray_clusters;
pub mod ready;
pub mod room;
pub mod steps;
pub mod tools;
pub mod warnings;
mod watch_cache;

use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::config::KubeConfigOptions;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, Config};
use tokio::time::{Instant, timeout_at};

use crate::clock;

/// Namespace of the orchestrator, as `manifests/` has it.
pub const SYSTEM_NAMESPACE: &str = "rayfleet-system";

/// Namespace of KubeRay's operator.
pub const KUBERAY_NAMESPACE: &str = "kuberay-system";

/// Longest wait for one answer of the API server.
const CALL: Duration = Duration::from_secs(20);

/// A connection to a cluster with a namespace.
#[derive(Clone)]
pub struct Cluster {
    /// Client.
    pub client: Client,
    /// Namespace of the fleets.
    pub namespace: String,
}

impl Cluster {
    /// Connects to the kubeconfig's cluster, or to that of one of its contexts. The context's namespace is
    /// used unless another is given.
    pub async fn connect(context: Option<String>, namespace: Option<String>) -> anyhow::Result<Self> {
        let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let mut config = Config::from_kubeconfig(&options).await.context(
            "no usable kubeconfig: set KUBECONFIG, for the local cluster by eval \"$(hack/cluster env)\"",
        )?;
        config.connect_timeout = Some(Duration::from_secs(5));
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let url = config.cluster_url.clone();
        let client = Client::try_from(config)?;
        let cluster = Self { client, namespace };
        let version = call("its version", cluster.client.apiserver_version());
        version.await.with_context(|| format!("the API server at {url} does not answer"))?;
        Ok(cluster)
    }

    /// Creates the namespace if it does not exist; waits until an earlier one of this name is gone.
    pub async fn create_namespace(&self, limit: Duration) -> anyhow::Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let what = format!("namespace {} to be free", self.namespace);
        until(&what, limit, async || {
            let found = call("get namespace", api.get_opt(&self.namespace)).await?;
            match found {
                Some(found) if found.metadata.deletion_timestamp.is_some() => Ok(None),
                Some(_) => Ok(Some(())),
                None => {
                    let mut namespace = Namespace::default();
                    namespace.metadata.name = Some(self.namespace.clone());
                    call("create namespace", api.create(&PostParams::default(), &namespace)).await?;
                    Ok(Some(()))
                }
            }
        })
        .await
    }

    /// Deletes the namespace and waits until it is gone.
    pub async fn delete_namespace(&self, limit: Duration) -> anyhow::Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        call("delete namespace", api.delete(&self.namespace, &DeleteParams::default())).await?;
        until(&format!("namespace {} to be gone", self.namespace), limit, async || {
            Ok(call("get namespace", api.get_opt(&self.namespace)).await?.is_none().then_some(()))
        })
        .await
    }
}

/// KubeRay's RayCluster.
pub fn ray_cluster_resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("ray.io", "v1", "RayCluster"))
}

/// An API call with a timeout, named `what` in its error.
pub async fn call<T>(what: &str, future: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
    match tokio::time::timeout(CALL, future).await {
        Ok(answer) => answer.with_context(|| what.to_owned()),
        Err(_) => bail!("{what}: the API server gave no answer for {} s", CALL.as_secs()),
    }
}

/// Polls four times a second until there is a value. Errors of single attempts are tolerated (an API server
/// may be busy), and reported when the time is over.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = Instant::from_std(clock::instant() + limit);
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    let mut last = String::new();
    loop {
        match timeout_at(end, async {
            tick.tick().await;
            ask().await
        })
        .await
        {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Ok(Ok(None)) => last.clear(),
            Ok(Err(error)) => last = format!(": {error:#}"),
            Err(_) => bail!("waited {} s for {what}{last}", limit.as_secs()),
        }
    }
}
