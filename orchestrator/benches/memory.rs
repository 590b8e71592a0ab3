//! Memory of one replica in a large cluster: `cargo bench -p rayfleet-orchestrator --bench memory`. The whole orchestrator runs against
//! an API server that has nothing but other people's pods and nodes; what is printed is what the kernel says that the process holds.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints figures, on data of its own"
)]

use std::convert::Infallible;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use kube::client::Body;
use ray_bridge::{Bridge, Limits};
use rayfleet_orchestrator::Orchestrator;
use serde_json::{Value, json};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Objects in each case.
const MANY: usize = 10_000;
/// Tells a child process what to do.
const CASE: &str = "RAYFLEET_MEMORY_CASE";

fn main() {
    if let Ok(case) = std::env::var(CASE) {
        return measure(&case);
    }
    println!(
        "resident memory of one replica, in MiB; pods of {} and nodes of {} bytes of JSON",
        size(&pod(1)),
        size(&node(1))
    );
    for case in ["empty", "pods", "sets", "nodes", "typed-pods", "typed-nodes"] {
        let child = Command::new(std::env::current_exe().unwrap()).env(CASE, case).output().unwrap();
        print!("{}", String::from_utf8_lossy(&child.stdout));
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    }
}

fn size(object: &Value) -> usize {
    object.to_string().len()
}

fn measure(case: &str) {
    match case {
        "typed-pods" => typed::<Pod>(pod, "the same pods as k8s-openapi's types"),
        "typed-nodes" => typed::<Node>(node, "the same nodes as k8s-openapi's types"),
        "pods" => watched(&format!("{MANY} foreign pods"), "/api/v1/pods", pod),
        "sets" => watched(&format!("{MANY} foreign pods, none alike"), "/api/v1/pods", member_of_a_set),
        "nodes" => watched(&format!("{MANY} nodes"), "/api/v1/nodes", node),
        _ => watched("an empty cluster", "/none", pod),
    }
}

/// What keeping the objects whole would cost.
fn typed<K: serde::de::DeserializeOwned>(make: fn(usize) -> Value, name: &str) {
    let before = resident("VmRSS");
    let kept: Vec<K> =
        (0..MANY).map(|number| serde_json::from_str(&make(number).to_string()).unwrap()).collect();
    println!("{name:<38} {:>6.1} more", mib(resident("VmRSS") - before));
    drop(kept);
}

/// Runs the orchestrator until it has listed everything, and then once more.
fn watched(name: &str, path: &'static str, make: fn(usize) -> Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server =
            Arc::new(Server { path, make, watches: AtomicUsize::new(0), round: AtomicUsize::new(0) });
        let orchestrator = Orchestrator {
            client: server.clone().client(),
            bridge: Bridge::new(Limits::default()).unwrap(),
            identity: "a".into(),
            namespaces: rayfleet_orchestrator::Namespaces::default(),
            lease_namespace: "n".into(),
            leader_elect: false,
            engine_watch: false,
        };
        let seen = async {
            server.watched().await;
            let (listed, peak) = (resident("VmRSS"), resident("VmHWM"));
            fs::write("/proc/self/clear_refs", "5").unwrap();
            server.watches.store(0, Ordering::Relaxed);
            server.round.fetch_add(1, Ordering::Relaxed);
            server.watched().await;
            println!(
                "{name:<38} {:>6.1}  at most {:>6.1} while listed, {:>6.1} while listed again",
                mib(listed),
                mib(peak),
                mib(resident("VmHWM"))
            );
        };
        orchestrator.run(None, seen).await.unwrap();
    });
}

/// An API server with many objects of one kind.
struct Server {
    path: &'static str,
    make: fn(usize) -> Value,
    /// Watches that were asked for in this round.
    watches: AtomicUsize,
    /// Rises when all watches are to end, since what they would go on from is too old.
    round: AtomicUsize,
}

impl Server {
    fn client(self: Arc<Self>) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.answer(&request.uri().to_string()).await) }
        });
        Client::new(service, "n")
    }

    /// Waits until all kinds are watched: they were listed before.
    async fn watched(&self) {
        while self.watches.load(Ordering::Relaxed) < 9 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn answer(&self, uri: &str) -> Response<Body> {
        let query = |name: &str| {
            let found = uri.split(['?', '&']).find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|value| value.parse::<usize>().ok())
        };
        let reply = |text: String| Response::new(Body::from(text.into_bytes()));
        if uri.contains("watch=true") {
            self.watches.fetch_add(1, Ordering::Relaxed);
            let round = self.round.load(Ordering::Relaxed);
            while self.round.load(Ordering::Relaxed) == round {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let expired =
                json!({"type": "ERROR", "object": {"status": "Failure", "code": 410, "message": "old"}});
            return reply(format!("{expired}\n"));
        }
        let (from, limit) = (query("continue").unwrap_or_default(), query("limit").unwrap_or(MANY));
        let count = if uri.starts_with(self.path) { MANY } else { 0 };
        let until = (from + limit).min(count);
        let items: Vec<String> = (from..until).map(|number| (self.make)(number).to_string()).collect();
        let token = if until < count { until.to_string() } else { String::new() };
        let metadata = json!({"resourceVersion": "7", "continue": token});
        reply(format!("{{\"metadata\":{metadata},\"items\":[{}]}}", items.join(",")))
    }
}

