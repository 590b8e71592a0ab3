//! Behaviours of kubelets that a fleet must cope with, one by one.

use serde_json::{Value, json};

use super::super::nodes::Nodes;
use super::super::options::Options;
use super::super::testing::{Bench, ray_pod, reason_of, status_of, waits_for};
use super::Kubelets;
use crate::api::Kind;

fn bench(options: Options) -> Bench {
    let mut bench = Bench::new(options);
    bench.run(Nodes::new(bench.options.clone(), bench.switches.clone()));
    let kubelets = Kubelets::new(bench.options.clone(), bench.switches.clone(), bench.ray.clone());
    bench.spawn(kubelets.watch());
    bench.run(kubelets);
    let labels = json!({"ray.io/cluster": "g", "ray.io/node-type": "head"});
    let spec = json!({"clusterIP": "None", "publishNotReadyAddresses": true, "selector": labels});
    let metadata = json!({"name": "g-head-svc", "namespace": "n", "labels": labels});
    bench.create(&Kind::SERVICE, json!({"metadata": metadata, "spec": spec}));
    bench
}

fn head(bench: &Bench) {
    bench.create(&Kind::POD, ray_pod("head", "head", "node-a"));
}

fn worker(bench: &Bench) {
    bench.create(&Kind::POD, ray_pod("worker", "worker", "node-b"));
}

fn restarts(pod: &Value) -> u64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap()
}

