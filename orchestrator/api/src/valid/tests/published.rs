//! The fleets that AIBrix has published with its releases up to 0.7, file by file, by the fields that they use: all are taken, and asked for
//! their engine where AIBrix's gateway would ask.

use serde_json::{Value, json};

use crate::valid::ValidFleet;

/// What one of them says.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
struct Published {
    file: &'static str,
    /// Key of the label that selector and template have.
    label: &'static str,
    /// `model.aibrix.ai/port` on the fleet, its template, its head and its workers.
    port: bool,
    /// The head's pods have labels of their own.
    labelled_head: bool,
    /// The head's container has a command; without one it starts Ray alone.
    serves: bool,
    /// The head has AIBrix's runtime as a second container.
    sidecar: bool,
    /// `block: "false"` among the head's start parameters.
    unblocked: bool,
    limits: Value,
    /// Replicas, fewest and most, of the one worker group.
    workers: Option<[u32; 3]>,
    /// Where the engine is asked for.
    expected: Option<u16>,
}

fn published() -> Vec<Published> {
    let sample = |file, label| Published {
        file,
        label,
        port: false,
        labelled_head: false,
        serves: false,
        sidecar: false,
        unblocked: false,
        limits: json!({"cpu": "1000m"}),
        workers: None,
        expected: None,
    };
    let two_gpus = |file, label| Published {
        serves: true,
        limits: json!({"cpu": "8000m", "nvidia.com/gpu": 2}),
        expected: Some(8000),
        ..sample(file, label)
    };
    let model = "model.aibrix.ai/name";
    let opt = |file| Published {
        labelled_head: true,
        unblocked: true,
        limits: json!({"cpu": "1000m"}),
        workers: Some([2, 1, 5]),
        ..two_gpus(file, model)
    };
    let two_nodes = |file| Published {
        limits: json!({"cpu": "4", "nvidia.com/gpu": 1}),
        workers: Some([1, 1, 5]),
        ..two_gpus(file, model)
    };
    let with_runtime = |file| Published { labelled_head: true, sidecar: true, ..two_nodes(file) };
    let deepseek = |file| Published {
        port: true,
        labelled_head: true,
        unblocked: true,
        limits: json!({"nvidia.com/gpu": 8, "vke.volcengine.com/rdma": "8"}),
        workers: Some([1, 1, 1]),
        ..two_gpus(file, model)
    };
    vec![
        sample("config/samples, since 0.1.0", model),
        sample("config/samples, 0.1.0 candidates", "models.aibricks.ai"),
        opt("tutorials/distributed/fleet-mock"),
        opt("tutorials/distributed/fleet"),
        two_gpus("docs/multi-node-inference", model),
        two_gpus("docs/multi-node-inference, 0.1.0 candidates", "models.aibricks.ai"),
        two_gpus("samples/distributed/fleet", model),
        two_nodes("samples/distributed/fleet-two-node, 0.2"),
        with_runtime("samples/distributed/fleet-two-node, 0.3.0 candidates"),
        with_runtime("samples/distributed/fleet-two-node, 0.3.0"),
        with_runtime("samples/distributed/fleet-two-node"),
        deepseek("samples/deepseek-r1/ai-runtime, 0.3.0 candidates"),
        deepseek("samples/deepseek-r1/ai-runtime"),
        deepseek("samples/deepseek-r1/huggingface"),
        deepseek("samples/deepseek-r1/local-nvme"),
        deepseek("samples/deepseek-r1/pvc"),
        Published { limits: json!({"nvidia.com/gpu": 8}), ..deepseek("samples/deepseek-r1/tcp") },
        deepseek("samples/volcano-engine/deepseek-r1, 0.3.0 candidates"),
        deepseek("samples/volcano-engine/deepseek-r1"),
    ]
}

fn manifest(of: &Published) -> Value {
    let mut labels = json!({(of.label): "m"});
    if of.port {
        labels["model.aibrix.ai/port"] = json!("8000");
    }
    let pods = if of.labelled_head { labels.clone() } else { Value::Null };
    let mut head = json!({
        "name": "ray-head", "image": "i", "resources": {"limits": of.limits, "requests": of.limits},
        "ports": [
            {"containerPort": 6379, "name": "gcs-server"}, {"containerPort": 8265, "name": "dashboard"},
            {"containerPort": 10001, "name": "client"},
        ],
    });
    if of.serves {
        head["command"] = json!(["/bin/bash", "-lc", "--"]);
        head["args"] = json!(["ulimit -n 65536; echo head; $KUBERAY_GEN_RAY_START_CMD; vllm serve m"]);
    }
    let mut containers = vec![head];
    if of.sidecar {
        containers.push(json!({"name": "aibrix-runtime", "image": "r", "command": ["aibrix_runtime"]}));
    }
    let mut start = json!({"dashboard-host": "0.0.0.0"});
    if of.unblocked {
        start["block"] = json!("false");
    }
    let workers = of.workers.map(|[replicas, fewest, most]| {
        json!([{
            "groupName": "w", "replicas": replicas, "minReplicas": fewest, "maxReplicas": most, "rayStartParams": {},
            "template": {
                "metadata": {"labels": pods},
                "spec": {"containers": [{"name": "ray-worker", "image": "i", "resources": {"limits": of.limits}}]}
            }
        }])
    });
    json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet",
        "metadata": {"name": "deepseek-r1-671b", "labels": labels},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {(of.label): "m"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": labels, "annotations": {"ray.io/overwrite-container-cmd": "true"}},
                "spec": {
                    "rayVersion": "2.10.0",
                    "headGroupSpec": {"rayStartParams": start, "template": {
                        "metadata": {"labels": pods}, "spec": {"containers": containers}
                    }},
                    "workerGroupSpecs": workers
                }
            }
        }
    })
}

#[test]
fn every_published_fleet_of_aibrix_is_taken() {
    for published in published() {
        let fleet = serde_json::from_value(manifest(&published)).unwrap();
        let valid =
            ValidFleet::new(&fleet).map_err(|problems| format!("{}: {problems:?}", published.file)).unwrap();
        assert_eq!(valid.own_engine_port, published.expected, "{}", published.file);
        assert_eq!((valid.strategy.max_surge, valid.strategy.max_unavailable), (1, 0), "{}", published.file);
    }
}
