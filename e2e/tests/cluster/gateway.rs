//! The gateway in the scenarios' namespace: installed from `manifests/gateway` as docs/gateway.md says, and taken away again.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use rayfleet_e2e::cluster::call;

use crate::suite::Suite;

/// Name of its Service.
pub(crate) const SERVICE: &str = "rayfleet-gateway";
const SELECTOR: &str = "app.kubernetes.io/component=gateway";
const COMMAND: Duration = Duration::from_secs(90);

/// Does something while a gateway is there.
pub(crate) async fn with_gateway<T>(
    suite: &Suite,
    work: impl AsyncFnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let manifest = manifest(suite).await?;
    suite.tools.run(&["apply", "-f", "-"], Some(&manifest), COMMAND).await?;
    let rollout = ["rollout", "status", "deployment/rayfleet-gateway", "--timeout=60s"];
    suite.tools.run(&rollout, None, COMMAND).await.context("the gateway does not start")?;
    let outcome = work().await;
    suite.tools.run(&["delete", "-f", "-"], Some(&manifest), COMMAND).await?;
    outcome
}

/// The manifests as an overlay makes them for this namespace.
async fn manifest(suite: &Suite) -> anyhow::Result<String> {
    let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/e2e-gateway");
    std::fs::create_dir_all(&overlay)?;
    let namespace = &suite.cluster.namespace;
    let text = format!("namespace: {namespace}\nresources: [../../manifests/gateway]\n");
    std::fs::write(overlay.join("kustomization.yaml"), text)?;
    let overlay = overlay.to_str().context("a path that is no text")?;
    suite.tools.run(&["kustomize", overlay], None, COMMAND).await
}

/// One of its pods is deleted, as by a drain of its node; it may finish what it has begun.
pub(crate) async fn delete_one(suite: &Suite) -> anyhow::Result<()> {
    let api: Api<Pod> = Api::namespaced(suite.cluster.client.clone(), &suite.cluster.namespace);
    let pods = call("list pods of the gateway", api.list(&ListParams::default().labels(SELECTOR))).await?;
    let name = pods.items.first().context("no pod of the gateway")?.name_any();
    suite.console.say(format_args!("deleting {name}"));
    call("delete a pod of the gateway", api.delete(&name, &DeleteParams::default())).await.map(drop)
}
