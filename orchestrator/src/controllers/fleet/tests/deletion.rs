//! Fleets that are deleted, also while AIBrix's CRD is in the place of ours.

use std::sync::atomic::{AtomicBool, Ordering};

use rayfleet_api::valid::after;

use super::foreign_crd::{crd, pruned};
use super::*;

/// A fleet at rest under our CRD, then deleted as it is shown under AIBrix's.
async fn deleted_under(started: &str, edit: impl FnOnce(&mut Value)) -> (Bench, Arc<AtomicBool>) {
    let ours = Arc::new(AtomicBool::new(true));
    let bench = bench(crd(ours.clone()));
    bench.at_rest().await;
    ours.store(false, Ordering::SeqCst);
    let mut shown = pruned(bench.stored());
    shown["metadata"]["deletionTimestamp"] = json!(started);
    shown["metadata"]["resourceVersion"] = json!("99");
    edit(&mut shown);
    bench.show(shown);
    (bench, ours)
}

fn finalizers(bench: &Bench) -> Option<Value> {
    let calls = bench.server.calls().into_iter();
    let mut patches = calls.filter(|call| named(call) == "PATCH rayclusterfleets/f");
    patches.next_back().map(|patch| patch.body["metadata"]["finalizers"].clone())
}

fn a_moment_ago() -> String {
    clock::now().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_fleet_deleted_under_a_foreign_crd_is_kept_and_not_written_while_it_may_drain() {
    let (bench, _) = deleted_under(&a_moment_ago(), |_| {}).await;
    for _ in 0..3 {
        let sent = bench.sent().await;
        let harmless = |call: &String| {
            call.starts_with("GET") || call.ends_with("as a trial") || call.contains("events")
        };
        assert!(sent.iter().all(harmless), "{sent:#?}");
    }
    let wake = bench.pass().await.unwrap();
    assert!(wake.is_some(), "it is looked at again");
    assert_eq!(finalizers(&bench), None);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_deleted_under_a_foreign_crd_goes_when_its_time_is_over() {
    let (bench, _) = deleted_under("2020-01-01T00:00:00Z", |_| {}).await;
    bench.pass().await.unwrap();
    assert_eq!(finalizers(&bench), Some(json!([])));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_deleted_under_a_foreign_crd_that_is_not_to_drain_goes_at_once() {
    for edit in [
        |fleet: &mut Value| fleet["metadata"]["annotations"] = json!({names::ANNOTATION_SKIP_DRAIN: "true"}),
        |fleet: &mut Value| fleet["metadata"]["finalizers"] = json!(["rayfleet.io/drain", "orphan"]),
    ] {
        let (bench, _) = deleted_under(&a_moment_ago(), edit).await;
        bench.pass().await.unwrap();
        assert!(finalizers(&bench).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_deleted_under_a_foreign_crd_is_drained_by_its_ledger_once_ours_is_back() {
    let (bench, ours) = deleted_under(&a_moment_ago(), |_| {}).await;
    bench.pass().await.unwrap();
    ours.store(true, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(10)).await;
    let sent = bench.sent().await;
    assert!(sent.contains(&"PUT rayclusterfleets/f/status".to_owned()), "{sent:#?}");
    let goals: Vec<_> = bench.status().groups.into_iter().map(|group| group.goal).collect();
    assert_eq!(goals, [rayfleet_api::status::Goal::Retire; 2]);
    assert_eq!(finalizers(&bench), None);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_fleet_whose_groups_are_gone_goes_at_once() {
    clock::simulate(clock::now());
    let bench = bench(willing);
    bench.at_rest().await;
    let mut deleted = bench.stored();
    deleted["metadata"]["deletionTimestamp"] = json!(a_moment_ago());
    deleted["metadata"]["resourceVersion"] = json!("99");
    bench.show(deleted);
    bench.pass().await.unwrap();
    let index = &bench.controller.index;
    let clusters: Vec<_> = index.read(|known| known.clusters.keys().cloned().collect());
    assert_eq!(clusters.len(), 2);
    for cluster in &clusters {
        index.gone::<DynamicObject>(cluster);
    }
    index.reset(Vec::<Pod>::new());
    // Nothing happens to it any more: it is looked at when it asked to be.
    let minute = after(clock::now(), Duration::from_mins(1));
    while let Some(wake) = bench.pass().await.unwrap().filter(|wake| *wake < minute) {
        tokio::time::advance(wake.duration_since(clock::now()).unsigned_abs()).await;
    }
    assert_eq!(finalizers(&bench), Some(json!([])), "not only when the time to drain is over");
}
