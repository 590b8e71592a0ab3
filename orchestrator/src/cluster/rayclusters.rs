//! RayCluster objects of whatever KubeRay version is installed, read without its types.

use std::sync::LazyLock;

use kube::api::ApiResource;
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt};
use rayfleet_api::names;
use rayfleet_core::seen::ClusterSeen;

use super::pods::created;

/// `rayclusters.ray.io/v1`.
pub(crate) static RESOURCE: LazyLock<ApiResource> = LazyLock::new(|| ApiResource {
    group: "ray.io".to_owned(),
    version: "v1".to_owned(),
    api_version: "ray.io/v1".to_owned(),
    kind: "RayCluster".to_owned(),
    plural: "rayclusters".to_owned(),
});

/// Client for the RayClusters of a namespace.
pub(crate) fn api(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &*RESOURCE)
}

/// What a decision needs to know of a RayCluster.
pub(crate) fn seen(cluster: &DynamicObject, warning: Option<String>) -> ClusterSeen {
    let labels = cluster.labels();
    let attempt = cluster.annotations().get(names::ANNOTATION_ATTEMPT);
    ClusterSeen {
        uid: cluster.uid().unwrap_or_default(),
        resource_version: cluster.resource_version().unwrap_or_default(),
        deleting: cluster.metadata.deletion_timestamp.is_some(),
        slot: labels.get(names::LABEL_SLOT).and_then(|slot| slot.parse().ok()),
        attempt: attempt.and_then(|attempt| attempt.parse().ok()).unwrap_or_default(),
        pod_revision: labels.get(names::LABEL_POD_REVISION).cloned().unwrap_or_default(),
        replica_failure: replica_failure(cluster),
        warning,
        created: created(cluster),
    }
}

fn replica_failure(cluster: &DynamicObject) -> Option<String> {
    let conditions = cluster.data["status"]["conditions"].as_array()?;
    let failure = conditions
        .iter()
        .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True")?;
    Some(failure["message"].as_str().unwrap_or("KubeRay could not create pods").to_owned())
}

/// Name of the Secret with the cluster's Ray token and whether token authentication is on.
pub(crate) fn token_secret(cluster: &DynamicObject) -> Option<String> {
    let auth = &cluster.data["spec"]["authOptions"];
    if auth["mode"] != "token" {
        return None;
    }
    // KubeRay cuts the name at 50 characters.
    let own = || cluster.name_any().chars().take(50).collect();
    Some(auth["secretName"].as_str().filter(|name| !name.is_empty()).map_or_else(own, str::to_owned))
}
