//! AIBrix's CRD over ours.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A server whose CRD is ours for as long as it is said to be.
pub(super) fn crd(ours: Arc<AtomicBool>) -> impl Fn(&Call) -> Answer + Send + Sync + 'static {
    move |call| {
        let Answer::Reply(code, mut body) = willing(call) else { return Answer::Silence };
        if !ours.load(Ordering::SeqCst) && body["kind"] == "RayClusterFleet" {
            body = pruned(body);
        }
        Answer::Reply(code, body)
    }
}

pub(super) fn pruned(mut fleet: Value) -> Value {
    for (section, field) in [("spec", "model"), ("status", "groups")] {
        if let Some(section) = fleet[section].as_object_mut() {
            section.remove(field);
        }
    }
    fleet
}

impl Bench {
    pub(super) fn stored(&self) -> Value {
        json!(*self.controller.index.read(|known| known.fleets[&key()].clone()))
    }

    pub(super) fn show(&self, fleet: Value) {
        self.controller.index.apply(serde_json::from_value::<RayClusterFleet>(fleet).unwrap());
    }

    pub(super) async fn at_rest(&self) {
        for _ in 0..5 {
            self.pass().await.unwrap();
        }
        assert_eq!(self.sent().await, Vec::<String>::new());
    }
}

pub(super) const TRIAL: &str = "PUT rayclusterfleets/f/status as a trial";
pub(super) const SETS: &str = "GET rayclusterreplicasets";

