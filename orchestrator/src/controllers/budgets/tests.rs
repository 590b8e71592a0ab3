//! Passes over the budgets of a fleet, against an API server that takes what it is given, or does not.

use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rayfleet_runtime::testing::{Answer, Call, Fake, refusal};
use rayfleet_runtime::{Controller, Leadership};
use tokio::sync::watch;

use super::*;
use crate::fixtures::{fleet, raw_fleet};
use crate::kubernetes::Protected;
use crate::metrics::Metrics;

struct Bench {
    index: Arc<Index>,
    executor: Executor,
    controller: Arc<Controller<BudgetReconciler>>,
    server: Fake,
    _lease: watch::Sender<Option<std::time::Instant>>,
}

fn bench(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Bench {
    let (leadership, lease) = Leadership::always();
    let (server, index, metrics) = (Fake::new(answer), Arc::new(Index::default()), Metrics::new());
    index.apply(raw_fleet());
    let executor = Executor::new(server.client(), index.clone(), leadership, &metrics);
    let budgets = BudgetReconciler::new(index.clone(), executor.clone());
    let controller = Controller::new(budgets, metrics.runtime);
    Bench { index, executor, controller, server, _lease: lease }
}

impl Bench {
    fn protect(&self, groups: &[&str]) {
        let groups = groups.iter().map(|name| ((*name).into(), 2)).collect();
        self.index.protect(&key(), Protected { fleet: Arc::new(fleet()), groups });
    }

    /// What a pass sends, as method and resource.
    async fn sent(&self) -> Vec<String> {
        let before = self.server.calls().len();
        let _ = self.controller.reconcile(&key()).await;
        let named = |call: &Call| {
            let path = call.path.split('?').next().unwrap_or_default();
            format!("{} {}", call.method, path.split("/namespaces/n/").nth(1).unwrap_or(path))
        };
        self.server.calls().iter().skip(before).map(named).collect()
    }
}

fn key() -> Key {
    Key::new("n", "f")
}

fn willing(call: &Call) -> Answer {
    Answer::Reply(200, call.body.clone())
}

#[tokio::test(start_paused = true)]
async fn what_a_fleet_asks_for_is_made_and_a_fleet_of_which_nothing_is_known_keeps_what_it_has() {
    let bench = bench(willing);
    assert_eq!(bench.sent().await, Vec::<String>::new());
    bench.protect(&["g", "h"]);
    assert_eq!(bench.index.budget_queue.depth(), 1, "it has the budgets looked at");
    assert_eq!(bench.sent().await, ["POST poddisruptionbudgets", "POST poddisruptionbudgets"]);
    assert_eq!(bench.sent().await, Vec::<String>::new());
    bench.protect(&["h"]);
    assert_eq!(bench.sent().await, ["DELETE poddisruptionbudgets/g"]);
    bench.index.unprotect(&key());
    assert_eq!(bench.sent().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_budget_has_its_fleets_budgets_looked_at_and_not_the_fleet() {
    let bench = bench(willing);
    bench.protect(&["g"]);
    bench.sent().await;
    while bench.index.fleet_queue.depth() > 0 {
        let fleet = bench.index.fleet_queue.next(rayfleet_runtime::clock::monotonic).await;
        bench.index.fleet_queue.done(&fleet, Ok(None));
    }
    let budgets = bench.index.read(|store| store.budgets.keys().cloned().collect::<Vec<_>>());
    bench.index.gone::<k8s_openapi::api::policy::v1::PodDisruptionBudget>(&budgets[0]);
    assert_eq!((bench.index.fleet_queue.depth(), bench.index.budget_queue.depth()), (0, 1));
    assert_eq!(bench.sent().await, ["POST poddisruptionbudgets"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_is_reported_once_and_tried_again() {
    let refuses = Arc::new(AtomicBool::new(true));
    let switch = refuses.clone();
    let bench = bench(move |call| match call.method {
        Method::POST if call.path.contains("/poddisruptionbudgets") && switch.load(Ordering::Relaxed) => {
            refusal(403, "Forbidden", "no right to it")
        }
        _ => willing(call),
    });
    bench.protect(&["g"]);
    for _ in 0..3 {
        assert_eq!(bench.sent().await, ["POST poddisruptionbudgets"]);
    }
    let events =
        tokio::time::timeout(std::time::Duration::from_secs(1), bench.executor.clone().write_events());
    assert!(events.await.is_err());
    let reported = bench.server.calls().into_iter().filter(|call| call.path.contains("/events"));
    let reported: Vec<String> =
        reported.map(|call| call.body["reason"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(reported, ["BudgetFailed"]);
    refuses.store(false, Ordering::Relaxed);
    assert_eq!(bench.sent().await, ["POST poddisruptionbudgets"]);
    assert_eq!(bench.sent().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_fleet_whose_groups_are_to_stay_leaves_their_budgets_alone() {
    for (finalizers, touched) in
        [(vec![names::FINALIZER], true), (vec![names::FINALIZER, "orphan"], false), (vec![], false)]
    {
        let bench = bench(willing);
        bench.protect(&["g"]);
        let mut fleet = raw_fleet();
        fleet.metadata.resource_version = Some("99".to_owned());
        fleet.metadata.deletion_timestamp = Some(Time(rayfleet_runtime::clock::now()));
        fleet.metadata.finalizers =
            Some(finalizers.iter().map(|finalizer| (*finalizer).to_owned()).collect());
        bench.index.apply(fleet);
        assert_eq!(!bench.sent().await.is_empty(), touched, "{finalizers:?}");
    }
}
