//! Quirks of KubeRay that a fleet must cope with, one by one.

use serde_json::json;

use super::super::object::items;
use super::super::options::Options;
use super::super::testing::{Bench, ray_cluster, reason_of, status_of, text};
use super::Operator;
use super::build::secret_name;
use crate::api::Kind;

fn bench() -> Bench {
    bench_of(Options::default())
}

fn bench_of(options: Options) -> Bench {
    let mut bench = Bench::new(options);
    let operator = Operator::new(&bench.options, bench.switches.clone(), 7);
    bench.run(operator);
    bench
}

async fn with_cluster() -> Bench {
    let bench = bench();
    bench.create(&Kind::RAY_CLUSTER, ray_cluster("g"));
    bench.wait(1.0).await;
    bench
}

fn run_all(bench: &Bench, ready: &str) {
    for pod in bench.pods() {
        bench.set_status(&pod, "Running", ready);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_gets_a_secret_a_head_service_and_its_pods() {
    let bench = with_cluster().await;
    let (head, worker) = (bench.head(), bench.worker());
    assert!(text(&head["metadata"]["name"]).starts_with("g-head-"));
    assert!(text(&worker["metadata"]["name"]).starts_with("g-w-worker-"));
    for (key, of_head, of_worker) in [
        ("ray.io/cluster", "g", "g"),
        ("ray.io/node-type", "head", "worker"),
        ("ray.io/group", "headgroup", "w"),
        ("ray.io/identifier", "g-head", "g-worker"),
        ("ray.io/is-ray-node", "yes", "yes"),
        ("app.kubernetes.io/created-by", "kuberay-operator", "kuberay-operator"),
    ] {
        assert_eq!(head["metadata"]["labels"][key], of_head, "{key}");
        assert_eq!(worker["metadata"]["labels"][key], of_worker, "{key}");
    }
    let owner = &worker["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], bench.cluster("g")["metadata"]["uid"]);
    assert_eq!(owner["controller"], true);
    assert_eq!(worker["spec"]["initContainers"][0]["name"], "wait-gcs-ready");
    let service = bench.api.get(&Kind::SERVICE, "n", "g-head-svc").unwrap();
    assert_eq!(service["spec"]["clusterIP"], "None");
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
    let secret = bench.api.get(&Kind::SECRET, "n", "g").unwrap();
    assert!(!text(&secret["data"]["auth_token"]).is_empty());
    let env = items(&head["spec"]["containers"][0]["env"]);
    assert!(env.iter().any(|variable| variable["valueFrom"]["secretKeyRef"]["name"] == "g"));
}

#[tokio::test(start_paused = true)]
async fn only_the_default_head_service_publishes_an_unready_head() {
    let (env, plain) = (Options { head_cluster_ip: true, ..Options::default() }, Options::default());
    for (options, head, publishes) in [
        (&plain, json!({"serviceType": "ClusterIP"}), true),
        (&plain, json!({"serviceType": "NodePort"}), false),
        (&plain, json!({"headService": {"spec": {}}}), false),
        (&env, json!({}), false),
        (&env, json!({"headService": {"spec": {"publishNotReadyAddresses": true}}}), true),
    ] {
        let bench = bench_of(options.clone());
        let mut cluster = ray_cluster("g");
        for (field, value) in head.as_object().unwrap() {
            cluster["spec"]["headGroupSpec"][field] = value.clone();
        }
        bench.create(&Kind::RAY_CLUSTER, cluster);
        bench.wait(1.0).await;
        let service = bench.api.get(&Kind::SERVICE, "n", "g-head-svc").unwrap();
        assert_eq!(service["spec"]["publishNotReadyAddresses"] == true, publishes, "{head}");
        // It is created once: later changes by others stay.
        let patch = json!({"spec": {"publishNotReadyAddresses": !publishes}});
        bench.api.merge_patch(&Kind::SERVICE, "n", "g-head-svc", &patch).unwrap();
        bench.wait(400.0).await;
        let service = bench.api.get(&Kind::SERVICE, "n", "g-head-svc").unwrap();
        assert_eq!(service["spec"]["publishNotReadyAddresses"] == true, !publishes, "{head}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_operator_acts_on_a_change_after_a_delay() {
    let bench = bench();
    bench.create(&Kind::RAY_CLUSTER, ray_cluster("g"));
    bench.wait(0.02).await;
    assert!(bench.pods().is_empty());
    bench.wait(0.1).await;
    assert_eq!(bench.pods().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn terminating_pods_are_still_counted() {
    let bench = with_cluster().await;
    let head = text(&bench.head()["metadata"]["name"]);
    bench.bind(&head, "node-a");
    bench.api.delete(&Kind::POD, "n", &head).unwrap();
    bench.wait(600.0).await;
    assert_eq!(text(&bench.head()["metadata"]["name"]), head);
    bench.api.remove(&Kind::POD, "n", &head).unwrap();
    bench.wait(1.0).await;
    assert_ne!(text(&bench.head()["metadata"]["name"]), head);
}

#[tokio::test(start_paused = true)]
async fn pods_of_an_earlier_cluster_of_the_same_name_are_counted() {
    let bench = bench();
    let mut stranger = super::super::testing::ray_pod("old", "head", "node-a");
    stranger["metadata"]["labels"]["ray.io/group"] = json!("headgroup");
    bench.create(&Kind::POD, stranger);
    bench.create(&Kind::RAY_CLUSTER, ray_cluster("g"));
    bench.wait(10.0).await;
    assert_eq!(text(&bench.head()["metadata"]["name"]), "old");
    bench.worker();
}

#[tokio::test(start_paused = true)]
async fn a_pod_deleted_by_somebody_else_is_re_created() {
    let bench = with_cluster().await;
    let worker = text(&bench.worker()["metadata"]["name"]);
    bench.api.remove(&Kind::POD, "n", &worker).unwrap();
    bench.wait(1.0).await;
    let after = bench.worker();
    assert_ne!(text(&after["metadata"]["name"]), worker);
    assert_eq!(after["metadata"]["labels"]["ray.io/worker-group-replica-index"], "0");
}

#[tokio::test(start_paused = true)]
async fn a_failed_pod_is_replaced_and_a_crashing_one_is_not() {
    let bench = with_cluster().await;
    let (head, worker) = (bench.head(), bench.worker());
    let (head, worker) = (text(&head["metadata"]["name"]), text(&worker["metadata"]["name"]));
    bench.set_status(&head, "Running", "False");
    bench.set_status(&worker, "Failed", "False");
    bench.wait(5.0).await;
    assert_eq!(text(&bench.head()["metadata"]["name"]), head);
    assert_ne!(text(&bench.worker()["metadata"]["name"]), worker);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_spec_gets_an_event_but_no_status() {
    let bench = bench();
    let mut cluster = ray_cluster("g");
    cluster["spec"]["workerGroupSpecs"][0]["minReplicas"] = json!(2);
    bench.create(&Kind::RAY_CLUSTER, cluster);
    bench.wait(900.0).await;
    assert!(bench.pods().is_empty());
    assert!(bench.cluster("g")["status"]["conditions"].is_null());
    assert!(bench.cluster("g")["status"]["observedGeneration"].is_null());
    let events = bench.api.list(&Kind::EVENT);
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&*text(&event["type"]), &*text(&event["reason"])), ("Warning", "InvalidRayClusterSpec"));
    assert_eq!(event["involvedObject"]["kind"], "RayCluster");
    assert_eq!(event["count"], 1);
    assert!(text(&event["message"]).contains("has minReplicas 2 greater than maxReplicas 1"), "{event}");
    // A corrected spec is reconciled.
    let group = json!([{"groupName": "w", "replicas": 1, "minReplicas": 1, "maxReplicas": 1, "numOfHosts": 1,
        "template": ray_cluster("g")["spec"]["headGroupSpec"]["template"]}]);
    let patch = json!({"spec": {"workerGroupSpecs": group}});
    bench.api.merge_patch(&Kind::RAY_CLUSTER, "n", "g", &patch).unwrap();
    bench.wait(1.0).await;
    assert_eq!(bench.pods().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_warning_is_counted() {
    let bench = bench();
    let mut cluster = ray_cluster("g");
    cluster["spec"]["rayVersion"] = json!("2.46.0");
    bench.create(&Kind::RAY_CLUSTER, cluster);
    bench.wait(1.0).await;
    let patch = json!({"metadata": {"annotations": {"touched": "yes"}}});
    bench.api.merge_patch(&Kind::RAY_CLUSTER, "n", "g", &patch).unwrap();
    bench.wait(1.0).await;
    let events = bench.api.list(&Kind::EVENT);
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event["count"], 2);
    assert!(text(&event["message"]).contains("minimum Ray version is 2.52.0, got 2.46.0"), "{event}");
}

#[tokio::test(start_paused = true)]
async fn readiness_once_reached_is_kept() {
    let bench = with_cluster().await;
    assert_eq!(status_of(&bench.cluster("g"), "RayClusterProvisioned"), "False");
    run_all(&bench, "True");
    bench.wait(1.0).await;
    let cluster = bench.cluster("g");
    assert_eq!(status_of(&cluster, "RayClusterProvisioned"), "True");
    assert_eq!(
        (&cluster["status"]["state"], &cluster["status"]["readyWorkerReplicas"]),
        (&json!("ready"), &json!(1))
    );
    run_all(&bench, "False");
    bench.wait(1.0).await;
    let cluster = bench.cluster("g");
    assert_eq!(status_of(&cluster, "RayClusterProvisioned"), "True");
    assert_eq!(
        (&cluster["status"]["state"], &cluster["status"]["readyWorkerReplicas"]),
        (&json!("ready"), &json!(0))
    );
    assert_eq!(status_of(&cluster, "HeadPodReady"), "False");
}

#[tokio::test(start_paused = true)]
async fn a_status_with_only_a_new_generation_is_not_written() {
    let bench = with_cluster().await;
    bench.wait(10.0).await;
    let before = bench.cluster("g");
    let patch = json!({"spec": {"headGroupSpec": {"template": {"metadata": {"labels": {"new": "label"}}}}}});
    bench.api.merge_patch(&Kind::RAY_CLUSTER, "n", "g", &patch).unwrap();
    bench.wait(900.0).await;
    let after = bench.cluster("g");
    assert_ne!(after["metadata"]["generation"], before["metadata"]["generation"]);
    assert_eq!(after["status"]["observedGeneration"], before["status"]["observedGeneration"]);
    // A new template does not affect existing pods either.
    assert!(bench.head()["metadata"]["labels"]["new"].is_null());
}

#[tokio::test(start_paused = true)]
async fn refused_pods_are_reported_and_missing_pods_do_not_count_as_unready() {
    let bench = bench();
    let hard = json!({"requests.nvidia.com/gpu": "1"});
    let quota = json!({"metadata": {"name": "team", "namespace": "n"}, "spec": {"hard": hard}});
    bench.create(&Kind::RESOURCE_QUOTA, quota);
    bench.create(&Kind::RAY_CLUSTER, ray_cluster("g"));
    bench.wait(5.0).await;
    let cluster = bench.cluster("g");
    assert_eq!(reason_of(&cluster, "ReplicaFailure"), "FailedCreateWorkerPod");
    let reported =
        items(&cluster["status"]["conditions"]).iter().map(ToString::to_string).collect::<String>();
    assert!(reported.contains("exceeded quota: team, requested: requests.nvidia.com/gpu=1"), "{reported}");
    // The head alone makes the cluster provisioned, but not ready.
    run_all(&bench, "True");
    bench.wait(120.0).await;
    let cluster = bench.cluster("g");
    assert_eq!(status_of(&cluster, "RayClusterProvisioned"), "True");
    assert!(cluster["status"]["state"].is_null());
    let more = json!({"spec": {"hard": {"requests.nvidia.com/gpu": "2"}}});
    bench.api.merge_patch(&Kind::RESOURCE_QUOTA, "n", "team", &more).unwrap();
    // Its back-off has grown by now.
    bench.wait(1_200.0).await;
    bench.worker();
    assert_eq!(status_of(&bench.cluster("g"), "ReplicaFailure"), "");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_operator_does_nothing_for_17_seconds() {
    let bench = with_cluster().await;
    bench.switches.kuberay_down_until(rayfleet_api::valid::after(bench.api.now(), super::RESTART));
    let worker = text(&bench.worker()["metadata"]["name"]);
    bench.api.remove(&Kind::POD, "n", &worker).unwrap();
    bench.wait(16.5).await;
    assert_eq!(bench.pods().len(), 1);
    bench.wait(1.0).await;
    assert_eq!(bench.pods().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_multi_host_replica_is_created_and_deleted_as_a_whole() {
    let bench = bench();
    let mut cluster = ray_cluster("g");
    cluster["spec"]["workerGroupSpecs"][0]["numOfHosts"] = json!(2);
    bench.create(&Kind::RAY_CLUSTER, cluster);
    bench.wait(1.0).await;
    let before: Vec<String> = bench.pods().into_iter().filter(|pod| pod.contains("worker")).collect();
    assert_eq!(before.len(), 2);
    bench.api.remove(&Kind::POD, "n", &before[0]).unwrap();
    bench.wait(5.0).await;
    let after: Vec<String> = bench.pods().into_iter().filter(|pod| pod.contains("worker")).collect();
    assert_eq!(after.len(), 2);
    assert!(!after.contains(&before[1]), "{before:?} {after:?}");
}

#[test]
fn a_secret_is_named_after_the_end_of_a_long_name() {
    assert_eq!(secret_name("llama-abcdef-0"), "llama-abcdef-0");
    let long = format!("a{}", "-0123456789".repeat(5));
    assert_eq!(secret_name(&long).len(), 50);
    assert!(secret_name(&long).starts_with('r'), "{}", secret_name(&long));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_cluster_loses_its_pods_and_resumes_only_at_false() {
    let bench = with_cluster().await;
    let suspend = |value: serde_json::Value| {
        let patch = json!({"spec": {"suspend": value}});
        bench.api.merge_patch(&Kind::RAY_CLUSTER, "n", "g", &patch).unwrap();
    };
    suspend(json!(true));
    bench.wait(10.0).await;
    assert!(bench.pods().is_empty());
    let cluster = bench.cluster("g");
    assert_eq!(status_of(&cluster, "RayClusterSuspended"), "True");
    assert_eq!(status_of(&cluster, "RayClusterSuspending"), "False");
    assert_eq!(
        (&cluster["status"]["state"], &*status_of(&cluster, "RayClusterProvisioned")),
        (&json!("suspended"), "False")
    );
    assert!(bench.api.get(&Kind::SERVICE, "n", "g-head-svc").is_some());
    suspend(serde_json::Value::Null);
    bench.wait(600.0).await;
    assert!(bench.pods().is_empty(), "{:?}", bench.pods());
    suspend(json!(false));
    bench.wait(10.0).await;
    assert_eq!(bench.pods().len(), 2);
    assert_eq!(status_of(&bench.cluster("g"), "RayClusterSuspended"), "False");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_managed_by_another_controller_is_ignored() {
    let bench = bench();
    let mut cluster = ray_cluster("g");
    cluster["spec"]["managedBy"] = json!("kueue.x-k8s.io/multikueue");
    bench.create(&Kind::RAY_CLUSTER, cluster);
    bench.wait(600.0).await;
    assert!(bench.pods().is_empty());
    assert!(bench.cluster("g")["status"]["conditions"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_resized_cluster_gets_more_pods_and_fewer_only_without_the_autoscaler() {
    let bench = with_cluster().await;
    let resize = |replicas: u32, elastic: bool| {
        let mut groups = bench.cluster("g")["spec"]["workerGroupSpecs"].clone();
        groups[0]["replicas"] = json!(replicas);
        groups[0]["minReplicas"] = json!(0);
        groups[0]["maxReplicas"] = json!(9);
        let patch = json!({"spec": {"workerGroupSpecs": groups, "enableInTreeAutoscaling": elastic}});
        bench.api.merge_patch(&Kind::RAY_CLUSTER, "n", "g", &patch).unwrap();
    };
    for (replicas, elastic, pods) in [(2, true, 3), (0, true, 3), (0, false, 1)] {
        resize(replicas, elastic);
        bench.wait(10.0).await;
        assert_eq!(bench.pods().len(), pods, "{replicas} {elastic}");
    }
}