fn resident(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn managed_fields(paths: usize) -> Value {
    let fields: serde_json::Map<String, Value> =
        (0..paths).map(|path| (format!("f:some-field-of-the-object-{path}"), json!({}))).collect();
    json!([{
        "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "time": "2026-11-29T09:00:00Z", "fieldsV1": {"f:metadata": {"f:labels": fields}, "f:spec": {"f:containers": {}}}
    }])
}

/// A pod as there are many: two containers with an environment, requests, volumes, conditions.
fn pod(number: usize) -> Value {
    let env: Vec<Value> = (0..20)
        .map(|n| json!({"name": format!("SOME_VARIABLE_{n}"), "value": format!("value-{number}-{n}")}))
        .collect();
    let container = |name: &str| {
        json!({
            "name": name, "image": format!("registry.example.com/team/{name}:v1.2.3"), "imagePullPolicy": "IfNotPresent", "env": env,
            "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
            "volumeMounts": [{"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}]
        })
    };
    let status = |name: &str| {
        json!({
            "name": name, "ready": true, "restartCount": 0, "image": format!("registry.example.com/team/{name}:v1.2.3"),
            "imageID": format!("registry.example.com/team/{name}@sha256:{:064}", number), "state": {"running": {"startedAt": "2026-11-29T09:00:00Z"}}
        })
    };
    let condition = |name: &str| json!({"type": name, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-11-29T09:00:00Z"});
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    json!({
        "metadata": {
            "name": format!("some-deployment-5d4f8c7b9d-{number:05}"), "generateName": "some-deployment-5d4f8c7b9d-",
            "namespace": format!("team-{}", number % 50), "uid": format!("00000000-0000-4000-8000-{number:012}"),
            "resourceVersion": number.to_string(), "creationTimestamp": "2026-11-29T09:00:00Z",
            "labels": {"app.kubernetes.io/name": "some", "app.kubernetes.io/instance": "some", "pod-template-hash": "5d4f8c7b9d"},
            "annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-29T09:00:00Z", "prometheus.io/scrape": "true"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "some-deployment-5d4f8c7b9d", "uid": "u", "controller": true}],
            "managedFields": managed_fields(40)
        },
        "spec": {
            "nodeName": format!("ip-10-0-{}-{}.internal", number / 250, number % 250), "serviceAccountName": "default",
            "containers": [container("server"), container("proxy")],
            "volumes": [{"name": "kube-api-access", "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]}}],
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            ]
        },
        "status": {
            "phase": "Running", "podIP": "10.1.2.3", "hostIP": "10.0.0.1", "startTime": "2026-11-29T09:00:00Z",
            "conditions": conditions,
            "containerStatuses": [status("server"), status("proxy")]
        }
    })
}

/// One of a `StatefulSet`, whose pods keep off each other: no other has its labels.
fn member_of_a_set(number: usize) -> Value {
    let mut pod = pod(number);
    let app = format!("some-database-{}", number / 10);
    pod["metadata"]["labels"]["app.kubernetes.io/instance"] = json!(app);
    pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = json!(format!("{app}-{number}"));
    pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!([{
        "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app.kubernetes.io/instance": app}}
    }]);
    pod
}

/// A node as clouds make them: 40 labels, the images that it has, conditions.
fn node(number: usize) -> Value {
    let labels: serde_json::Map<String, Value> = (0..40)
        .map(|n| (format!("feature.node.kubernetes.io/some-feature-{n}"), json!(format!("value-{n}"))))
        .collect();
    let images: Vec<Value> = (0..50)
        .map(|n| json!({"names": [format!("registry.example.com/team/image-{n}@sha256:{n:064}")], "sizeBytes": 1_000_000}))
        .collect();
    let condition = |name: &str, status: &str| {
        json!({
            "type": name, "status": status, "reason": "KubeletHasSufficientMemory", "message": "kubelet has sufficient memory available",
            "lastHeartbeatTime": "2026-11-29T09:00:00Z", "lastTransitionTime": "2026-11-29T09:00:00Z"
        })
    };
    let resources = json!({
        "cpu": "191450m", "memory": "2096Gi", "ephemeral-storage": "500Gi", "pods": "250", "nvidia.com/gpu": "8", "hugepages-2Mi": "0"
    });
    json!({
        "metadata": {
            "name": format!("ip-10-0-{}-{}.internal", number / 250, number % 250), "uid": format!("00000000-0000-4000-9000-{number:012}"),
            "resourceVersion": number.to_string(), "creationTimestamp": "2026-11-29T09:00:00Z", "labels": labels,
            "managedFields": managed_fields(80)
        },
        "spec": {"taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]},
        "status": {
            "capacity": resources, "allocatable": resources, "images": images,
            "conditions": [condition("MemoryPressure", "False"), condition("DiskPressure", "False"), condition("Ready", "True")]
        }
    })
}
