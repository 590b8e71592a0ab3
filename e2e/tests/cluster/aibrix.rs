//! A manifest in AIBrix's own shape: the head's command starts the engine, a Service comes with it, and
//! percentages of one replica round to surge 1, unavailable 0.

use std::time::Duration;

use anyhow::ensure;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use rayfleet_e2e::cluster::call;
use rayfleet_e2e::cluster::endpoint::Endpoint;
use rayfleet_e2e::cluster::pods::{pods, uids};
use rayfleet_e2e::examples;
use rayfleet_e2e::load::complete;
use serde_json::Value;

use crate::bounds::Bounds;
use crate::light::{self, ROLLOUT};
use crate::suite::{Connections, Suite};

pub(crate) async fn works(suite: &Suite) -> anyhow::Result<()> {
    suite.clear().await?;
    let manifest = examples::read("aibrix-compatible.yaml")?;
    let services: Api<k8s_openapi::api::core::v1::Service> =
        Api::namespaced(suite.cluster.client.clone(), &suite.cluster.namespace);
    let name = manifest.name()?.to_owned();
    for service in &manifest.others {
        let params = PatchParams::apply("rayfleet-e2e").force();
        call("apply the Service", services.patch(&name, &params, &Patch::Apply(service))).await?;
    }
    let (fleet, _) = light::ensure_fleet(suite, &manifest).await?;
    let endpoint = Endpoint::of(&suite.cluster, &name, &suite.tools).await?;
    let text = complete(&endpoint.target, &name, "Hello", 4, Duration::from_secs(30)).await?;
    ensure!(!text.is_empty());

    let before = uids(&pods(&fleet).await?);
    // An engine started by the template cannot be asked to close kept connections, so the promise covers
    // only fresh ones.
    suite
        .under_load(&fleet, Connections::Fresh, Bounds { ready: 1, groups: 2 }, async || {
            fleet.apply(&manifest.clone().with_env("RAYFLEET_E2E_TEMPLATE", "2")).await?;
            light::settle(suite, &fleet, ROLLOUT).await.map(drop)
        })
        .await?;
    let after = uids(&pods(&fleet).await?);
    ensure!(after.len() == 2 && after.is_disjoint(&before), "not every pod was replaced");

    let spec = serde_json::to_value(call("get the Service", services.get(&name)).await?.spec)?;
    let untouched = manifest.others.iter().all(|service| selector(&service["spec"]) == selector(&spec));
    ensure!(untouched, "the user's Service was changed: {spec}");
    fleet.delete(Duration::from_mins(1)).await?;
    call("delete the Service", services.delete(&name, &DeleteParams::default())).await?;
    suite.nothing_left().await
}

fn selector(spec: &Value) -> &Value {
    &spec["selector"]
}
