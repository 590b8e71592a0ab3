//! RayCluster objects of whatever KubeRay version is installed, read without its types.

use std::sync::LazyLock;

use kube::api::ApiResource;
use kube::core::{DynamicObject, Request};
use kube::{Resource, ResourceExt};
use rayfleet_api::names;
use rayfleet_core::observed::ObservedRayCluster;
use serde_json::Value;

use super::objects::bounded;
use super::size::Size;

/// `spec.managedBy` of a RayCluster that KubeRay's operator looks after; the default.
const KUBERAY: &str = "ray.io/kuberay-operator";

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

/// Requests for the RayClusters of a namespace.
pub(crate) fn at(namespace: &str) -> Request {
    Request::new(DynamicObject::url_path(&RESOURCE, Some(namespace)))
}

/// What a decision needs to know of a RayCluster.
pub(crate) fn observed(cluster: &DynamicObject, warning: Option<String>) -> ObservedRayCluster {
    let labels = cluster.labels();
    let attempt = cluster.annotations().get(names::ANNOTATION_ATTEMPT);
    let spec = &cluster.data["spec"];
    let now = Size::of(spec);
    let made = made_with(cluster);
    let size = made.as_ref().unwrap_or(&now);
    ObservedRayCluster {
        uid: cluster.uid().unwrap_or_default(),
        resource_version: cluster.resource_version().unwrap_or_default(),
        deleting: cluster.metadata.deletion_timestamp.is_some(),
        deleting_since: cluster.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        finalizers: cluster.finalizers().to_vec(),
        slot: labels.get(names::LABEL_SLOT).and_then(|slot| slot.parse().ok()),
        attempt: attempt.and_then(|attempt| attempt.parse().ok()).unwrap_or_default(),
        pod_revision: labels.get(names::LABEL_POD_REVISION).map(Into::into).unwrap_or_default(),
        pods: spec["headGroupSpec"].is_object().then(|| size.pods()).flatten(),
        elastic: size.autoscaling,
        suspended: suspended(cluster),
        // One whose spec cannot be read has changed in a way that nobody can tell.
        drift: made.as_ref().filter(|_| spec.is_object()).and_then(|made| made.drift(&now)),
        managed_by: spec["managedBy"].as_str().filter(|who| *who != KUBERAY).map(str::to_owned),
        replica_failure: replica_failure(cluster),
        warning,
        own_port: own_port(cluster),
        deletion_cost: deletion_cost(cluster),
        replace: cluster.annotations().get(names::ANNOTATION_REPLACE).is_some_and(|asked| asked == "true"),
    }
}

/// The patch of its spec that sets it back to the size that it was made with, where it has another one. `made`: its spec of then.
pub(super) fn repair(cluster: &DynamicObject, made: Option<&Value>) -> Option<Value> {
    let (size, spec) = (made_with(cluster)?, &cluster.data["spec"]);
    size.drift(&Size::of(spec)).map(|_| size.restored(spec, made))
}

/// The size that Rayfleet made it with; `None` for one of an earlier version.
fn made_with(cluster: &DynamicObject) -> Option<Size> {
    serde_json::from_str(cluster.annotations().get(names::ANNOTATION_SIZE)?).ok()
}

/// Whether it is suspended, or KubeRay is not through with that: it ends a suspension that has started even if that is taken back,
/// and leaves one only at `suspend: false`, not where the field is gone.
fn suspended(cluster: &DynamicObject) -> Option<String> {
    let (name, suspend) = (cluster.name_any(), &cluster.data["spec"]["suspend"]);
    let is = |kind: &str| condition(cluster, kind).is_some_and(|condition| condition["status"] == "True");
    let by_hand = format!(
        "resume it with `kubectl patch raycluster {name} --type merge -p '{{\"spec\":{{\"suspend\":false}}}}'`"
    );
    if *suspend == true {
        let who = cluster.labels().get(names::LABEL_KUEUE_QUEUE).map_or(by_hand, |queue| {
            format!("Kueue resumes it when queue {queue} has room for it: see `kubectl describe workloads`")
        });
        return Some(format!("RayCluster {name} is suspended (spec.suspend); {who}"));
    }
    if is("RayClusterSuspending") || (is("RayClusterSuspended") && *suspend == false) {
        return Some(format!("RayCluster {name} is being resumed: KubeRay ends the suspension first"));
    }
    is("RayClusterSuspended").then(|| {
        format!(
            "RayCluster {name} is suspended, and KubeRay resumes it at spec.suspend: false only; {by_hand}"
        )
    })
}

fn condition<'c>(cluster: &'c DynamicObject, kind: &str) -> Option<&'c Value> {
    let mut all = cluster.data["status"]["conditions"].as_array()?.iter();
    all.find(|condition| condition["type"] == kind)
}

/// Kubernetes' rule: a number, or 0.
fn deletion_cost(cluster: &DynamicObject) -> i32 {
    let cost = cluster.annotations().get(names::ANNOTATION_DELETION_COST);
    cost.and_then(|cost| cost.parse().ok()).unwrap_or_default()
}

/// Port of the engine that the cluster's pods start themselves: AIBrix's label on its head's pods, else on the cluster.
pub(crate) fn own_port(cluster: &DynamicObject) -> Option<u16> {
    let of_head = &cluster.data["spec"]["headGroupSpec"]["template"]["metadata"]["labels"];
    let of_cluster = || cluster.labels().get(names::LABEL_MODEL_PORT).map(String::as_str);
    of_head[names::LABEL_MODEL_PORT].as_str().or_else(of_cluster)?.parse().ok()
}

fn replica_failure(cluster: &DynamicObject) -> Option<String> {
    let failure = condition(cluster, "ReplicaFailure").filter(|condition| condition["status"] == "True")?;
    Some(bounded(failure["message"].as_str().unwrap_or("KubeRay could not create pods")))
}

