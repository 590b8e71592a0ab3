//! All simulators together: what becomes of a RayCluster with nothing but Kubernetes around it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use ray_bridge::engine::{EngineKind, EngineSpec};
use ray_bridge::observe::ObserveOptions;
use ray_bridge::placement::{Policy, Shape, plan};
use ray_bridge::{Bridge, Limits, SubmissionId, Target, Token};
use rayfleet_sim_ray::RayWorld;
use serde::Deserialize;
use serde_json::{Value, json};

use super::object::{is_deleting, label, name};
use super::testing::{ray_cluster, server, status_of, text};
use super::{Kubernetes, Options};
use crate::api::{ApiServer, Kind};

struct Whole {
    api: ApiServer,
    ray: RayWorld,
    kubernetes: Kubernetes,
}

impl Whole {
    fn start(options: Options) -> Self {
        let (api, ray) = (server(), RayWorld::new(5));
        let kubernetes = Kubernetes::start(api.clone(), ray.clone(), options, 5);
        Self { api, ray, kubernetes }
    }

    async fn wait(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    fn pods(&self) -> Vec<Arc<Value>> {
        self.api.list(&Kind::POD)
    }

    fn of_kind(&self, kind: &str) -> Arc<Value> {
        self.pods().into_iter().find(|pod| label(pod, "ray.io/node-type") == Some(kind)).unwrap()
    }

    fn cluster(&self) -> Arc<Value> {
        self.api.get(&Kind::RAY_CLUSTER, "n", "g").unwrap()
    }

    /// Waits until all pods of a whole cluster are ready except for the gate.
    async fn up(&self) {
        for _ in 0..240 {
            let pods = self.pods();
            let ready = |pod: &Arc<Value>| status_of(pod, "ContainersReady") == "True" && !is_deleting(pod);
            if pods.len() == 2 && pods.iter().all(ready) {
                return;
            }
            self.wait(0.5).await;
        }
        panic!("{:?}", self.pods().iter().map(|pod| pod["status"].clone()).collect::<Vec<_>>());
    }

    fn set_gate(&self, open: bool) {
        let head = self.of_kind("head");
        let mut conditions = head["status"]["conditions"].as_array().unwrap().clone();
        conditions.retain(|condition| condition["type"] != "rayfleet.io/serving");
        let status = if open { "True" } else { "False" };
        conditions.push(json!({"type": "rayfleet.io/serving", "status": status}));
        let patch = json!({"status": {"conditions": conditions}});
        self.api.merge_patch_status(&Kind::POD, "n", name(&head), &patch).unwrap();
    }

    fn leads_to(&self) -> Vec<String> {
        self.kubernetes.service_addresses("n", "front").into_iter().map(|(ip, _)| ip).collect()
    }
}

async fn with_cluster() -> Whole {
    let whole = Whole::start(Options::default());
    let selector = json!({"ray.io/cluster": "g", "ray.io/node-type": "head"});
    let service = json!({
        "metadata": {"name": "front", "namespace": "n"},
        "spec": {"selector": selector, "ports": [{"name": "http", "port": 8000}]},
    });
    whole.api.create(&Kind::SERVICE, service).unwrap();
    whole.api.create(&Kind::RAY_CLUSTER, ray_cluster("g")).unwrap();
    whole.up().await;
    whole
}

#[tokio::test(start_paused = true)]
async fn a_cluster_with_a_closed_gate_comes_up_with_its_worker() {
    let whole = with_cluster().await;
    let seconds = whole.api.now().as_second() - 1_893_456_000;
    assert!((8..40).contains(&seconds), "{seconds}");
    assert_eq!(status_of(&whole.of_kind("head"), "Ready"), "False");
    assert_eq!(status_of(&whole.cluster(), "HeadPodReady"), "False");
    assert!(whole.cluster()["status"]["state"].is_null());
    let picture = whole.ray.snapshot();
    assert_eq!(picture["clusters"]["n/g"]["nodes"].as_array().unwrap().len(), 2);
    // Its own head Service resolves to it all the same.
    assert!(!whole.kubernetes.service_addresses("n", "g-head-svc").is_empty());
    assert!(whole.leads_to().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_service_follows_the_gate_after_a_delay() {
    let whole = with_cluster().await;
    whole.set_gate(true);
    assert!(whole.leads_to().is_empty());
    whole.wait(0.5).await;
    assert_eq!(whole.leads_to(), [text(&whole.of_kind("head")["status"]["podIP"])]);
    whole.wait(3.0).await;
    assert_eq!(whole.cluster()["status"]["state"], "ready");
    whole.set_gate(false);
    whole.wait(0.05).await;
    assert_eq!(whole.leads_to().len(), 1);
    whole.wait(0.2).await;
    assert!(whole.leads_to().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_cluster_leaves_no_objects() {
    let whole = with_cluster().await;
    whole.api.delete(&Kind::RAY_CLUSTER, "n", "g").unwrap();
    whole.wait(1.0).await;
    assert_eq!(whole.pods().iter().filter(|pod| is_deleting(pod)).count(), 2);
    whole.wait(10.0).await;
    assert!(whole.pods().is_empty());
    assert!(whole.api.list(&Kind::SECRET).is_empty());
    assert_eq!(whole.api.list(&Kind::SERVICE).len(), 1);
    assert_eq!(whole.ray.snapshot()["containers"], json!({}));
    assert_eq!(whole.ray.snapshot()["clusters"], json!({}));
}

/// Runs an engine over both pods, and waits until it serves.
async fn with_engine() -> Whole {
    let whole = with_cluster().await;
    let secret = Secret::deserialize(&*whole.api.get(&Kind::SECRET, "n", "g").unwrap()).unwrap();
    let token = String::from_utf8(secret.data.unwrap()["auth_token"].0.clone()).unwrap();
    let head = text(&whole.of_kind("head")["status"]["podIP"]);
    let bridge = Bridge::over(whole.ray.wire(), Limits::default()).unwrap();
    let target = Target {
        name: "n/g".to_owned(),
        dashboard: format!("http://{head}:8265").parse().unwrap(),
        engine: None,
        token: Some(Token::new(&token).unwrap()),
        trusts_engine: false,
    };
    let spec = EngineSpec {
        kind: EngineKind::Vllm,
        name: SubmissionId::new("engine").unwrap(),
        model_name: "m".to_owned(),
        source: "/models/m".to_owned(),
        args: Vec::new(),
        env: BTreeMap::new(),
        shape: Shape::new(1, 2).unwrap(),
        port: 8000,
        placement_timeout: Duration::from_secs(30),
        probe: None,
    };
    let seen = bridge.observe(&target, None, ObserveOptions::full()).await.unwrap();
    let placement = plan(spec.shape, &seen.cluster.unwrap().nodes, &Policy::default()).unwrap();
    bridge.launch(&target, &spec, &placement).await.unwrap();
    for _ in 0..120 {
        if whole.ray.snapshot()["engines"] != json!([]) {
            return whole;
        }
        whole.wait(0.5).await;
    }
    panic!("{:#}", whole.ray.snapshot());
}

#[tokio::test(start_paused = true)]
async fn pods_with_a_live_engine_use_their_whole_grace_period() {
    let whole = with_engine().await;
    whole.api.delete(&Kind::RAY_CLUSTER, "n", "g").unwrap();
    whole.wait(9.5).await;
    assert_eq!(whole.pods().len(), 2);
    assert_eq!(whole.of_kind("worker")["status"]["phase"], "Running");
    whole.wait(2.0).await;
    assert!(whole.pods().is_empty());
    assert_eq!(whole.ray.snapshot()["engines"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_dead_raylet_ends_its_container() {
    let whole = with_cluster().await;
    let worker = whole.of_kind("worker");
    whole.ray.kill_raylet(worker["status"]["podIP"].as_str().unwrap());
    whole.wait(1.2).await;
    assert_eq!(status_of(&whole.of_kind("worker"), "ContainersReady"), "False");
    whole.wait(30.0).await;
    let after = whole.of_kind("worker");
    assert_eq!(after["metadata"]["uid"], worker["metadata"]["uid"]);
    assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 1);
    assert_eq!(status_of(&after, "Ready"), "True");
}

#[tokio::test(start_paused = true)]
async fn a_pod_on_a_lost_node_blocks_its_replacement_until_it_is_force_deleted() {
    let whole = with_cluster().await;
    let worker = whole.of_kind("worker");
    let node = text(&worker["spec"]["nodeName"]);
    whole.kubernetes.kill_node(&node);
    whole.wait(600.0).await;
    assert!(is_deleting(&whole.of_kind("worker")));
    assert_eq!(whole.of_kind("worker")["metadata"]["uid"], worker["metadata"]["uid"]);
    whole.kubernetes.delete_pod_behind_back("n", name(&worker), true).unwrap();
    whole.wait(200.0).await;
    let successor = whole.of_kind("worker");
    assert_ne!(successor["metadata"]["uid"], worker["metadata"]["uid"]);
    assert_ne!(text(&successor["spec"]["nodeName"]), node);
}

#[tokio::test(start_paused = true)]
async fn a_pod_force_deleted_too_early_is_bound_to_the_dead_node_again() {
    let mut options = Options::default();
    options.nodes.truncate(2);
    for node in &mut options.nodes {
        node.gpus = 1;
    }
    let whole = Whole::start(options);
    whole.api.create(&Kind::RAY_CLUSTER, ray_cluster("g")).unwrap();
    whole.up().await;
    let worker = whole.of_kind("worker");
    let node = text(&worker["spec"]["nodeName"]);
    whole.kubernetes.kill_node(&node);
    whole.wait(1.0).await;
    whole.kubernetes.delete_pod_behind_back("n", name(&worker), true).unwrap();
    whole.wait(10.0).await;
    let successor = whole.of_kind("worker");
    assert_eq!(text(&successor["spec"]["nodeName"]), node);
    assert_eq!(successor["status"]["phase"], "Pending");
    whole.kubernetes.restore_node(&node);
    whole.up().await;
}

#[tokio::test(start_paused = true)]
async fn each_fault_of_the_handle_has_its_effect() {
    let whole = with_cluster().await;
    let worker = whole.of_kind("worker");
    let (node, pod) = (text(&worker["spec"]["nodeName"]), name(&worker).to_owned());
    whole.kubernetes.kill_container("n", &pod);
    whole.wait(2.0).await;
    assert_eq!(whole.of_kind("worker")["status"]["containerStatuses"][0]["restartCount"], 1);
    whole.kubernetes.cordon(&node).unwrap();
    whole.kubernetes.kuberay_down(Duration::from_mins(2));
    whole.kubernetes.delete_pod_behind_back("n", &pod, false).unwrap();
    whole.wait(110.0).await;
    assert_eq!(whole.pods().len(), 1);
    whole.wait(60.0).await;
    assert_ne!(text(&whole.of_kind("worker")["spec"]["nodeName"]), node);
    whole.kubernetes.uncordon(&node).unwrap();
    whole.kubernetes.restart_kuberay();
    whole.kubernetes.kubelet_silent(&node);
    whole.wait(60.0).await;
    assert_eq!(status_of(&whole.api.get(&Kind::NODE, "", &node).unwrap(), "Ready"), "Unknown");
}

/// Everything that happened, as text.
async fn history() -> Vec<String> {
    let whole = with_cluster().await;
    whole.set_gate(true);
    let node = text(&whole.of_kind("worker")["spec"]["nodeName"]);
    whole.kubernetes.kill_node(&node);
    whole.wait(400.0).await;
    whole.kubernetes.restore_node(&node);
    whole.wait(100.0).await;
    whole.api.changes(0).iter().map(|change| format!("{change:?}")).collect()
}

#[test]
fn a_run_is_reproducible_from_its_seed() {
    let run = || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(history())
    };
    let (one, other) = (run(), run());
    assert!(one.len() > 50);
    assert!(one == other, "two runs with the same seed differ");
}
