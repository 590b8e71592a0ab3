//! Whole looks at a fleet, against an API server that takes what it is given.

mod aibrix;
mod deletion;
mod foreign_crd;
mod gates;
mod refused;
mod unreadable;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http::Method;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ResourceQuota, Service};
use kube::core::DynamicObject;
use parking_lot::Mutex;
use ray_bridge::{Bridge, Limits};
use rayfleet_api::names;
use rayfleet_api::revision::Revision;
use rayfleet_api::status::{RankCount, RolloutStep};
use rayfleet_runtime::testing::{Answer, Call, Fake, refusal};
use rayfleet_runtime::{Controller, Leadership};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::template_dry_run::TemplateDryRun;
use super::*;
use crate::fixtures::{object, raw_fleet};
use crate::kubernetes::{Node, Pod, Slice, Warning};

struct Bench {
    controller: Arc<FleetReconciler>,
    runner: Arc<Controller<FleetReconciler>>,
    server: Fake,
    lease: watch::Sender<Option<Instant>>,
}

fn bench(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Bench {
    // There is no AIBrix, unless a test says so.
    let server = Fake::new(move |call| match answer(call) {
        Answer::Reply(200, body)
            if call.method == Method::GET
                && call.path.contains("/rayclusterreplicasets")
                && body["items"].is_null() =>
        {
            refusal(404, "NotFound", "no such kind")
        }
        other => other,
    });
    let bench = Bench::of(server, Arc::default());
    bench.list(raw_fleet());
    bench
}

impl Bench {
    fn of(server: Fake, index: Arc<Index>) -> Self {
        let (leadership, lease) = Leadership::always();
        let metrics = Arc::new(Metrics::new());
        let executor = Executor::new(server.client(), index.clone(), leadership, &metrics);
        let bridge = Bridge::new(Limits::default()).unwrap();
        let agents =
            Agents::new(server.client(), bridge, index.clone(), metrics.clone(), Arc::default(), false);
        let controller = Arc::new(FleetReconciler::new(index, executor, agents, metrics));
        let runner = Controller::new(controller.clone(), controller.metrics.runtime.clone());
        Self { controller, runner, server, lease }
    }

    fn list(&self, fleet: RayClusterFleet) {
        let index = &self.controller.index;
        let node = json!({
            "metadata": {"name": "a"},
            "status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}
        });
        list_all_but_clusters(index, fleet);
        index.reset(vec![object::<Node>(&node)]);
        index.reset(Vec::<DynamicObject>::new());
    }

    /// One pass, and when the next one is due.
    async fn pass(&self) -> Result<Option<Timestamp>, WriteError> {
        self.runner.reconcile(&key()).await.map(|next| match next {
            Next::At(wake) => Some(wake),
            Next::WhenMarked | Next::Gone => None,
        })
    }

    fn no_kuberay(&self) {
        for second in [0, 20, 40] {
            self.controller.index.kuberay_missing("no CRD", clock::monotonic() + Duration::from_secs(second));
        }
    }

    /// What a pass sends, as method and resource.
    async fn sent(&self) -> Vec<String> {
        let before = self.server.calls().len();
        self.pass().await.unwrap();
        self.server.calls().iter().skip(before).map(named).collect()
    }

    fn condition(&self, type_: &str) -> Option<String> {
        let status = self.status();
        let found = status.conditions.iter().find(|condition| condition.type_ == type_)?;
        Some(format!("{}/{}", found.status, found.reason))
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
        Method::GET if call.path.contains("rayclusterreplicasets") => {
            refusal(404, "NotFound", "no such kind")
        }
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
    let ledger: Vec<_> = bench.status().groups.into_iter().map(|group| group.name).collect();
    let there: Vec<_> =
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
    let worked_on = || {
        let mut fleet = raw_fleet();
        fleet.status = Some(rayfleet_api::RayClusterFleetStatus::default());
        fleet
    };
    let bench = bench(move |call| match call.method {
        Method::GET if call.path.contains("/rayclusterfleets/") => Answer::Reply(200, json!(worked_on())),
        _ => willing(call),
    });
    bench.list(worked_on());
    assert_eq!(bench.sent().await.first().map(String::as_str), Some("GET rayclusterfleets/f"));
    assert!(!bench.sent().await.iter().any(|call| call.starts_with("GET")));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_without_a_status_is_not_read_again_before_a_conflict() {
    let conflicts = Arc::new(AtomicBool::new(true));
    let refused = conflicts.clone();
    let bench = bench(move |call| match call.method {
        Method::PUT if refused.load(Ordering::Relaxed) => refusal(409, "Conflict", "the fleet has changed"),
        _ => willing(call),
    });
    assert!(bench.pass().await.is_err());
    assert!(!bench.server.calls().iter().any(|call| named(call) == "GET rayclusterfleets/f"));
    conflicts.store(false, Ordering::Relaxed);
    // The watch still has the fleet without a status.
    assert_eq!(bench.sent().await.first().map(String::as_str), Some("GET rayclusterfleets/f"));
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
    let bench = Bench::of(bench.server, empty);
    assert_eq!(bench.runner.reconcile(&key()).await.unwrap(), Next::WhenMarked);
    assert_eq!(bench.server.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_breaks_a_rule_gets_one_event() {
    let mut fleet = raw_fleet();
    let model = fleet.spec.model.as_mut().unwrap();
    model.engine.get_or_insert_default().args = vec!["--tensor-parallel-size=4".into()];
    let answer = fleet.clone();
    let bench = bench(move |call| match call.method {
        Method::GET if call.path.contains("/rayclusterfleets/") => Answer::Reply(200, json!(answer)),
        _ => willing(call),
    });
    bench.list(fleet);
    let sent = bench.sent().await;
    assert_eq!(sent.iter().filter(|call| call.contains("rayclusters")).count(), 0, "{sent:#?}");
    assert_eq!(bench.status().rollout.unwrap().step, RolloutStep::InvalidSpec);
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
    assert_eq!(bench.status().rollout.unwrap().step, RolloutStep::InvalidTemplate);
    assert_eq!(bench.sent().await, Vec::<String>::new());
    tokio::time::advance(TRY_AGAIN).await;
    assert_eq!(bench.sent().await, [trial]);
}

#[tokio::test(start_paused = true)]
async fn fleets_alike_share_the_answer_to_a_trial_once() {
    let bench = bench(willing);
    let (executor, admitted) = (&bench.controller.executor, AdmittedTemplates::default());
    let alike = |name: &str| {
        let mut fleet = crate::fixtures::fleet();
        (fleet.name, fleet.uid) = (name.to_owned(), format!("u-{name}"));
        fleet
    };
    let trials = |state: TemplateDryRun, name: &'static str| {
        let (fleet, admitted, server) = (alike(name), &admitted, &bench.server);
        async move {
            let (mut state, before) = (state, server.calls().len());
            assert_eq!(state.check(executor, admitted, &fleet).await.unwrap(), None);
            (state, server.calls().len() - before)
        }
    };
    let (_, first) = trials(TemplateDryRun::default(), "a").await;
    let (b, second) = trials(TemplateDryRun::default(), "b").await;
    assert_eq!((first, second), (1, 0));
    tokio::time::advance(TRY_AGAIN).await;
    let (_, third) = trials(TemplateDryRun::default(), "c").await;
    assert_eq!(third, 1, "the answer is too old");
    let (b, own) = trials(b, "b").await;
    assert_eq!(own, 1, "it has had another's answer once");
    tokio::time::advance(TRY_AGAIN).await;
    assert_eq!(trials(b, "b").await.1, 0, "its own answer stays");
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_when_kuberay_is_installed() {
    let bench = bench(willing);
    bench.no_kuberay();
    bench.pass().await.unwrap();
    assert_eq!(bench.status().rollout.unwrap().step, RolloutStep::KubeRayMissing);
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
    assert_eq!(bench.condition("ServiceFailed").as_deref(), Some("True/Exists"));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_is_gone_is_forgotten() {
    let bench = bench(willing);
    bench.pass().await.unwrap();
    assert!(bench.controller.metrics.text(0, true).contains("rayfleet_groups{"));
    bench.runner.pass(&key()).await;
    bench.controller.index.delete(&raw_fleet());
    bench.runner.pass(&key()).await;
    assert!(!bench.controller.metrics.text(0, true).contains("rayfleet_groups{"));
    assert_eq!(bench.runner.remembered(), [], "nothing is remembered of it");
}

/// All lists are there but that of RayClusters; there is one fleet and nothing else.
fn list_all_but_clusters(index: &Index, fleet: RayClusterFleet) {
    index.reset(vec![fleet]);
    index.reset(Vec::<Node>::new());
    index.reset(Vec::<Pod>::new());
    index.reset(Vec::<ResourceQuota>::new());
    index.reset(Vec::<Slice>::new());
    index.reset(Vec::<Service>::new());
    index.reset(Vec::<ControllerRevision>::new());
    index.reset(Vec::<Warning>::new());
}

/// An entry of the ledger: a group whose RayCluster was made, with pods and engine of this revision.
fn entry(revision: &Revision, slot: u32) -> GroupStatus {
    GroupStatus {
        name: format!("f-{}-{slot}", revision.pod).into(),
        slot,
        uid: Some(format!("made-f-{}-{slot}", revision.pod)),
        revision: revision.pod.clone(),
        engine_revision: revision.engine.clone(),
        ..GroupStatus::default()
    }
}

/// The fleet as the API server has it, with a ledger of groups that run these revisions.
fn with_groups(mut fleet: RayClusterFleet, revision: &Revision) -> RayClusterFleet {
    let group = |slot: u32| GroupStatus { nodes: vec!["a".into()], ..entry(revision, slot) };
    fleet.status = Some(RayClusterFleetStatus { groups: vec![group(0), group(1)], ..Default::default() });
    fleet
}

/// RayClusters of the ledger's groups, as they were made.
fn clusters(fleet: &RayClusterFleet) -> Vec<DynamicObject> {
    let groups = &fleet.status.as_ref().unwrap().groups;
    let cluster = |group: &GroupStatus| {
        serde_json::from_value(json!({
            "apiVersion": "ray.io/v1", "kind": "RayCluster",
            "metadata": {
                "name": group.name, "namespace": "n", "uid": format!("made-{}", group.name), "resourceVersion": "1",
                "labels": {names::LABEL_FLEET: "f", names::LABEL_MANAGED_BY: names::MANAGED_BY, names::LABEL_GROUP: group.name, "rayfleet.io/slot": group.slot.to_string(),
                           "rayfleet.io/pod-revision": group.revision},
                "ownerReferences": [crate::fixtures::owner("f", "u-1")]
            },
            "spec": {}
        }))
        .unwrap()
    };
    groups.iter().map(cluster).collect()
}

fn record_of(fleet: &RayClusterFleet) -> ControllerRevision {
    let valid = ValidFleet::recorded(fleet).unwrap();
    History::new(&valid, &crate::kubernetes::Owned::default()).change(fleet, &[]).create.unwrap()
}

/// A bench whose API server has this fleet.
fn bench_of(
    fleet: RayClusterFleet,
    answer: impl Fn(&Call) -> Option<Answer> + Send + Sync + 'static,
) -> Bench {
    let stored = fleet.clone();
    let bench = bench(move |call| {
        answer(call).unwrap_or_else(|| match call.method {
            Method::GET => Answer::Reply(200, json!(stored)),
            _ => willing(call),
        })
    });
    bench.list(fleet);
    bench
}

#[tokio::test(start_paused = true)]
async fn a_look_that_panics_is_counted_and_taken_again() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let bench = bench(move |call| {
        assert!(!first.swap(false, std::sync::atomic::Ordering::Relaxed), "a bug");
        willing(call)
    });
    let queue = &bench.controller.index.fleet_queue;
    queue.add(key());
    for _ in 0..2 {
        let next = tokio::time::timeout(Duration::from_secs(1), queue.next(clock::monotonic)).await;
        bench.runner.pass(&next.expect("it is not left alone")).await;
    }
    assert!(bench.controller.metrics.text(0, true).contains("rayfleet_panics_total 1"));
    assert_eq!(bench.status().groups.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_an_owner_is_made_the_fleet_s_and_not_doubled() {
    let revision = ValidFleet::new(&raw_fleet()).unwrap().revision;
    let mut orphans = clusters(&with_groups(raw_fleet(), &revision));
    for orphan in &mut orphans {
        orphan.metadata.owner_references = None;
    }
    let stored = orphans.clone();
    let bench = bench_of(raw_fleet(), move |call| {
        let name = call.path.split('?').next()?.rsplit('/').next()?;
        let orphan = stored.iter().find(|orphan| orphan.metadata.name.as_deref() == Some(name))?;
        let mut orphan = json!(orphan);
        orphan["metadata"]["ownerReferences"] = call.body["metadata"]["ownerReferences"].clone();
        Some(Answer::Reply(200, orphan))
    });
    bench.controller.index.reset(orphans);
    let sent = bench.sent().await;
    assert_eq!(sent.iter().filter(|call| call.starts_with("PATCH rayclusters/")).count(), 2, "{sent:#?}");
    assert!(!sent.contains(&"POST rayclusters".to_owned()), "{sent:#?}");
    let names: Vec<_> = bench.status().groups.into_iter().map(|group| group.name).collect();
    assert_eq!(names, [format!("f-{}-0", revision.pod), format!("f-{}-1", revision.pod)]);
}