/// Port of the head's dashboard: KubeRay hands `rayStartParams` on to `ray start`.
pub(crate) fn dashboard_port(spec: &Value) -> u16 {
    let port = &spec["headGroupSpec"]["rayStartParams"]["dashboard-port"];
    port.as_str().and_then(|port| port.trim().parse().ok()).filter(|port| *port > 0).unwrap_or(DASHBOARD)
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
                "labels": {"rayfleet.io/slot": "3", "rayfleet.io/pod-revision": "abc"},
                "annotations": {"rayfleet.io/attempt": "2"}
            },
            "spec": spec, "status": status
        }))
        .unwrap()
    }

    #[test]
    fn a_group_has_the_size_that_it_was_made_with() {
        let spec = json!({"headGroupSpec": {}, "workerGroupSpecs": [{"groupName": "w", "replicas": 2}]});
        let mut cluster = cluster("g", &spec, &Value::Null);
        assert_eq!((observed(&cluster, None).pods, observed(&cluster, None).drift), (Some(3), None));
        let made = serde_json::to_string(&Size::of(&spec)).unwrap();
        cluster.metadata.annotations.as_mut().unwrap().insert(names::ANNOTATION_SIZE.to_owned(), made);
        cluster.data["spec"]["workerGroupSpecs"][0]["replicas"] = json!(0);
        let resized = observed(&cluster, None);
        assert_eq!(resized.pods, Some(3), "not what somebody else made of it");
        assert_eq!(resized.drift.unwrap(), "worker group w: replicas 0 instead of 2");
        assert_eq!(observed(&self::cluster("g", &json!({}), &Value::Null), None).pods, None);
    }

    #[test]
    fn a_suspended_cluster_says_who_resumes_it() {
        let suspended = |spec: &Value, condition: &str, queue: Option<&str>| {
            let status = json!({"conditions": [{"type": condition, "status": "True"}]});
            let mut cluster = cluster("g", spec, &status);
            if let Some(queue) = queue {
                let labels = cluster.metadata.labels.as_mut().unwrap();
                labels.insert(names::LABEL_KUEUE_QUEUE.to_owned(), queue.to_owned());
            }
            observed(&cluster, None).suspended
        };
        let asked = json!({"suspend": true});
        let words = suspended(&asked, "HeadPodReady", None).unwrap();
        assert!(
            words.contains("RayCluster g is suspended (spec.suspend); resume it with `kubectl patch"),
            "{words}"
        );
        let words = suspended(&asked, "RayClusterSuspended", Some("gpus")).unwrap();
        assert!(words.contains("Kueue resumes it when queue gpus has room for it"), "{words}");
        for condition in ["RayClusterSuspending", "RayClusterSuspended"] {
            let words = suspended(&json!({"suspend": false}), condition, None).unwrap();
            assert!(words.contains("is being resumed"), "{words}");
        }
        let words = suspended(&json!({}), "RayClusterSuspended", None).unwrap();
        assert!(words.contains("at spec.suspend: false only; resume it with"), "{words}");
        assert_eq!(suspended(&json!({"suspend": false}), "HeadPodReady", None), None);
    }

    #[test]
    fn a_cluster_of_another_manager_is_distinguished() {
        let by =
            |who: &Value| observed(&cluster("g", &json!({"managedBy": who}), &Value::Null), None).managed_by;
        assert_eq!(by(&json!("kueue.x-k8s.io/multikueue")).as_deref(), Some("kueue.x-k8s.io/multikueue"));
        assert_eq!((by(&json!(KUBERAY)), by(&Value::Null)), (None, None));
    }

    #[test]
    fn fields_written_at_its_creation_are_read_back() {
        let observed = observed(&cluster("g", &json!({}), &Value::Null), Some("w".into()));
        assert_eq!((observed.slot, observed.attempt, &*observed.pod_revision), (Some(3), 2, "abc"));
        assert_eq!((&*observed.uid, &*observed.resource_version), ("u", "5"));
        assert_eq!((observed.replica_failure, observed.warning.as_deref()), (None, Some("w")));
    }

    #[test]
    fn labels_that_somebody_broke_are_survived() {
        let mut broken = cluster("g", &json!({}), &Value::Null);
        broken.labels_mut().insert("rayfleet.io/slot".into(), "-1".into());
        broken.annotations_mut().clear();
        let observed = observed(&broken, None);
        assert_eq!((observed.slot, observed.attempt), (None, 0));
    }

    #[test]
    fn the_cost_of_a_deletion_is_a_number_or_nothing() {
        let cost = |text: &str| {
            let mut cluster = cluster("g", &json!({}), &Value::Null);
            cluster
                .annotations_mut()
                .insert("controller.kubernetes.io/pod-deletion-cost".into(), text.into());
            observed(&cluster, None).deletion_cost
        };
        assert_eq!((cost("-5"), cost("7"), cost("much"), cost("")), (-5, 7, 0, 0));
    }

    #[test]
    fn only_true_asks_for_another_group() {
        let asked = |text: &str| {
            let mut cluster = cluster("g", &json!({}), &Value::Null);
            cluster.annotations_mut().insert(names::ANNOTATION_REPLACE.into(), text.into());
            observed(&cluster, None).replace
        };
        assert!(asked("true"));
        assert!(!asked("") && !asked("false"));
        assert!(!observed(&cluster("g", &json!({}), &Value::Null), None).replace);
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
    fn the_dashboard_is_asked_where_the_cluster_has_it() {
        let port = |params: &Value| {
            let spec = json!({"headGroupSpec": {"rayStartParams": params}});
            dashboard_port(&spec)
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
}