async fn until_ready(bench: &Bench, pod: &str) {
    for _ in 0..120 {
        if status_of(&bench.pod(pod), "ContainersReady") == "True" {
            return;
        }
        bench.wait(0.5).await;
    }
    panic!("{}", bench.pod(pod)["status"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_ready_when_its_containers_and_its_gates_are_ready() {
    let bench = bench(Options::default());
    let mut pod = ray_pod("head", "head", "node-a");
    pod["spec"]["readinessGates"] = json!([{"conditionType": "rayfleet.io/serving"}]);
    bench.create(&Kind::POD, pod);
    bench.wait(1.0).await;
    let pod = bench.pod("head");
    assert_eq!((&pod["status"]["phase"], &*waits_for(&pod)), (&json!("Pending"), "ContainerCreating"));
    assert_eq!(pod["status"]["podIP"], "10.99.1.2");
    until_ready(&bench, "head").await;
    let pod = bench.pod("head");
    assert_eq!((&*status_of(&pod, "Ready"), &*reason_of(&pod, "Ready")), ("False", "ReadinessGatesNotReady"));
    assert_eq!(pod["status"]["phase"], "Running");
    let mut conditions = pod["status"]["conditions"].as_array().unwrap().clone();
    conditions.push(json!({"type": "rayfleet.io/serving", "status": "True"}));
    let patch = json!({"status": {"conditions": conditions}});
    bench.api.merge_patch_status(&Kind::POD, "n", "head", &patch).unwrap();
    assert_eq!(status_of(&bench.pod("head"), "Ready"), "False");
    bench.wait(0.1).await;
    assert_eq!(status_of(&bench.pod("head"), "Ready"), "True");
    assert_eq!(status_of(&bench.pod("head"), "rayfleet.io/serving"), "True");
}

#[tokio::test(start_paused = true)]
async fn a_worker_waits_in_its_init_container_until_the_head_answers() {
    let bench = bench(Options::default());
    worker(&bench);
    bench.wait(60.0).await;
    let pod = bench.pod("worker");
    assert_eq!(
        (&pod["status"]["phase"], &*reason_of(&pod, "Initialized")),
        (&json!("Pending"), "ContainersNotInitialized")
    );
    assert!(pod["status"]["initContainerStatuses"][0]["state"]["running"].is_object());
    head(&bench);
    until_ready(&bench, "worker").await;
    assert_eq!(status_of(&bench.pod("worker"), "Ready"), "True");
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_reported_as_failed_and_backing_off_in_turn() {
    let bench = bench(Options { bad_images: vec!["ray:1".to_owned()], ..Options::default() });
    head(&bench);
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..200 {
        bench.wait(0.5).await;
        let reason = waits_for(&bench.pod("head"));
        if seen.last() != Some(&reason) {
            seen.push(reason);
        }
    }
    let turns = ["ErrImagePull", "ImagePullBackOff"].repeat(3);
    assert!(seen.iter().filter(|reason| *reason != "ContainerCreating").take(6).eq(turns.iter()), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn an_image_is_pulled_once_per_node() {
    let bench = bench(Options { image_pull: std::time::Duration::from_secs(100), ..Options::default() });
    head(&bench);
    bench.wait(50.0).await;
    assert_eq!(waits_for(&bench.pod("head")), "ContainerCreating");
    bench.wait(60.0).await;
    assert_eq!(status_of(&bench.pod("head"), "ContainersReady"), "True");
    bench.create(&Kind::POD, ray_pod("second", "head", "node-a"));
    bench.wait(20.0).await;
    assert_eq!(status_of(&bench.pod("second"), "ContainersReady"), "True");
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_delays_a_container() {
    let bench = bench(Options::default());
    let mut pod = ray_pod("head", "head", "node-a");
    let from = json!({"secretKeyRef": {"name": "token", "key": "auth_token"}});
    pod["spec"]["containers"][0]["env"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "RAY_AUTH_TOKEN", "valueFrom": from}));
    bench.create(&Kind::POD, pod);
    bench.wait(30.0).await;
    assert_eq!(waits_for(&bench.pod("head")), "CreateContainerConfigError");
    let secret = json!({"metadata": {"name": "token", "namespace": "n"}, "data": {"auth_token": "c2VjcmV0"}});
    bench.create(&Kind::SECRET, secret);
    until_ready(&bench, "head").await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_container_restarts_in_its_pod_with_growing_back_off() {
    let bench = bench(Options::default());
    head(&bench);
    until_ready(&bench, "head").await;
    let before = bench.pod("head");
    bench.switches.kill("n", "head");
    bench.wait(0.1).await;
    assert_eq!(status_of(&bench.pod("head"), "ContainersReady"), "False");
    bench.wait(1.0).await;
    let after = bench.pod("head");
    assert_eq!((restarts(&after), &after["status"]["podIP"]), (1, &before["status"]["podIP"]));
    assert_eq!(after["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 137);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    until_ready(&bench, "head").await;
    bench.switches.kill("n", "head");
    bench.wait(1.0).await;
    assert_eq!((&*waits_for(&bench.pod("head")), restarts(&bench.pod("head"))), ("CrashLoopBackOff", 1));
    bench.wait(11.0).await;
    assert_eq!(restarts(&bench.pod("head")), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_may_not_restart_becomes_failed() {
    let bench = bench(Options::default());
    let mut pod = ray_pod("head", "head", "node-a");
    pod["spec"]["restartPolicy"] = json!("Never");
    bench.create(&Kind::POD, pod);
    until_ready(&bench, "head").await;
    bench.switches.kill("n", "head");
    bench.wait(60.0).await;
    assert_eq!(bench.pod("head")["status"]["phase"], "Failed");
}

#[tokio::test(start_paused = true)]
async fn workers_without_their_head_exit_and_join_the_next_head() {
    let bench = bench(Options::default());
    head(&bench);
    worker(&bench);
    until_ready(&bench, "worker").await;
    bench.api.remove(&Kind::POD, "n", "head").unwrap();
    bench.wait(300.0).await;
    assert!(restarts(&bench.pod("worker")) > 0);
    head(&bench);
    bench.wait(300.0).await;
    assert_eq!(status_of(&bench.pod("worker"), "Ready"), "True");
}

#[tokio::test(start_paused = true)]
async fn an_idle_pod_ends_within_its_grace_period_and_is_failed_before_it_is_deleted() {
    let bench = bench(Options::default());
    head(&bench);
    until_ready(&bench, "head").await;
    bench.api.delete(&Kind::POD, "n", "head").unwrap();
    bench.wait(1.0).await;
    assert_eq!(bench.pod("head")["status"]["phase"], "Running");
    bench.wait(1.2).await;
    assert_eq!(bench.pod("head")["status"]["phase"], "Failed");
    bench.wait(1.0).await;
    assert!(bench.pods().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_just_before_a_status_change_is_acted_on() {
    let ready_after = {
        let bench = bench(Options::default());
        head(&bench);
        let mut steps = 0_u32;
        while status_of(&bench.pod("head"), "ContainersReady") != "True" {
            bench.wait(0.005).await;
            steps += 1;
        }
        steps
    };
    for before in 0..8 {
        let bench = bench(Options::default());
        head(&bench);
        bench.wait(f64::from(ready_after - before) * 0.005).await;
        bench.api.delete(&Kind::POD, "n", "head").unwrap();
        bench.wait(20.0).await;
        assert!(bench.pods().is_empty(), "{before} steps before");
    }
}

#[tokio::test(start_paused = true)]
async fn a_forced_deletion_ends_the_containers_on_a_healthy_node() {
    let bench = bench(Options::default());
    head(&bench);
    until_ready(&bench, "head").await;
    bench.api.remove(&Kind::POD, "n", "head").unwrap();
    bench.wait(0.5).await;
    assert!(bench.ray.snapshot()["containers"]["10.99.1.2"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_pod_on_a_lost_node_stays_until_the_node_is_back() {
    let bench = bench(Options::default());
    head(&bench);
    until_ready(&bench, "head").await;
    bench.ray.lose_node("node-a");
    bench.switches.lose("node-a", bench.api.now());
    bench.wait(49.0).await;
    assert_eq!(status_of(&bench.pod("head"), "Ready"), "True");
    bench.wait(2.0).await;
    assert_eq!(status_of(&bench.pod("head"), "Ready"), "False");
    assert!(bench.pod("head")["metadata"]["deletionTimestamp"].is_null());
    bench.wait(301.0).await;
    assert!(bench.pod("head")["metadata"]["deletionTimestamp"].is_string());
    bench.wait(3_600.0).await;
    assert_eq!(bench.pods(), ["head"]);
    bench.switches.restore("node-a", bench.api.now());
    bench.wait(7.0).await;
    assert_eq!(bench.pods(), ["head"]);
    bench.wait(2.0).await;
    assert!(bench.pods().is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_a_short_loss_of_power_the_pod_restarts_at_another_address() {
    let bench = bench(Options::default());
    head(&bench);
    until_ready(&bench, "head").await;
    let before = bench.pod("head");
    bench.ray.lose_node("node-a");
    bench.switches.lose("node-a", bench.api.now());
    bench.wait(60.0).await;
    bench.switches.restore("node-a", bench.api.now());
    bench.wait(60.0).await;
    let after = bench.pod("head");
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_ne!(after["status"]["podIP"], before["status"]["podIP"]);
    assert_eq!((restarts(&after), &*status_of(&after, "Ready")), (1, "True"));
}

#[tokio::test(start_paused = true)]
async fn containers_of_a_silent_kubelet_keep_running() {
    let bench = bench(Options::default());
    head(&bench);
    until_ready(&bench, "head").await;
    bench.switches.silence("node-a", bench.api.now());
    bench.wait(600.0).await;
    assert!(bench.pod("head")["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(bench.ray.snapshot()["containers"]["10.99.1.2"]["run"], "joined");
    bench.switches.restore("node-a", bench.api.now());
    bench.wait(5.0).await;
    assert!(bench.pods().is_empty());
    assert!(bench.ray.snapshot()["containers"]["10.99.1.2"].is_null());
}
