//! AIBrix's CRD over ours, and AIBrix's controller or what it left.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A server whose CRD is ours for as long as it is said to be.
fn crd(ours: Arc<AtomicBool>) -> impl Fn(&Call) -> Answer + Send + Sync + 'static {
    move |call| {
        let Answer::Reply(code, mut body) = willing(call) else { return Answer::Silence };
        if !ours.load(Ordering::SeqCst) && body["kind"] == "RayClusterFleet" {
            body = pruned(body);
        }
        Answer::Reply(code, body)
    }
}

fn pruned(mut fleet: Value) -> Value {
    for (section, field) in [("spec", "model"), ("status", "groups")] {
        if let Some(section) = fleet[section].as_object_mut() {
            section.remove(field);
        }
    }
    fleet
}

impl Bench {
    fn stored(&self) -> Value {
        json!(*self.controller.index.read(|known| known.fleets[&key()].clone()))
    }

    fn show(&self, fleet: Value) {
        self.controller.index.apply(serde_json::from_value::<RayClusterFleet>(fleet).unwrap());
    }

    async fn at_rest(&self) {
        for _ in 0..5 {
            self.pass().await.unwrap();
        }
        assert_eq!(self.sent().await, Vec::<String>::new());
    }
}

const TRIAL: &str = "PUT rayclusterfleets/f/status as a trial";
const SETS: &str = "GET rayclusterreplicasets";

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

#[tokio::test(start_paused = true)]
async fn nothing_is_made_from_a_ledger_that_was_not_kept() {
    let bench = bench(crd(Arc::default()));
    let error = bench.pass().await.unwrap_err();
    assert!(matches!(error, WriteError::Dropped(_)), "{error}");
    for _ in 0..20 {
        bench.pass().await.unwrap();
    }
    let sent: Vec<String> = bench.server.calls().iter().map(named).collect();
    assert!(!sent.contains(&"POST rayclusters".to_owned()), "{sent:#?}");
    assert_eq!(sent.iter().filter(|call| *call == "PUT rayclusterfleets/f/status").count(), 1, "{sent:#?}");
}

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
async fn a_fleet_of_aibrix_is_held_and_told_how_to_go_on() {
    let bench = bench(aibrix("2029-12-31T00:00:00Z"));
    let sent = bench.sent().await;
    assert_eq!(sent[..2], ["GET rayclusterfleets/f", SETS], "{sent:#?}");
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
    let expected = ["f-bcd-x1", "f-bcd-x2"].map(str::to_owned).into_iter().zip([0, 1]);
    assert_eq!(groups, expected.map(|(name, slot)| (name, slot, revision.clone())).collect::<Vec<_>>());
    let all: Vec<String> = bench.server.calls().iter().map(named).collect();
    assert!(!all.contains(&"POST rayclusters".to_owned()), "{all:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_aibrix_makes_beside_groups_of_ours_is_not_taken_over() {
    let bench = bench(aibrix("2030-01-02T00:00:00Z"));
    let mut ours: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster",
        "metadata": {
            "name": "f-abc-0", "namespace": "n", "uid": "u-0", "creationTimestamp": "2030-01-01T00:00:00Z",
            "ownerReferences": [crate::fixtures::owner("f", "u-1")]
        }
    }))
    .unwrap();
    ours.data = json!({"spec": raw_fleet().spec.template.spec});
    bench.controller.index.apply(ours);
    bench.controller.index.apply(consenting());
    bench.pass().await.unwrap();
    let all: Vec<String> = bench.server.calls().iter().map(named).collect();
    assert!(all.iter().all(|call| !call.starts_with("PATCH") && !call.starts_with("DELETE")), "{all:#?}");
    assert!(bench.status().conditions[0].message.contains("still at work"));
}
