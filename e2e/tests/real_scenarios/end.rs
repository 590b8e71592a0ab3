//! The picture of the final state of a scenario, in the same form as the simulation's.

use kube::Api;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use rayfleet_api::names;
use rayfleet_e2e::cluster::call;
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_sim::run::oracle::{Objects, picture_of};
use serde_json::Value;

const RAY_CLUSTER: (&str, &str, &str) = ("ray.io", "v1", "RayCluster");
const POD: (&str, &str, &str) = ("", "v1", "Pod");
const SERVICE: (&str, &str, &str) = ("", "v1", "Service");
const REVISION: (&str, &str, &str) = ("apps", "v1", "ControllerRevision");
const FLEET: (&str, &str, &str) = (names::GROUP, names::VERSION, names::KIND);

/// The present picture.
pub(crate) async fn picture(fleet: &Fleet) -> anyhow::Result<Value> {
    let raw = call("get the fleet", api(fleet, FLEET).get_opt(&fleet.name)).await?;
    let objects = Objects {
        fleet: raw.map(serde_json::to_value).transpose()?,
        clusters: ours(fleet, RAY_CLUSTER).await?,
        pods: ours(fleet, POD).await?,
        services: ours(fleet, SERVICE).await?,
        revisions: ours(fleet, REVISION).await?,
    };
    Ok(picture_of(&objects, &Value::Null))
}

/// Whether anything is left of what the fleet owned.
pub(crate) async fn leftovers(fleet: &Fleet) -> anyhow::Result<bool> {
    for kind in [RAY_CLUSTER, POD, SERVICE, REVISION] {
        if !ours(fleet, kind).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn api(fleet: &Fleet, (group, version, kind): (&str, &str, &str)) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(fleet.cluster.client.clone(), &fleet.cluster.namespace, &resource)
}

async fn ours(fleet: &Fleet, kind: (&str, &str, &str)) -> anyhow::Result<Vec<Value>> {
    let params = ListParams::default().labels(&format!("{}={}", names::LABEL_FLEET, fleet.name));
    let list = call(&format!("list {}s", kind.2), api(fleet, kind).list(&params)).await?;
    list.items.into_iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
}
