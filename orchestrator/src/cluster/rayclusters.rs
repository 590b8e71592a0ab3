//! RayCluster objects of whatever KubeRay version is installed, read without its types.

use std::sync::LazyLock;

use kube::api::ApiResource;
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt};
use rayfleet_api::{kuberay, names};
use rayfleet_core::seen::ClusterSeen;

use super::pods::created;

/// Longest name of a Secret that KubeRay makes.
const LONGEST_SECRET: usize = 50;

/// Port of Ray's dashboard unless the cluster says otherwise.
pub(crate) const DASHBOARD: u16 = 8265;

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
        deleting_since: cluster.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        finalizers: cluster.finalizers().to_vec(),
        slot: labels.get(names::LABEL_SLOT).and_then(|slot| slot.parse().ok()),
        attempt: attempt.and_then(|attempt| attempt.parse().ok()).unwrap_or_default(),
        pod_revision: labels.get(names::LABEL_POD_REVISION).cloned().unwrap_or_default(),
        pods: kuberay::pods(&cluster.data["spec"]).and_then(|pods| usize::try_from(pods).ok()),
        replica_failure: replica_failure(cluster),
        warning,
        own_port: own_port(cluster),
        created: created(cluster),
    }
}

/// Port of the engine that the cluster's pods start themselves: AIBrix's label on its head's pods, else on the cluster.
pub(crate) fn own_port(cluster: &DynamicObject) -> Option<u16> {
    let of_head = &cluster.data["spec"]["headGroupSpec"]["template"]["metadata"]["labels"];
    let of_cluster = || cluster.labels().get(names::LABEL_MODEL_PORT).map(String::as_str);
    of_head[names::LABEL_MODEL_PORT].as_str().or_else(of_cluster)?.parse().ok()
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
    let own = || own_secret(&cluster.name_any());
    Some(auth["secretName"].as_str().filter(|name| !name.is_empty()).map_or_else(own, str::to_owned))
}

/// Port of the head's dashboard: KubeRay hands `rayStartParams` on to `ray start`.
pub(crate) fn dashboard_port(cluster: &DynamicObject) -> u16 {
    let port = &cluster.data["spec"]["headGroupSpec"]["rayStartParams"]["dashboard-port"];
    port.as_str().and_then(|port| port.trim().parse().ok()).filter(|port| *port > 0).unwrap_or(DASHBOARD)
}

/// The name that KubeRay gives the Secret it makes: of a long name the last 50 characters, with an `r` in the
/// place of a first one that is no letter.
fn own_secret(cluster: &str) -> String {
    let surplus = cluster.chars().count().saturating_sub(LONGEST_SECRET);
    let mut kept = cluster.chars().skip(surplus);
    let first = kept.next().map(|first| if first.is_ascii_alphabetic() { first } else { 'r' });
    first.into_iter().chain(kept).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(name: &str, spec: &Value, status: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "ray.io/v1", "kind": "RayCluster",
            "metadata": {
                "name": name, "namespace": "n", "uid": "u", "resourceVersion": "5",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"rayfleet.io/slot": "3", "rayfleet.io/pod-revision": "abc"},
                "annotations": {"rayfleet.io/attempt": "2"}
            },
            "spec": spec, "status": status
        }))
        .unwrap()
    }

    #[test]
    fn a_group_has_the_size_of_its_own_spec() {
        let spec = json!({"headGroupSpec": {}, "workerGroupSpecs": [
            {"replicas": 3}, {"replicas": 2, "numOfHosts": 2}, {}, {"replicas": 9, "minReplicas": 0, "maxReplicas": 1}
        ]});
        assert_eq!(seen(&cluster("g", &spec, &Value::Null), None).pods, Some(9));
        assert_eq!(seen(&cluster("g", &json!({}), &Value::Null), None).pods, None);
    }

    #[test]
    fn what_was_written_at_its_creation_is_read_back() {
        let seen = seen(&cluster("g", &json!({}), &Value::Null), Some("w".into()));
        assert_eq!((seen.slot, seen.attempt, &*seen.pod_revision), (Some(3), 2, "abc"));
        assert_eq!((&*seen.uid, &*seen.resource_version), ("u", "5"));
        assert_eq!(seen.created.map(jiff::Timestamp::as_second), Some(1_767_225_600));
        assert_eq!((seen.replica_failure, seen.warning.as_deref()), (None, Some("w")));
    }

    #[test]
    fn labels_that_somebody_broke_are_survived() {
        let mut broken = cluster("g", &json!({}), &Value::Null);
        broken.labels_mut().insert("rayfleet.io/slot".into(), "-1".into());
        broken.annotations_mut().clear();
        let seen = seen(&broken, None);
        assert_eq!((seen.slot, seen.attempt), (None, 0));
    }

    #[test]
    fn a_failure_to_make_pods_is_read_while_it_lasts() {
        let failing = |status: &str, message: &Value| {
            let condition = json!({"type": "ReplicaFailure", "status": status, "message": message});
            let conditions = json!([{"type": "HeadPodReady", "status": "False"}, condition]);
            replica_failure(&cluster("g", &json!({}), &json!({"conditions": conditions})))
        };
        assert_eq!(failing("True", &json!("quota")).as_deref(), Some("quota"));
        assert_eq!(failing("True", &Value::Null).as_deref(), Some("KubeRay could not create pods"));
        assert_eq!(failing("False", &json!("quota")), None);
        assert_eq!(replica_failure(&cluster("g", &json!({}), &json!({"conditions": "odd"}))), None);
    }

    #[test]
    fn the_token_is_in_the_secret_that_the_spec_names_or_kuberay_makes() {
        let secret = |auth: &Value| token_secret(&cluster("g", &json!({"authOptions": auth}), &Value::Null));
        assert_eq!(secret(&json!({"mode": "token"})).as_deref(), Some("g"));
        assert_eq!(secret(&json!({"mode": "token", "secretName": "mine"})).as_deref(), Some("mine"));
        assert_eq!(secret(&json!({"mode": "token", "secretName": ""})).as_deref(), Some("g"));
        assert_eq!(secret(&json!({"mode": "disabled", "secretName": "mine"})), None);
        assert_eq!(secret(&Value::Null), None);
    }

    #[test]
    fn the_dashboard_is_asked_where_the_cluster_has_it() {
        let port = |params: &Value| {
            let spec = json!({"headGroupSpec": {"rayStartParams": params}});
            dashboard_port(&cluster("g", &spec, &Value::Null))
        };
        assert_eq!(port(&json!({"dashboard-port": "8266"})), 8266);
        for odd in [
            json!({}),
            json!({"dashboard-port": "0"}),
            json!({"dashboard-port": 8266}),
            json!({"dashboard-port": "x"}),
        ] {
            assert_eq!(port(&odd), DASHBOARD, "{odd}");
        }
    }

    #[test]
    fn of_a_long_name_kuberay_keeps_the_end() {
        let name = format!("{}-abcdef-9999-999", "f".repeat(37));
        assert_eq!(own_secret(&name), name.get(3..).unwrap());
        assert_eq!(own_secret(&"f".repeat(50)), "f".repeat(50));
        // What is left may begin with something that no name begins with.
        assert_eq!(own_secret(&format!("ab-{}", "f".repeat(49))), format!("r{}", "f".repeat(49)));
        assert_eq!(own_secret("7b"), "rb");
        assert_eq!(own_secret(""), "");
    }
}
