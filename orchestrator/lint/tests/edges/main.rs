//! Where a rule stops, what a migration keeps, how a manifest is read: all against a fleet with nothing to find and a set like it. Here are
//! those two alone.

#![allow(clippy::unwrap_used, reason = "how a test's helper fails")]

mod migrations;
mod pods;
mod reading;
mod rules;

use rayfleet_lint::migrate::Options;
use rayfleet_lint::{Finding, lint, migrate};
use serde_json::{Value, json};

/// A fleet of two groups of two pods with a GPU each, without anything to find.
fn fleet() -> Value {
    let pod = json!({
        "metadata": {"labels": {"app": "f", "model.aibrix.ai/port": "8000"}},
        "spec": {"terminationGracePeriodSeconds": 60, "containers": [{
            "name": "ray", "image": "r.example.com/v:1", "ports": [{"name": "http", "containerPort": 8000}],
            "resources": {"limits": {"nvidia.com/gpu": "1"}},
        }]},
    });
    let mut head = pod.clone();
    let container = &mut head["spec"]["containers"][0];
    container["command"] =
        json!(["bash", "-c", "eval \"$KUBERAY_GEN_RAY_START_CMD\" & exec vllm serve /m -tp 1 -pp 2"]);
    container["startupProbe"] =
        json!({"httpGet": {"path": "/health", "port": "http"}, "failureThreshold": 300});
    json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet",
        "metadata": {"name": "f"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "f"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": {"app": "f"}, "annotations": {"ray.io/overwrite-container-cmd": "true"}},
                "spec": {
                    "headGroupSpec": {"rayStartParams": {}, "template": head},
                    "workerGroupSpecs": [{"groupName": "w", "replicas": 1, "minReplicas": 1, "maxReplicas": 1,
                                          "rayStartParams": {}, "template": pod}],
                },
            },
        },
    })
}

fn service(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec})
}

fn found(objects: &[Value]) -> Vec<Finding> {
    lint(json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string().as_bytes()).unwrap()
}

fn ids(objects: &[Value]) -> Vec<&'static str> {
    found(objects).iter().map(|finding| finding.rule.id()).collect()
}

fn with(path: &str, value: Value) -> Value {
    let mut fleet = fleet();
    let (holder, field) = path.rsplit_once('/').unwrap();
    fleet.pointer_mut(holder).unwrap()[field] = value;
    fleet
}

const HEAD: &str = "/spec/template/spec/headGroupSpec/template/spec";

/// A set of two pods whose leader starts Ray and vLLM, with its metadata and what else its template has.
fn set(metadata: &Value, further: &Value) -> Value {
    let pod = |line: &str| {
        json!({"spec": {"containers": [{
            "name": "v", "image": "v:1", "command": ["sh", "-c", line],
            "resources": {"limits": {"nvidia.com/gpu": 1}},
            "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
        }], "volumes": [{"name": "cache", "emptyDir": {}}]}})
    };
    let mut template = json!({
        "size": 2,
        "leaderTemplate": pod("x/multi-node-serving.sh leader --ray_cluster_size=2; vllm serve /m -pp 2"),
        "workerTemplate": pod("x/multi-node-serving.sh worker --ray_address=$(LWS_LEADER_ADDRESS)"),
    });
    for (field, value) in further.as_object().unwrap() {
        template[field] = value.clone();
    }
    json!({"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": metadata,
           "spec": {"replicas": 2, "leaderWorkerTemplate": template}})
}

fn migrated(object: &Value) -> (Value, Vec<Finding>) {
    let mut new = migrate(object.to_string().as_bytes(), Options::default()).unwrap();
    (new.objects.remove(0).value, new.findings)
}