#[tokio::test(start_paused = true)]
async fn a_fleet_that_a_foreign_crd_shows_without_its_ledger_is_not_written() {
    let ours = Arc::new(AtomicBool::new(true));
    let bench = bench(crd(ours.clone()));
    bench.at_rest().await;
    let whole = bench.stored();
    ours.store(false, Ordering::SeqCst);
    bench.show(pruned(whole.clone()));
    let sent = bench.sent().await;
    assert_eq!(sent[..2], [SETS, TRIAL], "{sent:#?}");
    assert!(sent[2..].iter().all(|call| call.contains("events")), "{sent:#?}");
    for _ in 0..50 {
        assert_eq!(bench.sent().await, Vec::<String>::new());
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(bench.sent().await, [SETS, TRIAL]);
    // Nobody wrote it meanwhile, so it is whole again.
    ours.store(true, Ordering::SeqCst);
    bench.show(whole);
    tokio::time::advance(Duration::from_secs(10)).await;
    let sent = bench.sent().await;
    assert!(sent.iter().all(|call| !call.contains("rayclusters")), "{sent:#?}");
    assert_eq!(bench.status().groups.len(), 2);
    bench.at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_somebody_dropped_is_written_again_and_no_group_is_made() {
    let bench = bench(willing);
    bench.at_rest().await;
    let mut without = bench.stored();
    without["status"].as_object_mut().unwrap().remove("groups");
    bench.show(without);
    let sent = bench.sent().await;
    assert_eq!(sent[..3], [SETS, TRIAL, "PUT rayclusterfleets/f/status"], "{sent:#?}");
    assert_eq!(bench.status().groups.len(), 2);
    assert!(sent.iter().all(|call| !call.starts_with("POST rayclusters")), "{sent:#?}");
    bench.at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_lost_its_model_waits_for_its_manifest() {
    let ours = Arc::new(AtomicBool::new(true));
    let bench = bench(crd(ours.clone()));
    bench.at_rest().await;
    let whole = bench.stored();
    ours.store(false, Ordering::SeqCst);
    bench.show(pruned(whole.clone()));
    bench.pass().await.unwrap();
    // Somebody wrote it meanwhile; then the CRD was ours again.
    ours.store(true, Ordering::SeqCst);
    for wait in [10, 10, 60] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        let sent = bench.sent().await;
        assert!(
            sent.iter().all(|call| call.starts_with("GET") || call == TRIAL || call.contains("events")),
            "{sent:#?}"
        );
    }
    let mut again = whole;
    again["metadata"]["generation"] = json!(4);
    again["status"].as_object_mut().unwrap().remove("groups");
    bench.show(again);
    let sent = bench.sent().await;
    assert!(sent.contains(&"PUT rayclusterfleets/f/status".to_owned()), "{sent:#?}");
    assert!(
        sent.iter().all(|call| !call.starts_with("POST rayclusters") && !call.starts_with("DELETE")),
        "{sent:#?}"
    );
    assert_eq!(bench.status().groups.len(), 2);
}

/// A pod of a group as KubeRay makes it, that serves if it is the head.
fn pod_of(group: &GroupStatus, head: bool) -> Pod {
    let kind = if head { "head" } else { "worker" };
    let launch = rayfleet_api::LaunchId { number: 1, ..group.launch_id() }.to_string();
    object(&json!({
        "metadata": {
            "name": format!("{}-{kind}", group.name), "namespace": "n", "uid": format!("{}-{kind}", group.name),
            "ownerReferences": [{"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": group.name, "uid": format!("made-{}", group.name),
                                 "controller": true}],
            "labels": {names::LABEL_FLEET: "f", names::LABEL_GROUP: group.name, "ray.io/cluster": group.name, "ray.io/node-type": kind},
            "annotations": {names::ANNOTATION_OPENED_FOR: launch}
        },
        "spec": {"nodeName": "a", "containers": []},
        "status": {"conditions": [
            {"type": "ContainersReady", "status": "True"},
            {"type": "rayfleet.io/serving", "status": if head { "True" } else { "False" }}
        ]}
    }))
}

/// A bench that starts under AIBrix's CRD, with two groups that serve.
fn starts_under(ours: Arc<AtomicBool>) -> (Bench, RayClusterFleet) {
    let revision = ValidFleet::new(&raw_fleet()).unwrap().revision;
    let whole = with_groups(raw_fleet(), &revision);
    let shown = pruned(json!(whole));
    let (stored, answer) = (shown.clone(), crd(ours));
    let bench = bench(move |call| match call.method {
        Method::GET if call.path.contains("/rayclusterfleets/") => Answer::Reply(200, stored.clone()),
        _ => answer(call),
    });
    bench.list(serde_json::from_value(shown).unwrap());
    let groups = &whole.status.as_ref().unwrap().groups;
    bench.controller.index.reset(clusters(&whole));
    bench.controller.index.reset(
        groups.iter().flat_map(|group| [pod_of(group, true), pod_of(group, false)]).collect::<Vec<_>>(),
    );
    bench.controller.index.reset(vec![record_of(&raw_fleet())]);
    (bench, whole)
}

fn only_looks(sent: &[String]) -> bool {
    sent.iter().all(|call| call.starts_with("GET") || call == TRIAL || call.contains("events"))
}

#[tokio::test(start_paused = true)]
async fn an_orchestrator_that_starts_under_a_foreign_crd_looks_after_the_gates() {
    let (bench, whole) = starts_under(Arc::new(AtomicBool::new(false)));
    for _ in 0..3 {
        let sent = bench.sent().await;
        assert!(only_looks(&sent), "{sent:#?}");
    }
    // A worker is gone: its engine is dead, and so is what the head answers with.
    let group = &whole.status.as_ref().unwrap().groups[1];
    bench.controller.index.delete(&pod_of(group, false));
    let mut sent = bench.sent().await;
    sent.retain(|call| !only_looks(std::slice::from_ref(call)));
    assert_eq!(sent, [format!("PATCH pods/{}-head/status", group.name)]);
}

#[tokio::test(start_paused = true)]
async fn an_orchestrator_that_starts_after_the_model_was_lost_waits_for_the_manifest() {
    let ours = Arc::new(AtomicBool::new(true));
    let (bench, whole) = starts_under(ours);
    for wait in [0, 10, 60] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        let sent = bench.sent().await;
        assert!(only_looks(&sent), "{sent:#?}");
    }
    let mut again = json!(whole);
    again["metadata"]["generation"] = json!(4);
    again["metadata"]["resourceVersion"] = json!("8");
    again["status"].as_object_mut().unwrap().remove("groups");
    bench.show(again);
    let mut sent = bench.sent().await;
    sent.extend(bench.sent().await);
    assert!(sent.contains(&"PUT rayclusterfleets/f/status".to_owned()), "{sent:#?}");
    let rolls = |call: &String| {
        call.starts_with("POST rayclusters") || call.starts_with("DELETE") || call.contains("pods")
    };
    assert!(!sent.iter().any(rolls), "{sent:#?}");
    let groups: Vec<_> =
        bench.status().groups.into_iter().map(|group| (group.engine_revision, group.launch)).collect();
    let engine = ValidFleet::new(&raw_fleet()).unwrap().revision.engine;
    assert_eq!(groups, [(engine.clone(), 1), (engine, 1)]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_from_a_ledger_that_was_not_kept() {
    let bench = bench(crd(Arc::default()));
    let error = bench.pass().await.unwrap_err();
    assert!(matches!(error, WriteError::Dropped(..)), "{error}");
    for _ in 0..20 {
        bench.pass().await.unwrap();
    }
    let sent: Vec<String> = bench.server.calls().iter().map(named).collect();
    assert!(!sent.contains(&"POST rayclusters".to_owned()), "{sent:#?}");
    assert_eq!(sent.iter().filter(|call| *call == "PUT rayclusterfleets/f/status").count(), 1, "{sent:#?}");
}
