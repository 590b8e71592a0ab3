//! Fleets for tests: one during an upgrade, and builders for unusual ones.

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::view::Fleet;

/// The present time in tests of the samples.
pub(crate) fn now() -> Timestamp {
    "2026-03-01T12:10:00Z".parse().unwrap()
}

/// A fleet `serving/llama` with this spec and status.
pub(crate) fn object(spec: &Value, status: &Value) -> DynamicObject {
    let mut object = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1",
        "kind": "RayClusterFleet",
        "metadata": {
            "name": "llama",
            "namespace": "serving",
            "uid": "fleet-uid",
            "generation": 4,
            "resourceVersion": "100",
            "creationTimestamp": "2026-03-01T10:00:00Z"
        },
        "spec": spec
    });
    if !status.is_null() {
        object["status"] = status.clone();
    }
    serde_json::from_value(object).unwrap()
}

/// A spec that the API accepts: a head and a worker of one GPU each.
pub(crate) fn spec(image: &str, args: &[&str]) -> Value {
    json!({
        "replicas": 2,
        "selector": {"matchLabels": {"app": "llama"}},
        "template": template(image),
        "model": model(args)
    })
}

pub(crate) fn template(image: &str) -> Value {
    let pod = json!({"spec": {"containers": [
        {"name": "ray", "image": image, "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    ]}});
    json!({
        "metadata": {"labels": {"app": "llama"}},
        "spec": {
            "headGroupSpec": {"template": pod},
            "workerGroupSpecs": [{"groupName": "workers", "replicas": 1, "template": pod}]
        }
    })
}

pub(crate) fn model(args: &[&str]) -> Value {
    json!({
        "name": "llama-3.1-405b",
        "source": "/models/llama",
        "engine": {"args": args},
        "parallelism": {"tensor": 1, "pipeline": 2}
    })
}

/// A fleet during an engine-only upgrade.
pub(crate) fn upgrading() -> DynamicObject {
    let status = json!({
        "observedGeneration": 4,
        "replicas": 2,
        "updatedReplicas": 1,
        "readyReplicas": 1,
        "availableReplicas": 1,
        "unavailableReplicas": 1,
        "conditions": [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": ""},
            {"type": "Progressing", "status": "True", "reason": "RollingUpdate", "message": ""}
        ],
        "groups": [
            {
                "name": "llama-bcdfgh-0", "slot": 0, "revision": "bcdfgh", "engineRevision": "zxwvtr",
                "phase": "Ready", "phaseSince": "2026-03-01T12:05:00Z", "goal": "Serve",
                "head": "llama-bcdfgh-0-head-x2b4f", "nodes": ["node-a", "node-b"], "ranks": "2/2",
                "placement": [
                    {"rank": 1, "tensor": 0, "stage": 1, "node": "node-b"},
                    {"rank": 0, "tensor": 0, "stage": 0, "node": "node-a"}
                ],
                "inFlight": 7, "restarts": 0
            },
            {
                "name": "llama-bcdfgh-1", "slot": 1, "revision": "bcdfgh", "engineRevision": "kmnpqr",
                "phase": "Draining", "phaseSince": "2026-03-01T12:09:18Z", "goal": "SwapEngine",
                "goalReason": "engine revision zxwvtr", "head": "llama-bcdfgh-1-head-9wz8k",
                "nodes": ["node-c", "node-d"], "ranks": "2/2",
                "placement": [
                    {"rank": 0, "tensor": 0, "stage": 0, "node": "node-c"},
                    {"rank": 1, "tensor": 0, "stage": 1, "node": "node-d"}
                ],
                "inFlight": 3, "restarts": 1, "message": "waiting for 3 requests, 9m18s left"
            }
        ],
        "rollout": {
            "step": "Swap engine of llama-bcdfgh-1", "reason": "draining 3 requests",
            "from": "bcdfgh/kmnpqr", "to": "bcdfgh/zxwvtr", "revisionNumber": 7,
            "lastProgress": "2026-03-01T12:09:18Z", "lostRequests": 0
        }
    });
    object(&spec("ray:1", &["--max-model-len", "8192"]), &status)
}

/// The same, parsed.
pub(crate) fn upgrading_fleet() -> Fleet {
    Fleet::read(&upgrading())
}

/// A fleet with a complete rollout.
pub(crate) fn complete_fleet() -> Fleet {
    let mut fleet = upgrading_fleet();
    (fleet.updated, fleet.ready, fleet.available) = (2, 2, 2);
    fleet.rollout = fleet.rollout.map(|rollout| crate::view::Rollout {
        step: "Complete".to_owned(),
        reason: None,
        from: None,
        ..rollout
    });
    for group in &mut fleet.groups {
        group.phase = "Ready".to_owned();
        group.goal = "Serve".to_owned();
        group.revision = "bcdfgh/zxwvtr".into();
        group.message = None;
    }
    fleet
}
