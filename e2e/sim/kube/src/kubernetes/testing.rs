//! A bench for tests: an API server with some of the simulators on it, in paused time.

use std::sync::Arc;
use std::time::Duration;

use rayfleet_sim_ray::RayWorld;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::drive::{Simulator, drive};
use super::object::{condition, items, label, name};
use super::options::Options;
use super::switches::Switches;
use crate::api::{ApiServer, Kind};

/// The API server and what runs on it.
pub(super) struct Bench {
    pub(super) api: ApiServer,
    pub(super) ray: RayWorld,
    pub(super) switches: Switches,
    pub(super) options: Arc<Options>,
    tasks: JoinSet<()>,
}

impl Bench {
    pub(super) fn new(options: Options) -> Self {
        let (api, ray) = (server(), RayWorld::new(1));
        let (switches, options) = (Switches::default(), Arc::new(options));
        Self { api, ray, switches, options, tasks: JoinSet::new() }
    }

    /// Sets a simulator going.
    pub(super) fn run(&mut self, simulator: impl Simulator + 'static) {
        self.tasks.spawn(drive(Box::new(simulator), self.api.clone(), self.switches.clone()));
    }

    /// Sets something else going.
    pub(super) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// Lets time pass.
    pub(super) async fn wait(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    pub(super) fn create(&self, kind: &Kind, object: Value) -> Arc<Value> {
        self.api.create(kind, object).unwrap()
    }

    /// Names of all pods.
    pub(super) fn pods(&self) -> Vec<String> {
        self.api.list(&Kind::POD).iter().map(|pod| name(pod).to_owned()).collect()
    }

    pub(super) fn pod(&self, name: &str) -> Arc<Value> {
        self.api.get(&Kind::POD, "n", name).unwrap()
    }

    /// The only head pod.
    pub(super) fn head(&self) -> Arc<Value> {
        let pods = self.api.list(&Kind::POD);
        let mut heads = pods.into_iter().filter(|pod| label(pod, "ray.io/node-type") == Some("head"));
        let head = heads.next().unwrap();
        assert!(heads.next().is_none());
        head
    }

    /// The only worker pod.
    pub(super) fn worker(&self) -> Arc<Value> {
        let pods = self.api.list(&Kind::POD);
        let mut workers = pods.into_iter().filter(|pod| label(pod, "ray.io/node-type") == Some("worker"));
        let worker = workers.next().unwrap();
        assert!(workers.next().is_none());
        worker
    }

    pub(super) fn cluster(&self, name: &str) -> Arc<Value> {
        self.api.get(&Kind::RAY_CLUSTER, "n", name).unwrap()
    }

    /// Writes a status by hand, as a kubelet that is not there would.
    pub(super) fn set_status(&self, pod: &str, phase: &str, ready: &str) {
        let status = json!({"status": {
            "phase": phase, "podIP": "10.99.1.2", "podIPs": [{"ip": "10.99.1.2"}],
            "conditions": [{"type": "Ready", "status": ready}],
        }});
        self.api.merge_patch_status(&Kind::POD, "n", pod, &status).unwrap();
    }

    /// Binds a pod to a node by hand.
    pub(super) fn bind(&self, pod: &str, node: &str) {
        self.api.merge_patch(&Kind::POD, "n", pod, &json!({"spec": {"nodeName": node}})).unwrap();
    }
}

/// An API server with the namespace of the tests.
pub(super) fn server() -> ApiServer {
    let api = ApiServer::new();
    api.create(&Kind::NAMESPACE, json!({"metadata": {"name": "n"}})).unwrap();
    api
}

/// Status of a condition; empty where there is none.
pub(super) fn status_of(object: &Value, kind: &str) -> String {
    condition(object, kind).map_or_else(String::new, |condition| text(&condition["status"]))
}

/// Reason of a condition.
pub(super) fn reason_of(object: &Value, kind: &str) -> String {
    condition(object, kind).map_or_else(String::new, |condition| text(&condition["reason"]))
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Reason of the first container that waits, init containers first.
pub(super) fn waits_for(pod: &Value) -> String {
    let init = items(&pod["status"]["initContainerStatuses"]).iter();
    let mut all = init.chain(items(&pod["status"]["containerStatuses"]));
    let waiting = all.find(|container| {
        container["state"]["waiting"]["reason"] != "PodInitializing"
            && container["state"]["waiting"].is_object()
    });
    waiting.map_or_else(String::new, |container| text(&container["state"]["waiting"]["reason"]))
}

/// A RayCluster with a head and one worker, a GPU each.
pub(super) fn ray_cluster(name: &str) -> Value {
    let pod = |gate: bool| {
        let gates = if gate { json!([{"conditionType": "rayfleet.io/serving"}]) } else { json!([]) };
        json!({"spec": {
            "readinessGates": gates,
            "terminationGracePeriodSeconds": 10,
            "containers": [{
                "name": "ray", "image": "rayfleet.local/ray:2.60.0",
                "resources": {"limits": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"}},
            }],
        }})
    };
    json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": name, "namespace": "n"},
        "spec": {
            "rayVersion": "2.60.0", "authOptions": {"mode": "token"},
            "headGroupSpec": {"rayStartParams": {}, "template": pod(true)},
            "workerGroupSpecs": [{
                "groupName": "w", "replicas": 1, "minReplicas": 1, "maxReplicas": 1, "numOfHosts": 1,
                "rayStartParams": {}, "template": pod(false),
            }],
        },
    })
}

/// A pod of a Ray cluster `g` without KubeRay, bound to a node.
pub(super) fn ray_pod(pod_name: &str, kind: &str, node: &str) -> Value {
    let env = json!([{"name": "KUBERAY_GEN_RAY_START_CMD", "value": "ray start --block --num-gpus=1"}]);
    let init =
        if kind == "worker" { json!([{"name": "wait-gcs-ready", "image": "ray:1"}]) } else { json!([]) };
    json!({
        "metadata": {
            "name": pod_name, "namespace": "n",
            "labels": {"ray.io/cluster": "g", "ray.io/node-type": kind},
        },
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 10, "initContainers": init,
            "containers": [{"name": "ray", "image": "ray:1", "env": env}],
        },
    })
}
