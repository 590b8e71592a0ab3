//! AIBrix's controller beside Rayfleet's, and what it left.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::super::foreign_control::AGAIN;
use super::foreign_crd::SETS;
use super::*;

/// A RayClusterReplicaSet of the fleet and one RayCluster of it, as AIBrix leaves them.
fn aibrix(created: &'static str) -> impl Fn(&Call) -> Answer + Send + Sync + 'static {
    let owner = |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
    let set = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterReplicaSet",
        "metadata": {
            "name": "f-bcd", "namespace": "n", "uid": "u-set", "creationTimestamp": created,
            "ownerReferences": owner("RayClusterFleet", "f", "u-1")
        },
        "spec": {"template": raw_fleet().spec.template}
    });
    let cluster = |name: &str| {
        json!({
            "apiVersion": "ray.io/v1", "kind": "RayCluster",
            "metadata": {
                "name": name, "namespace": "n", "uid": format!("u-{name}"), "resourceVersion": "5",
                "creationTimestamp": "2030-01-01T00:00:00Z",
                "ownerReferences": owner("RayClusterReplicaSet", "f-bcd", "u-set")
            },
            "spec": raw_fleet().spec.template.spec
        })
    };
    let clusters = [cluster("f-bcd-x1"), cluster("f-bcd-x2")];
    let list = |items: &[Value]| json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
    let gone = AtomicBool::new(false);
    move |call| {
        let path = call.path.split('?').next().unwrap_or_default();
        match call.method {
            Method::GET if path.ends_with("/rayclusterreplicasets") => {
                let there = if gone.load(Ordering::SeqCst) { vec![] } else { vec![set.clone()] };
                Answer::Reply(200, list(&there))
            }
            Method::GET if path.ends_with("/rayclusters") => Answer::Reply(200, list(&clusters)),
            Method::PATCH if path.contains("/rayclusters/") => {
                let found = clusters
                    .iter()
                    .find(|cluster| path.ends_with(cluster["metadata"]["name"].as_str().unwrap()));
                let mut taken = found.unwrap().clone();
                taken["metadata"]
                    .as_object_mut()
                    .unwrap()
                    .extend(call.body["metadata"].as_object().unwrap().clone());
                Answer::Reply(200, taken)
            }
            Method::DELETE => {
                gone.store(true, Ordering::SeqCst);
                Answer::Reply(200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
            _ => willing(call),
        }
    }
}

fn consenting() -> RayClusterFleet {
    let mut fleet = raw_fleet();
    fleet.metadata.annotations = Some([("rayfleet.io/take-over".to_owned(), "true".to_owned())].into());
    fleet.metadata.generation = Some(4);
    fleet.metadata.resource_version = Some("99".to_owned());
    fleet
}

#[tokio::test(start_paused = true)]
async fn a_fleet_of_aibrix_is_held_with_a_cure() {
    let bench = bench(aibrix("2029-12-31T00:00:00Z"));
    let sent = bench.sent().await;
    assert_eq!(sent.first().map(String::as_str), Some(SETS), "{sent:#?}");
    let condition = bench.status().conditions.remove(0);
    assert_eq!((&*condition.type_, &*condition.reason), ("Stalled", "OwnedByAIBrix"));
    assert!(condition.message.contains("kubectl annotate rayclusterfleet f rayfleet.io/take-over=true"));
    for _ in 0..20 {
        assert_eq!(bench.sent().await, Vec::<String>::new());
    }
    let all: Vec<String> = bench.server.calls().iter().map(named).collect();
    assert!(all.iter().all(|call| !call.contains("rayclusters")), "{all:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_take_over_that_fails_is_tried_again_and_nothing_is_made_meanwhile() {
    let (aibrix, failed) = (aibrix("2029-12-31T00:00:00Z"), AtomicBool::new(false));
    let bench = bench(move |call| {
        let is_patch = call.method == Method::PATCH && call.path.contains("/rayclusters/");
        if is_patch && !failed.swap(true, Ordering::SeqCst) {
            return refusal(500, "InternalError", "etcd is slow");
        }
        aibrix(call)
    });
    bench.list(consenting());
    assert!(bench.pass().await.is_err());
    let sent = bench.sent().await;
    assert!(sent.iter().any(|call| call == "PATCH rayclusters/f-bcd-x1"), "{sent:#?}");
    let all: Vec<String> = bench.server.calls().iter().map(named).collect();
    assert!(all.iter().all(|call| call != "POST rayclusters"), "{all:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_was_missing_for_another_fleet_is_asked_for_again() {
    let bench = bench(willing);
    bench.controller.executor.replica_sets(&raw_fleet(), false).await.unwrap();
    let asks = |sent: Vec<String>| sent.iter().filter(|call| *call == SETS).count();
    assert_eq!(asks(bench.sent().await), 0, "that it is missing was just asked");
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(asks(bench.sent().await), 1);
    assert_eq!(asks(bench.sent().await), 0);
}

#[tokio::test(start_paused = true)]
async fn what_aibrix_made_since_its_kind_was_missing_is_found_before_a_change_is_acted_on() {
    let there = Arc::new(AtomicBool::new(false));
    let (aibrix, is_there) = (aibrix("2029-12-31T00:00:00Z"), there.clone());
    let bench = bench(move |call| if is_there.load(Ordering::SeqCst) { aibrix(call) } else { willing(call) });
    // For another fleet.
    bench.controller.executor.replica_sets(&raw_fleet(), false).await.unwrap();
    let mut without = raw_fleet();
    without.spec.replicas = Some(0);
    bench.list(without);
    for _ in 0..3 {
        assert!(!bench.sent().await.contains(&SETS.to_owned()), "the answer is shared");
    }
    let mut fleet = bench.stored();
    there.store(true, Ordering::SeqCst);
    fleet["spec"]["replicas"] = json!(1);
    fleet["metadata"]["generation"] = json!(9);
    bench.show(fleet);
    let sent = bench.sent().await;
    assert_eq!(sent.first().map(String::as_str), Some(SETS), "{sent:#?}");
    assert!(sent.iter().all(|call| call != "POST rayclusters"), "{sent:#?}");
}

/// AIBrix may have been installed since another fleet asked, and have acted on this one.
#[tokio::test(start_paused = true)]
async fn a_fleet_with_a_status_shares_no_answer() {
    let mut older = raw_fleet();
    older.status = Some(RayClusterFleetStatus::default());
    let read = json!(older);
    let bench = bench(move |call| match (&call.method, call.path.ends_with("/rayclusterfleets/f")) {
        (&Method::GET, true) => Answer::Reply(200, read.clone()),
        _ => willing(call),
    });
    bench.controller.executor.replica_sets(&raw_fleet(), false).await.unwrap();
    bench.list(older);
    let sent = bench.sent().await;
    assert!(sent.contains(&SETS.to_owned()), "{sent:#?}");
}

#[tokio::test(start_paused = true)]
async fn groups_of_aibrix_are_taken_over_and_none_is_made() {
    let bench = bench(aibrix("2029-12-31T00:00:00Z"));
    bench.pass().await.unwrap();
    bench.controller.index.apply(consenting());
    let sent = bench.sent().await;
    let steps =
        ["PATCH rayclusters/f-bcd-x1", "PATCH rayclusters/f-bcd-x2", "DELETE rayclusterreplicasets/f-bcd"];
    let taken: Vec<&String> = sent.iter().filter(|call| steps.contains(&call.as_str())).collect();
    assert_eq!(taken, steps, "{sent:#?}");
    let deleted = bench.server.calls().into_iter().find(|call| call.method == Method::DELETE).unwrap();
    assert_eq!(deleted.body["propagationPolicy"], "Orphan");
    assert_eq!(deleted.body["preconditions"]["uid"], "u-set");
    let revision = crate::fixtures::fleet().revision.pod;
    let groups: Vec<_> =
        bench.status().groups.into_iter().map(|group| (group.name, group.slot, group.revision)).collect();
    let expected = ["f-bcd-x1", "f-bcd-x2"].map(Into::into).into_iter().zip([0, 1]);
    assert_eq!(groups, expected.map(|(name, slot)| (name, slot, revision.clone())).collect::<Vec<_>>());
    let all: Vec<String> = bench.server.calls().iter().map(named).collect();
    assert!(!all.contains(&"POST rayclusters".to_owned()), "{all:#?}");
}

/// A RayCluster of the fleet that Rayfleet made.
fn ours() -> DynamicObject {
    let mut ours: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster",
        "metadata": {
            "name": "f-abc-0", "namespace": "n", "uid": "u-0", "creationTimestamp": "2030-01-01T00:00:00Z",
            "ownerReferences": [crate::fixtures::owner("f", "u-1")]
        }
    }))
    .unwrap();
    ours.data = json!({"spec": raw_fleet().spec.template.spec});
    ours
}

