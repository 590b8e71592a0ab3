//! The sequences, and the objects that they use.

mod crd;
mod deletes;
mod fleets;
mod kinds;
mod pods;
mod reads;
mod writes;

use serde_json::{Value, json};

use crate::step::Sequence;

pub(crate) fn all() -> Vec<Sequence> {
    [writes::all(), reads::all(), deletes::all(), pods::all(), kinds::all(), fleets::all(), crd::all()]
        .into_iter()
        .flatten()
        .collect()
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15},
    })
}

/// A pod that no scheduler will ever bind.
fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "schedulerName": "nobody", "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "registry.invalid/c:1"}],
        },
    })
}

/// `object` merged with `change`.
fn with(mut object: Value, change: &Value) -> Value {
    json_patch::merge(&mut object, change);
    object
}
