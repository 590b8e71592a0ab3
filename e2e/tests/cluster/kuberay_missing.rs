//! KubeRay is not installed: the fleet reports it once that has been certain for half a minute, and
//! continues by itself once KubeRay is there. Tested on the running orchestrator by deleting and restoring
//! the RayCluster CRD, which is harder than starting without it. The fleet that comes up then is used by
//! the scenarios that follow.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::core::{DynamicObject, ObjectMeta};
use rayfleet_e2e::cluster::diagnosis::Diagnosis;
use rayfleet_e2e::cluster::{KUBERAY_NAMESPACE, call, ray_cluster_resource, ready, until};

use crate::light;
use crate::suite::Suite;

const SOON: Duration = Duration::from_secs(10);
const CRD: &str = "rayclusters.ray.io";

pub(crate) async fn reported(suite: &Suite) -> anyhow::Result<()> {
    suite.clear().await?;
    let rays: Api<DynamicObject> = Api::all_with(suite.cluster.client.clone(), &ray_cluster_resource());
    let others = call("list RayClusters", rays.list_metadata(&ListParams::default())).await?.items.len();
    ensure!(
        others == 0,
        "there are {others} RayClusters elsewhere, which this test would delete: it is not run"
    );

    let crds: Api<CustomResourceDefinition> = Api::all(suite.cluster.client.clone());
    let crd = call("get KubeRay's CRD", crds.get(CRD)).await?;
    call("delete KubeRay's CRD", crds.delete(CRD, &DeleteParams::default())).await?;
    let outcome = explains(suite, &crds).await;
    // The cluster is restored whatever the result.
    let restored = restore(suite, &crds, crd).await;
    outcome?;
    restored?;
    light::settle(suite, &suite.fleet("light"), light::BRING_UP).await.map(drop)
}

async fn explains(suite: &Suite, crds: &Api<CustomResourceDefinition>) -> anyhow::Result<()> {
    until("KubeRay's CRD to be gone", Duration::from_secs(30), async || {
        Ok(call("get KubeRay's CRD", crds.get_opt(CRD)).await?.is_none().then_some(()))
    })
    .await?;
    let fleet = suite.fleet("light");
    fleet.apply(&light::manifest()?).await?;
    let says = |fleet: Option<&rayfleet_api::RayClusterFleet>| {
        let words = ready::words(fleet?);
        ["KubeRay is not installed", "install KubeRay"].iter().all(|word| words.contains(word)).then_some(())
    };
    let diagnosed = Diagnosis::begin(&suite.tools);
    fleet.follow("say that KubeRay is missing", Duration::from_secs(90), says).await?;
    let said = diagnosed.named(&fleet.name, &[("KubeRay", "KubeRay is not installed")], SOON).await?;
    suite.console.say(said.row("KubeRay's CRD is deleted"));
    Ok(())
}

/// The steps of an installation: the CRD, then an operator that starts after it.
async fn restore(
    suite: &Suite,
    crds: &Api<CustomResourceDefinition>,
    mut crd: CustomResourceDefinition,
) -> anyhow::Result<()> {
    crd.metadata = ObjectMeta {
        name: crd.metadata.name,
        labels: crd.metadata.labels,
        annotations: crd.metadata.annotations,
        ..ObjectMeta::default()
    };
    crd.status = None;
    call("create KubeRay's CRD", crds.create(&PostParams::default(), &crd)).await?;
    until("KubeRay's CRD to be established", Duration::from_secs(30), async || {
        let status = call("get KubeRay's CRD", crds.get(CRD)).await?.status.context("no status yet")?;
        let established =
            status.conditions.into_iter().flatten().any(|c| c.type_ == "Established" && c.status == "True");
        Ok(established.then_some(()))
    })
    .await?;
    let operators: Api<Pod> = Api::namespaced(suite.cluster.client.clone(), KUBERAY_NAMESPACE);
    let params = (DeleteParams::default(), ListParams::default());
    call("restart KubeRay", operators.delete_collection(&params.0, &params.1)).await.map(drop)
}