#[tokio::test(start_paused = true)]
async fn clusters_of_aibrix_beside_groups_of_ours_are_not_taken_over() {
    let bench = bench(aibrix("2030-01-02T00:00:00Z"));
    bench.controller.index.apply(ours());
    bench.controller.index.apply(consenting());
    bench.pass().await.unwrap();
    let all: Vec<String> = bench.server.calls().iter().map(named).collect();
    assert!(all.iter().all(|call| !call.starts_with("PATCH") && !call.starts_with("DELETE")), "{all:#?}");
    assert!(bench.status().conditions[0].message.contains("still at work"));
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_being_deleted_is_no_sign_of_a_controller_at_work() {
    let aibrix = aibrix("2030-01-02T00:00:00Z");
    let bench = bench(move |call| match aibrix(call) {
        Answer::Reply(200, mut list) if named(call) == SETS => {
            list["items"][0]["metadata"]["deletionTimestamp"] = json!("2030-01-02T00:00:00Z");
            Answer::Reply(200, list)
        }
        other => other,
    });
    bench.controller.index.apply(ours());
    bench.controller.index.apply(consenting());
    let sent = bench.sent().await;
    assert!(sent.contains(&"PATCH rayclusters/f-bcd-x1".to_owned()), "{sent:#?}");
}

/// What the API server answers about AIBrix.
#[derive(Clone, Copy, PartialEq)]
enum Sets {
    NoKind,
    There,
    Refused(u16),
}

/// A fleet at rest, and the answer about AIBrix, which a test changes.
async fn at_rest_beside(sets: &Arc<Mutex<Sets>>) -> Bench {
    let (aibrix, sets) = (aibrix("2030-01-02T00:00:00Z"), sets.clone());
    let bench = bench(move |call| match *sets.lock() {
        _ if named(call) != SETS => willing(call),
        Sets::NoKind => willing(call),
        Sets::There => aibrix(call),
        Sets::Refused(code) => refusal(code, "InternalError", "etcd is slow"),
    });
    bench.at_rest().await;
    bench
}

impl Bench {
    /// Its user asks for so many groups.
    fn scale(&self, replicas: i32) {
        let mut fleet = self.stored();
        fleet["metadata"]["generation"] = json!(fleet["metadata"]["generation"].as_i64().unwrap_or(1) + 1);
        fleet["spec"]["replicas"] = json!(replicas);
        self.show(fleet);
    }
}

const MADE: &str = "POST rayclusters";

#[tokio::test(start_paused = true)]
async fn a_fleet_of_aibrix_stays_held_while_its_sets_cannot_be_listed() {
    for code in [500, 403] {
        let sets = Arc::new(Mutex::new(Sets::NoKind));
        let bench = at_rest_beside(&sets).await;
        *sets.lock() = Sets::There;
        bench.scale(3);
        bench.pass().await.unwrap();
        assert_eq!(bench.condition("Stalled").as_deref(), Some("True/OwnedByAIBrix"));
        *sets.lock() = Sets::Refused(code);
        for replicas in [4, 5] {
            tokio::time::advance(Duration::from_secs(10)).await;
            bench.scale(replicas);
            let sent = bench.sent().await;
            assert!(sent.contains(&SETS.to_owned()) && !sent.contains(&MADE.to_owned()), "{code}: {sent:#?}");
        }
        *sets.lock() = Sets::NoKind;
        tokio::time::advance(Duration::from_secs(10)).await;
        let sent = bench.sent().await;
        assert!(sent.contains(&MADE.to_owned()), "{code}: {sent:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn sets_that_could_not_be_listed_are_asked_for_again() {
    let sets = Arc::new(Mutex::new(Sets::NoKind));
    let bench = at_rest_beside(&sets).await;
    *sets.lock() = Sets::Refused(500);
    bench.scale(3);
    let wake = bench.pass().await.unwrap().expect("it is asked again");
    assert!(wake.duration_since(clock::now()) <= AGAIN.try_into().unwrap(), "{wake}");
    assert!(!bench.sent().await.contains(&SETS.to_owned()), "not yet");
    *sets.lock() = Sets::There;
    tokio::time::advance(Duration::from_secs(10)).await;
    bench.pass().await.unwrap();
    assert_eq!(bench.condition("Stalled").as_deref(), Some("True/OwnedByAIBrix"));
}

#[tokio::test(start_paused = true)]
async fn a_shared_answer_does_not_outlast_a_conflict() {
    let (mut older, first) = (raw_fleet(), AtomicBool::new(true));
    older.status = Some(RayClusterFleetStatus::default());
    let read = json!(older);
    let bench = bench(move |call| match named(call).as_str() {
        "GET rayclusterfleets/f" => Answer::Reply(200, read.clone()),
        "PUT rayclusterfleets/f/status" if first.swap(false, Ordering::SeqCst) => {
            refusal(409, "Conflict", "it was written meanwhile")
        }
        _ => willing(call),
    });
    bench.controller.executor.replica_sets(&raw_fleet(), false).await.unwrap();
    bench.list(raw_fleet());
    assert!(bench.pass().await.unwrap_err().is_conflict());
    let sent = bench.sent().await;
    assert!(sent.contains(&SETS.to_owned()), "{sent:#?}");
}
