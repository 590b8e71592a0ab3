//! Whole looks at a fleet, against an API server that takes what it is given.

use http::Method;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DynamicObject;
use ray_bridge::{Bridge, Limits};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::fake::{Answer, Call, Fake, refusal};
use crate::fixtures::raw_fleet;

struct Bench {
    controller: Controller,
    server: Fake,
    lease: watch::Sender<Option<Instant>>,
}

fn bench(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Bench {
    let (leadership, lease) = Leadership::always();
    let server = Fake::new(answer);
    let (index, metrics) = (Arc::new(Index::default()), Arc::new(Metrics::new()));
    let executor = Executor::new(server.client(), index.clone(), leadership, metrics.clone());
    let bridge = Bridge::new(Limits::default()).unwrap();
    let agents = Agents::new(server.client(), bridge, index.clone(), metrics.clone());
    let bench = Bench { controller: Controller::new(index, executor, agents, metrics), server, lease };
    bench.list(raw_fleet());
    bench
}

impl Bench {
    fn list(&self, fleet: RayClusterFleet) {
        let index = &self.controller.index;
        let node = json!({
            "metadata": {"name": "a"},
            "status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}
        });
        index.reset(vec![fleet]);
        index.reset(vec![serde_json::from_value::<Node>(node).unwrap()]);
        index.reset(Vec::<DynamicObject>::new());
        index.reset(Vec::<Pod>::new());
        index.reset(Vec::<ResourceQuota>::new());
        index.reset(Vec::<EndpointSlice>::new());
        index.reset(Vec::<Service>::new());
        index.reset(Vec::<ControllerRevision>::new());
        index.reset(Vec::<crate::cluster::Warning>::new());
    }

    async fn pass(&self) -> Result<Option<Timestamp>, WriteError> {
        self.controller.pass(&key()).await
    }

    /// What a pass sends, as method and resource.
    async fn sent(&self) -> Vec<String> {
        let before = self.server.calls().len();
        self.pass().await.unwrap();
        self.server.calls().iter().skip(before).map(named).collect()
    }

    fn status(&self) -> RayClusterFleetStatus {
        let fleet = self.controller.index.read(|known| known.fleets[&key()].clone());
        fleet.status.clone().unwrap_or_default()
    }
}

fn key() -> Key {
    Key::new("n", "f")
}

fn named(call: &Call) -> String {
    let dry = if call.path.contains("dryRun") { " as a trial" } else { "" };
    let path = call.path.split('?').next().unwrap_or_default();
    let what = path.split("/namespaces/n/").nth(1).unwrap_or(path);
    format!("{} {what}{dry}", call.method)
}

/// A server that stores nothing and takes everything.
fn willing(call: &Call) -> Answer {
    let mut body = call.body.clone();
    match call.method {
        Method::GET => Answer::Reply(200, json!(raw_fleet())),
        Method::POST => {
            body["metadata"]["uid"] = json!("made");
            Answer::Reply(201, body)
        }
        _ => {
            body["metadata"]["resourceVersion"] = json!("99");
            Answer::Reply(200, body)
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_ledger_is_written_before_what_it_tells_of_is_made() {
    let bench = bench(willing);
    let sent = bench.sent().await;
    let first = |what: &str| sent.iter().position(|call| call == what);
    let written = first("PUT rayclusterfleets/f/status").unwrap();
    let made = first("POST rayclusters").unwrap();
    assert!(first("POST rayclusters as a trial").unwrap() < written && written < made, "{sent:#?}");
    let ledger: Vec<String> = bench.status().groups.into_iter().map(|group| group.name).collect();
    let there: Vec<String> =
        bench.controller.index.read(|known| known.clusters.keys().map(|key| key.name.clone()).collect());
    assert_eq!((ledger.len(), &ledger), (2, &there));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_at_rest_costs_no_call() {
    let bench = bench(willing);
    for _ in 0..5 {
        bench.pass().await.unwrap();
    }
    assert_eq!(bench.sent().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_from_a_ledger_that_could_not_be_written() {
    let bench = bench(|call| match call.method {
        Method::PUT => refusal(409, "Conflict", "the fleet has changed"),
        _ => willing(call),
    });
    let error = bench.pass().await.unwrap_err();
    assert!(error.is_conflict());
    assert!(bench.server.calls().iter().all(|call| named(call) != "POST rayclusters"));
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_reads_a_fleet_itself_once() {
    let bench = bench(willing);
    assert_eq!(bench.sent().await.first().map(String::as_str), Some("GET rayclusterfleets/f"));
    assert!(!bench.sent().await.iter().any(|call| call.starts_with("GET")));
}

#[tokio::test(start_paused = true)]
async fn without_the_lease_nothing_is_done() {
    let bench = bench(willing);
    bench.lease.send_replace(None);
    assert!(matches!(bench.pass().await, Err(WriteError::NotLeader(_))));
    assert_eq!(bench.server.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn before_everything_was_listed_nothing_is_done() {
    let bench = bench(willing);
    let empty = Arc::new(Index::default());
    empty.apply(raw_fleet());
    let controller = Controller { index: empty, ..bench.controller };
    assert_eq!(controller.pass(&key()).await.unwrap(), None);
    assert_eq!(bench.server.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_breaks_a_rule_is_told_so_once() {
    let mut fleet = raw_fleet();
    let model = fleet.spec.model.as_mut().unwrap();
    model.engine.get_or_insert_default().args = vec!["--tensor-parallel-size=4".into()];
    let answer = fleet.clone();
    let bench = bench(move |call| match call.method {
        Method::GET => Answer::Reply(200, json!(answer)),
        _ => willing(call),
    });
    bench.list(fleet);
    let sent = bench.sent().await;
    assert_eq!(sent.iter().filter(|call| call.contains("rayclusters")).count(), 0, "{sent:#?}");
    assert_eq!(bench.status().rollout.unwrap().step, "InvalidSpec");
    assert_eq!(bench.sent().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_template_that_kuberay_refuses_is_tried_again_after_a_while() {
    let bench = bench(|call| {
        if call.path.contains("dryRun") {
            refusal(422, "Invalid", "spec.headGroupSpec.template: Required value")
        } else {
            willing(call)
        }
    });
    let trial = "POST rayclusters as a trial".to_owned();
    assert!(bench.sent().await.contains(&trial));
    assert_eq!(bench.status().rollout.unwrap().step, "InvalidTemplate");
    assert_eq!(bench.sent().await, Vec::<String>::new());
    tokio::time::advance(TRY_AGAIN).await;
    assert_eq!(bench.sent().await, [trial]);
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_when_kuberay_is_installed() {
    let bench = bench(willing);
    bench.controller.index.kuberay_missing("no CRD");
    bench.pass().await.unwrap();
    assert_eq!(bench.status().rollout.unwrap().step, "KubeRayMissing");
    bench.controller.index.reset(Vec::<DynamicObject>::new());
    assert!(bench.sent().await.contains(&"POST rayclusters".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_service_of_somebody_else_is_asked_about_once_in_a_while() {
    let bench = bench(|call| match (call.method.clone(), call.path.contains("/services")) {
        (Method::POST, true) => refusal(409, "AlreadyExists", "there is one"),
        (Method::GET, true) => {
            let foreign: Value =
                json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "f", "namespace": "n"}});
            Answer::Reply(200, foreign)
        }
        _ => willing(call),
    });
    let asked = |calls: Vec<String>| calls.iter().filter(|call| *call == "POST services").count();
    assert_eq!(asked(bench.sent().await), 1);
    assert_eq!(asked(bench.sent().await), 0);
    tokio::time::advance(TRY_AGAIN).await;
    assert_eq!(asked(bench.sent().await), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_is_gone_is_forgotten() {
    let bench = bench(willing);
    bench.pass().await.unwrap();
    assert!(bench.controller.metrics.text(0, true).contains("rayfleet_groups{"));
    bench.controller.index.delete(&raw_fleet());
    bench.pass().await.unwrap();
    assert!(!bench.controller.metrics.text(0, true).contains("rayfleet_groups{"));
    assert!(bench.controller.templates.is_empty());
    assert!(bench.controller.checked.is_empty());
}

#[test]
fn a_time_of_day_is_as_far_away_on_the_other_clock() {
    let now = Timestamp::from_second(1_000).unwrap();
    let start = clock::monotonic();
    let at = |second| instant_of(Timestamp::from_second(second).unwrap(), now, start) - start;
    assert_eq!(at(1_090), Duration::from_secs(90));
    assert_eq!(at(900), Duration::ZERO, "what is over is due now");
    assert!(instant_of(Timestamp::MAX, now, start) > start);
}
