//! Passes over the budgets of a fleet, on the simulated API server.

use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use rayfleet_api::{RayClusterFleet, ValidFleet};
use rayfleet_runtime::{Controller, Leadership};
use rayfleet_sim_kube::api::{ApiServer, Call, Kind, Verb, Verdict};
use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::fixtures::raw_fleet;
use crate::kubernetes::Protected;
use crate::metrics::Metrics;

struct Bench {
    index: Arc<Index>,
    executor: Executor,
    controller: Arc<Controller<BudgetReconciler>>,
    api: ApiServer,
    fleet: RayClusterFleet,
    calls: Arc<Mutex<Vec<Call>>>,
    _lease: watch::Sender<Option<std::time::Instant>>,
}

fn bench(judge: impl Fn(&Call) -> Verdict + Send + Sync + 'static) -> Bench {
    let api = ApiServer::new();
    api.create(&Kind::NAMESPACE, json!({"metadata": {"name": "n"}})).unwrap();
    let mut fleet = json!(raw_fleet());
    fleet["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let stored = api.create(&Kind::FLEET, fleet).unwrap();
    let fleet: RayClusterFleet = serde_json::from_value((*stored).clone()).unwrap();
    let calls = Arc::<Mutex<Vec<Call>>>::default();
    let log = calls.clone();
    let client = api.client(
        "rayfleet",
        "n",
        Arc::new(move |call: &Call| {
            log.lock().push(call.clone());
            judge(call)
        }),
    );
    let (leadership, lease) = Leadership::always();
    let (index, metrics) = (Arc::new(Index::default()), Metrics::new());
    index.apply(fleet.clone());
    let executor = Executor::new(client, index.clone(), leadership, &metrics);
    let budgets = BudgetReconciler::new(index.clone(), executor.clone());
    let controller = Controller::new(budgets, metrics.runtime);
    Bench { index, executor, controller, api, fleet, calls, _lease: lease }
}

impl Bench {
    fn protect(&self, groups: &[&str]) {
        let groups = groups.iter().map(|name| ((*name).into(), 2)).collect();
        let fleet = Arc::new(ValidFleet::new(&self.fleet).unwrap());
        self.index.protect(&key(), Protected { fleet, groups });
    }

    /// What a pass asks the API server for, as verb, kind and name.
    async fn sent(&self) -> Vec<String> {
        let before = self.calls.lock().len();
        let _ = self.controller.reconcile(&key()).await;
        let calls = self.calls.lock();
        let sent = calls.iter().skip(before);
        sent.map(|call| format!("{:?} {} {}", call.verb, call.kind, call.name)).collect()
    }

    /// Names of the budgets that there are.
    fn budgets(&self) -> Vec<String> {
        let name = |budget: &serde_json::Value| budget["metadata"]["name"].as_str().unwrap().to_owned();
        self.api.list(&Kind::BUDGET).iter().map(|budget| name(budget)).collect()
    }
}

fn key() -> Key {
    Key::new("n", "f")
}

fn pass(_: &Call) -> Verdict {
    Verdict::Pass
}

#[tokio::test(start_paused = true)]
async fn wanted_budgets_are_made_and_an_unknown_fleet_keeps_its_budgets() {
    let bench = bench(pass);
    assert_eq!(bench.sent().await, Vec::<String>::new());
    bench.protect(&["g", "h"]);
    assert_eq!(bench.index.budget_queue.depth(), 1, "it has the budgets looked at");
    assert_eq!(bench.sent().await, ["Create PodDisruptionBudget g", "Create PodDisruptionBudget h"]);
    assert_eq!(bench.sent().await, Vec::<String>::new());
    bench.protect(&["h"]);
    assert_eq!(bench.sent().await, ["Delete PodDisruptionBudget g"]);
    assert_eq!(bench.budgets(), ["h"]);
    bench.index.unprotect(&key());
    assert_eq!(bench.sent().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_budget_has_its_fleets_budgets_looked_at_and_not_the_fleet() {
    let bench = bench(pass);
    bench.protect(&["g"]);
    bench.sent().await;
    while bench.index.fleet_queue.depth() > 0 {
        let fleet = bench.index.fleet_queue.next(rayfleet_runtime::clock::monotonic).await;
        bench.index.fleet_queue.done(&fleet, rayfleet_runtime::queue::Ended::Done(None));
    }
    let budgets = bench.index.read(|store| store.budgets.keys().cloned().collect::<Vec<_>>());
    bench.api.remove(&Kind::BUDGET, "n", "g").unwrap();
    bench.index.gone::<k8s_openapi::api::policy::v1::PodDisruptionBudget>(&budgets[0]);
    assert_eq!((bench.index.fleet_queue.depth(), bench.index.budget_queue.depth()), (0, 1));
    assert_eq!(bench.sent().await, ["Create PodDisruptionBudget g"]);
}

/// The passes over fleets may begin before this controller takes anything.
#[tokio::test]
async fn what_was_asked_for_before_this_replica_led_is_looked_at() {
    let bench = bench(pass);
    bench.index.budget_queue.close();
    bench.protect(&["llama-pods1-0"]);
    assert_eq!(bench.index.budget_queue.depth(), 0);
    bench.index.budget_queue.open();
    BudgetReconciler::new(bench.index.clone(), bench.executor.clone()).leads();
    assert_eq!(bench.index.budget_queue.depth(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_is_reported_once_and_tried_again() {
    let refuses = Arc::new(AtomicBool::new(true));
    let switch = refuses.clone();
    let bench = bench(move |call| {
        if call.verb == Verb::Create && call.kind == Kind::BUDGET && switch.load(Ordering::Relaxed) {
            Verdict::Deny { code: 403, reason: "Forbidden", words: "no right to it" }
        } else {
            Verdict::Pass
        }
    });
    bench.protect(&["g"]);
    for _ in 0..3 {
        assert_eq!(bench.sent().await, ["Create PodDisruptionBudget g"]);
    }
    let events =
        tokio::time::timeout(std::time::Duration::from_secs(1), bench.executor.writer.clone().write_events());
    assert!(events.await.is_err());
    let events = bench.api.list(&Kind::EVENT);
    let reported: Vec<&str> = events.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(reported, ["BudgetFailed"]);
    refuses.store(false, Ordering::Relaxed);
    assert_eq!(bench.sent().await, ["Create PodDisruptionBudget g"]);
    assert_eq!(bench.sent().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_fleet_whose_groups_are_to_stay_leaves_their_budgets_alone() {
    for (finalizers, touched) in
        [(vec![names::FINALIZER], true), (vec![names::FINALIZER, "orphan"], false), (vec![], false)]
    {
        let bench = bench(pass);
        bench.protect(&["g"]);
        let mut fleet = bench.fleet.clone();
        fleet.metadata.resource_version = Some("99".to_owned());
        fleet.metadata.deletion_timestamp = Some(Time(rayfleet_runtime::clock::now()));
        fleet.metadata.finalizers =
            Some(finalizers.iter().map(|finalizer| (*finalizer).to_owned()).collect());
        bench.index.apply(fleet);
        assert_eq!(!bench.sent().await.is_empty(), touched, "{finalizers:?}");
    }
}
