//! A fleet for unit tests.

use rayfleet_api::{RayClusterFleet, ValidFleet};
use serde_json::{Value, json};

use crate::kubernetes::Watched;

/// An object as it is read from the API server.
pub(crate) fn object<T: Watched>(object: &Value) -> T {
    T::read(&object.to_string()).unwrap().unwrap()
}

/// What makes a fleet the owner of an object.
pub(crate) fn owner(fleet: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet", "name": fleet, "uid": uid,
        "controller": true
    })
}

/// A head and one worker with a GPU each, and a model over both.
pub(crate) fn raw_fleet() -> RayClusterFleet {
    let pod = |app: &str| {
        json!({
            "metadata": {"labels": {"app": app}},
            "spec": {"containers": [{
                "name": "ray", "image": "ray", "resources": {"limits": {"nvidia.com/gpu": "1"}}
            }]}
        })
    };
    let fleet = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1",
        "kind": "RayClusterFleet",
        "metadata": {"name": "f", "namespace": "n", "uid": "u-1", "generation": 3, "resourceVersion": "7",
            "finalizers": ["rayfleet.io/drain"]},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "f"}},
            "template": {
                "metadata": {"labels": {"app": "f"}},
                "spec": {
                    "rayVersion": "2.60.0",
                    "headGroupSpec": {"template": pod("head")},
                    "workerGroupSpecs": [{"groupName": "w", "replicas": 1, "template": pod("worker")}]
                }
            },
            "model": {"name": "m", "source": "/m", "parallelism": {"tensor": 1, "pipeline": 2}}
        }
    });
    serde_json::from_value(fleet).unwrap()
}

/// The same, validated.
pub(crate) fn fleet() -> ValidFleet {
    ValidFleet::new(&raw_fleet()).unwrap()
}
