//! The executor against a server that answers as the test says, in paused time.

use http::Method;
use k8s_openapi::api::core::v1::Service;
use rayfleet_api::names;
use rayfleet_api::status::GroupStatus;
use rayfleet_runtime::testing::{Answer, Call, Fake, refusal};
use serde_json::Value;
use tokio::sync::watch;

use super::service::same_service;
use super::*;
use crate::fixtures::{fleet, object, raw_fleet};
use crate::kubernetes::{GroupKey, build, route};

struct Bench {
    executor: Executor,
    server: Fake,
    index: Arc<Index>,
    _lease: watch::Sender<Option<std::time::Instant>>,
}

fn bench(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Bench {
    let (leadership, lease) = Leadership::always();
    let server = Fake::new(answer);
    let index = Arc::new(Index::default());
    let executor = Executor::new(server.client(), index.clone(), leadership, &Metrics::new());
    Bench { executor, server, index, _lease: lease }
}

/// A server that refuses every create as one of something that is there already, owned by `uid`.
fn taken_by(uid: &'static str) -> impl Fn(&Call) -> Answer + Send + Sync {
    move |call| match call.method {
        Method::POST => refusal(409, "AlreadyExists", "there is one"),
        Method::GET => Answer::Reply(200, owned(call, uid)),
        _ => Answer::Reply(200, call.body.clone()),
    }
}

fn owned(call: &Call, uid: &str) -> Value {
    let (kind, name) = if call.path.contains("services") { ("Service", "f") } else { ("RayCluster", "g") };
    let api_version = if kind == "Service" { "v1" } else { "ray.io/v1" };
    json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {
            "name": name, "namespace": "n", "uid": "u-9",
            "ownerReferences": [crate::fixtures::owner("f", uid)]
        }
    })
}

fn group() -> GroupStatus {
    GroupStatus { name: "g".into(), revision: "abc".into(), ..GroupStatus::default() }
}

fn key() -> GroupKey {
    Key::new("n", "g")
}

#[tokio::test(start_paused = true)]
async fn a_created_cluster_is_known_at_once() {
    let bench = bench(|call| Answer::Reply(201, call.body.clone()));
    bench.executor.create_cluster(&fleet(), &group(), None, true).await.unwrap();
    assert!(bench.index.read(|store| store.clusters.contains_key(&key())));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_cluster_is_known_to_end_or_to_be_gone_at_once() {
    type Answers = fn(&Call) -> Answer;
    let ending = |call: &Call| {
        let mut cluster = owned(call, "u-1");
        cluster["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
        Answer::Reply(200, cluster)
    };
    let done =
        |_: &Call| Answer::Reply(200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
    let absent = |_: &Call| refusal(404, "NotFound", "none");
    let changed = |_: &Call| refusal(409, "Conflict", "another version");
    let state = |bench: &Bench| {
        let cluster = bench.index.read(|store| store.clusters.get(&key()).cloned());
        cluster.map(|cluster| cluster.metadata.deletion_timestamp.is_some())
    };
    let cases: [(Answers, Option<bool>); 4] =
        [(ending, Some(true)), (done, None), (absent, None), (changed, Some(false))];
    for (answer, after) in cases {
        let bench = bench(move |call| match call.method {
            Method::POST => Answer::Reply(201, call.body.clone()),
            _ => answer(call),
        });
        bench.executor.create_cluster(&fleet(), &group(), None, true).await.unwrap();
        let deleted = bench.executor.delete_cluster(&key(), "u-9".into(), "7".into()).await;
        assert_eq!((state(&bench), deleted.is_err()), (after, after == Some(false)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_a_lost_answer_left_behind_is_ours() {
    let bench = bench(taken_by("u-1"));
    bench.executor.create_cluster(&fleet(), &group(), None, true).await.unwrap();
    assert!(bench.index.read(|store| store.clusters.contains_key(&key())));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_of_somebody_else_is_not_taken() {
    let bench = bench(taken_by("u-other"));
    let made = bench.executor.create_cluster(&fleet(), &group(), None, true).await.unwrap();
    assert_eq!(made, Made::Taken("of RayClusterFleet f".to_owned()));
    assert!(bench.index.read(|store| store.clusters.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_refused_cluster_says_why() {
    let bench = bench(|_| refusal(403, "Forbidden", "exceeded quota: gpus"));
    let error = bench.executor.create_cluster(&fleet(), &group(), None, true).await.unwrap_err();
    assert!(
        error.is_quota() && error.words().starts_with("exceeded quota: gpus: raise the quota"),
        "{}",
        error.words()
    );
}

#[tokio::test(start_paused = true)]
async fn a_template_is_tried_without_creating_anything() {
    let bench = bench(|call| Answer::Reply(201, call.body.clone()));
    bench.executor.try_cluster(&Trial::of(&fleet())).await.unwrap();
    assert!(bench.server.calls()[0].path.contains("dryRun=All"));
    assert!(bench.index.read(|store| store.clusters.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_field_that_kuberay_does_not_know_is_refused_and_not_dropped() {
    let words =
        "strict decoding error: unknown field \"spec.headGroupSpec.template.spec.containers[0].comand\"";
    let bench = bench(move |call| {
        let strict =
            call.path.ends_with("?fieldValidation=Strict") || call.path.ends_with("&fieldValidation=Strict");
        if strict { refusal(400, "BadRequest", words) } else { Answer::Reply(201, call.body.clone()) }
    });
    for outcome in [
        bench.executor.try_cluster(&Trial::of(&fleet())).await,
        bench.executor.create_cluster(&fleet(), &group(), None, true).await.map(drop),
    ] {
        assert_eq!(outcome.unwrap_err().about_the_object(), Some(words));
    }
    // What groups run is repaired as it was made.
    assert_eq!(bench.executor.create_cluster(&fleet(), &group(), None, false).await.unwrap(), Made::Ours);
}

#[tokio::test(start_paused = true)]
async fn deleting_what_is_gone_is_fine() {
    let bench = bench(|_| refusal(404, "NotFound", "gone"));
    bench.executor.delete_cluster(&key(), "u".into(), "5".into()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_the_cluster_that_was_seen_is_deleted() {
    let bench = bench(|_| refusal(409, "Conflict", "another uid"));
    let error = bench.executor.delete_cluster(&key(), "u".into(), "5".into()).await.unwrap_err();
    assert!(error.is_conflict());
    let sent = &bench.server.calls()[0].body;
    assert_eq!(sent["preconditions"], json!({"uid": "u", "resourceVersion": "5"}));
    assert_eq!(sent["propagationPolicy"], "Background");
}

async fn set_gate(bench: &Bench, open: bool) {
    let launch = "f-0.e.1".parse().unwrap();
    let gate = Gate { open, launch: &launch, reason: "Because" };
    bench.executor.set_gate(&Key::new("n", "p"), "u-p", gate).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_gate_is_set_for_the_pod_that_was_seen() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}});
    let bench = bench(move |_| Answer::Reply(200, pod.clone()));
    set_gate(&bench, true).await;
    let call = &bench.server.calls()[0];
    assert!(call.path.starts_with("/api/v1/namespaces/n/pods/p/status"), "{}", call.path);
    assert_eq!(call.body["metadata"]["uid"], "u-p");
    assert_eq!(call.body["metadata"]["annotations"]["rayfleet.io/opened-for"], "f-0.e.1");
    let condition = &call.body["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("rayfleet.io/serving"), &json!("True")));
}

#[tokio::test(start_paused = true)]
async fn a_gate_of_a_pod_that_is_gone_needs_no_setting() {
    let bench = bench(|_| refusal(404, "NotFound", "gone"));
    set_gate(&bench, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_written_status_is_known_at_once() {
    let bench = bench(|call| {
        let mut fleet = call.body.clone();
        fleet["metadata"]["resourceVersion"] = json!("8");
        Answer::Reply(200, fleet)
    });
    bench.index.apply(raw_fleet());
    let status = RayClusterFleetStatus { ready_replicas: 2, ..RayClusterFleetStatus::default() };
    bench.executor.write_status(&raw_fleet(), status).await.unwrap();
    assert_eq!(bench.server.calls()[0].body["metadata"]["resourceVersion"], "7");
    let store = bench.index.read(|store| store.fleets[&Key::<String>::new("n", "f")].clone());
    assert_eq!(store.status.as_ref().unwrap().ready_replicas, 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_an_object_that_the_watch_deleted_is_dropped() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}});
    let bench = bench(move |call| match call.method {
        Method::PATCH => Answer::Reply(200, pod.clone()),
        Method::DELETE => Answer::Reply(200, owned(call, "u-1")),
        _ => Answer::Reply(200, call.body.clone()),
    });
    set_gate(&bench, true).await;
    bench.executor.write_status(&raw_fleet(), RayClusterFleetStatus::default()).await.unwrap();
    bench.executor.delete_cluster(&key(), "u-9".into(), "7".into()).await.unwrap();
    assert!(bench.index.read(|store| {
        !store.has_pod(&Key::new("n", "p")) && store.fleets.is_empty() && store.clusters.is_empty()
    }));
}

#[tokio::test(start_paused = true)]
async fn a_service_of_somebody_else_is_left_alone_and_named() {
    let bench = bench(taken_by("u-other"));
    let foreign = bench.executor.ensure_service(&fleet(), &[], Some(8000)).await.unwrap();
    assert_eq!(foreign, Made::Taken("of RayClusterFleet f".to_owned()));
    assert!(bench.server.calls().iter().all(|call| call.method != Method::PATCH));
}

#[tokio::test(start_paused = true)]
async fn a_service_of_ours_is_put_right_once() {
    let bench = bench(|call| match call.method {
        Method::PATCH => {
            let mut service = json!(build::service(&fleet(), route::ports(8000, &[], None)));
            service["spec"] = call.body["spec"].clone();
            Answer::Reply(200, service)
        }
        _ => taken_by("u-1")(call),
    });
    assert_eq!(bench.executor.ensure_service(&fleet(), &[], Some(8000)).await.unwrap(), Made::Ours);
    let before = bench.server.calls().len();
    assert_eq!(bench.executor.ensure_service(&fleet(), &[], Some(8000)).await.unwrap(), Made::Ours);
    assert_eq!(bench.server.calls().len(), before, "a Service that is right is not written");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_bears_our_labels_and_is_not_ours_is_left_alone() {
    // Exported, and applied again by somebody: with all labels, and with an owner of before or one that does not control it.
    let mut no_controller = crate::fixtures::owner("f", "u-1");
    no_controller["controller"] = json!(false);
    for owner in [crate::fixtures::owner("f", "u-0"), no_controller] {
        let bench = bench(taken_by("u-other"));
        let mut service = serde_json::to_value(build::service(&fleet(), route::ports(1, &[], None))).unwrap();
        service["metadata"]["ownerReferences"] = json!([owner]);
        let service: Service = serde_json::from_value(service).unwrap();
        bench.index.apply(service);
        let made = bench.executor.ensure_service(&fleet(), &[], Some(8000)).await.unwrap();
        assert!(matches!(made, Made::Taken(_)), "{made:?}");
        assert!(bench.server.calls().iter().all(|call| call.method != Method::PATCH));
    }
}

/// What a tenant may have put into the object that a write is answered with. kube's own types cannot read it.
fn poisoned(mut object: Value) -> Value {
    object["metadata"]["managedFields"] = json!([{"manager": "other", "time": "9999-12-31T23:59:59Z"}]);
    object["metadata"]["resourceVersion"] = json!("9");
    object
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_a_tenant_has_poisoned_makes_no_write_fail() {
    let bench = bench(|call| match (&call.method, call.path.contains("/pods/")) {
        (&Method::PATCH, true) => Answer::Reply(
            200,
            poisoned(json!({
                "metadata": {"name": "p", "namespace": "n", "uid": "u-p", "labels": {"ray.io/cluster": "g", names::LABEL_FLEET: "f"}},
                "status": {"conditions": [{"type": "rayfleet.io/serving", "status": "True"}]}
            })),
        ),
        (&Method::DELETE, _) => Answer::Reply(200, {
            let mut cluster = poisoned(owned(call, "u-1"));
            cluster["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
            cluster
        }),
        _ => Answer::Reply(200, poisoned(call.body.clone())),
    });
    bench.index.apply(raw_fleet());
    let pod = json!({"metadata": {"name": "p", "namespace": "n", "labels": {names::LABEL_FLEET: "f"}}});
    bench.index.apply(crate::fixtures::object::<Pod>(&pod));
    set_gate(&bench, true).await;
    assert!(bench.index.read(|store| store.member(&Key::new("n", "p")).unwrap().observed.gate_open));
    let status = RayClusterFleetStatus { ready_replicas: 2, ..RayClusterFleetStatus::default() };
    bench.executor.write_status(&raw_fleet(), status).await.unwrap();
    let ready = |store: &crate::kubernetes::Store| {
        store.fleets[&Key::<String>::new("n", "f")].status.as_ref().map(|s| s.ready_replicas)
    };
    assert_eq!(bench.index.read(ready), Some(2));
    bench.executor.create_cluster(&fleet(), &group(), None, true).await.unwrap();
    bench.executor.delete_cluster(&key(), "u-9".into(), "7".into()).await.unwrap();
    let ending =
        |store: &crate::kubernetes::Store| store.clusters[&key()].metadata.deletion_timestamp.is_some();
    assert!(bench.index.read(ending));
    assert_eq!(bench.executor.ensure_service(&fleet(), &[], Some(8000)).await.unwrap(), Made::Ours);
    assert_eq!(bench.index.read(|store| store.services.len()), 1);
    bench.executor.fresh_fleet(&Key::new("n", "f")).await.unwrap();
}

#[test]
fn a_service_differs_by_what_was_asked_for_only() {
    let wanted = build::service(&fleet(), route::ports(8000, &[], None));
    let mut there = wanted.clone();
    let spec = there.spec.as_mut().unwrap();
    spec.cluster_ip = Some("10.0.0.1".into());
    spec.ports.as_mut().unwrap()[0].protocol = Some("TCP".into());
    assert!(same_service(&there, &wanted));
    assert!(!same_service(&there, &build::service(&fleet(), route::ports(9000, &[], None))));
    there.spec.as_mut().unwrap().selector = None;
    assert!(!same_service(&there, &wanted));
}

/// What `kubectl delete --cascade=orphan` leaves: our labels, and no owner.
fn orphaned(kind: &str, api_version: &str, name: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "revision": 1,
        "metadata": {
            "name": name, "namespace": "n", "uid": "u-9", "resourceVersion": "5",
            "labels": {names::LABEL_FLEET: "f", names::LABEL_MANAGED_BY: names::MANAGED_BY}
        }
    })
}

fn merged(mut object: Value, call: &Call) -> Value {
    object["metadata"]["ownerReferences"] = call.body["metadata"]["ownerReferences"].clone();
    object
}

#[tokio::test(start_paused = true)]
async fn a_service_of_an_earlier_fleet_of_the_name_is_adopted() {
    let bench = bench(|call| {
        let object = if call.path.contains("services") {
            orphaned("Service", "v1", "f")
        } else if call.path.contains("controllerrevisions") {
            orphaned("ControllerRevision", "apps/v1", "f-r")
        } else {
            orphaned("RayCluster", "ray.io/v1", "g")
        };
        match call.method {
            Method::POST => refusal(409, "AlreadyExists", "there is one"),
            Method::PATCH => Answer::Reply(200, merged(object, call)),
            _ => Answer::Reply(200, object),
        }
    });
    let record = crate::kubernetes::history::History::new(&fleet(), &crate::kubernetes::Owned::default())
        .change(&raw_fleet(), &[]);
    assert_eq!(bench.executor.ensure_service(&fleet(), &[], Some(8000)).await.unwrap(), Made::Ours);
    assert_eq!(bench.executor.write_history(&fleet(), record).await.unwrap(), Made::Ours);
    let cluster = object(&orphaned("RayCluster", "ray.io/v1", "g"));
    bench.executor.adopt_cluster(&raw_fleet(), &cluster).await.unwrap();
    let patches: Vec<Value> = bench
        .server
        .calls()
        .iter()
        .filter(|call| call.method == Method::PATCH)
        .map(|call| call.body["metadata"]["ownerReferences"][0].clone())
        .collect();
    assert_eq!(patches.len(), 3);
    assert!(patches.iter().all(|owner| owner["uid"] == "u-1" && owner["controller"] == true), "{patches:#?}");
    let last = bench.server.calls().last().unwrap().body["metadata"].clone();
    assert_eq!(
        (&last["uid"], &last["resourceVersion"]),
        (&json!("u-9"), &json!("5")),
        "only what was observed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_or_a_service_of_somebody_else_is_left_alone_whatever_its_labels_are() {
    let bench = bench(|call| {
        let mut object = orphaned("ControllerRevision", "apps/v1", "f-r");
        object["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "K", "name": "k", "uid": "u-other"}]);
        match call.method {
            Method::POST => refusal(409, "AlreadyExists", "there is one"),
            _ => Answer::Reply(200, object),
        }
    });
    let record = crate::kubernetes::history::History::new(&fleet(), &crate::kubernetes::Owned::default())
        .change(&raw_fleet(), &[]);
    let written = bench.executor.write_history(&fleet(), record).await.unwrap();
    assert!(matches!(written, Made::Taken(whose) if whose.starts_with("of K k")));
    // One that the watch has shown is asked about its owner as well.
    let mut service: Service = serde_json::from_value(orphaned("Service", "v1", "f")).unwrap();
    service.metadata.owner_references =
        serde_json::from_value(json!([{"apiVersion": "v1", "kind": "K", "name": "k", "uid": "u-other"}]))
            .unwrap();
    bench.index.reset(vec![service]);
    assert_eq!(
        bench.executor.ensure_service(&fleet(), &[], Some(8000)).await.unwrap(),
        Made::Taken("of K k".to_owned())
    );
    assert!(bench.server.calls().iter().all(|call| call.method != Method::PATCH));
}

/// A RayCluster that was made with one worker and has `replicas` now.
fn sized(uid: &str, replicas: u32) -> Value {
    let workers = |replicas: u32| json!({"workerGroupSpecs": [{"groupName": "w", "replicas": replicas, "minReplicas": 1, "maxReplicas": 1}]});
    let made = serde_json::to_string(&crate::kubernetes::size::Size::of(&workers(1))).unwrap();
    json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster", "spec": workers(replicas),
        "metadata": {
            "name": "g", "namespace": "n", "uid": uid, "resourceVersion": "9", "annotations": {names::ANNOTATION_SIZE: made},
            "ownerReferences": [crate::fixtures::owner("f", "u-1")]
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_resized_cluster_is_read_again_and_set_back_and_no_other_is_touched() {
    for (uid, replicas, patched) in [("u-9", 0, true), ("u-9", 1, false), ("other", 0, false)] {
        let bench = bench(move |call| match call.method {
            Method::GET => Answer::Reply(200, sized(uid, replicas)),
            _ => Answer::Reply(200, sized(uid, 1)),
        });
        bench.executor.repair_cluster(&key(), "u-9", None).await.unwrap();
        let calls = bench.server.calls();
        let patch = calls.iter().find(|call| call.method == Method::PATCH);
        assert_eq!(patch.is_some(), patched, "{uid} {replicas}");
        if let Some(patch) = patch {
            assert_eq!(patch.body["metadata"]["resourceVersion"], "9");
            assert_eq!(patch.body["spec"]["workerGroupSpecs"][0]["replicas"], 1);
        }
    }
    let gone = bench(|_| refusal(404, "NotFound", "there is none"));
    gone.executor.repair_cluster(&key(), "u-9", None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_raycluster_is_set_back_to_its_size() {
    let bench = bench(|call| match call.method {
        Method::GET => {
            let mut resized = poisoned(json!(build::ray_cluster(&fleet(), &group(), None)));
            resized["metadata"]["uid"] = json!("u-9");
            resized["spec"]["workerGroupSpecs"][0]["replicas"] = json!(0);
            Answer::Reply(200, resized)
        }
        _ => Answer::Reply(200, poisoned(call.body.clone())),
    });
    bench.executor.repair_cluster(&key(), "u-9", None).await.unwrap();
    let patch = bench.server.calls().into_iter().find(|call| call.method == Method::PATCH).unwrap();
    assert_eq!(patch.body["spec"]["workerGroupSpecs"][0]["replicas"], 1, "{}", patch.body);
    assert_eq!(patch.body["metadata"]["resourceVersion"], "9");
    // One that another fleet, or nobody, controls is not touched.
    bench.executor.repair_cluster(&key(), "u-other", None).await.unwrap();
    assert_eq!(bench.server.calls().iter().filter(|call| call.method == Method::PATCH).count(), 1);
}

/// What AIBrix left of fleet `f`: two RayClusters of a RayClusterReplicaSet, in pages of one, among objects of others. All are poisoned,
/// and one RayCluster is none.
fn of_aibrix(call: &Call) -> Answer {
    let controlled = |name: &str, kind: &str, uid: &str| {
        let owner = json!({"apiVersion": "v1", "kind": kind, "name": "o", "uid": uid, "controller": true});
        poisoned(json!({
            "metadata": {"name": name, "namespace": "n", "uid": format!("u-{name}"), "ownerReferences": [owner]},
            "spec": {"template": raw_fleet().spec.template}
        }))
    };
    let page = |items: &[Value]| {
        let at = call.path.split("continue=").nth(1).and_then(|rest| rest.split('&').next());
        let at: usize = at.and_then(|at| at.parse().ok()).unwrap_or_default();
        let next = if at + 1 < items.len() { (at + 1).to_string() } else { String::new() };
        Answer::Reply(
            200,
            json!({"metadata": {"resourceVersion": "9", "continue": next}, "items": [items[at]]}),
        )
    };
    match (&call.method, call.path.contains("rayclusterreplicasets")) {
        (&Method::GET, true) => {
            let of = |name: &str, uid: &str| controlled(name, "RayClusterFleet", uid);
            page(&[
                of("other", "u-0"),
                json!({"metadata": {"name": "odd", "ownerReferences": 1}}),
                of("f-1", "u-1"),
            ])
        }
        (&Method::GET, false) => {
            let of = |name: &str, set: &str| controlled(name, "RayClusterReplicaSet", set);
            page(&[of("a", "u-f-1"), of("b", "u-other"), json!(null), of("c", "u-f-1")])
        }
        (&Method::PATCH, _) => Answer::Reply(200, {
            let mut taken = poisoned(call.body.clone());
            taken["metadata"]["name"] = json!(call.path.split(['/', '?']).rfind(|part| part.len() == 1));
            taken["metadata"]["namespace"] = json!("n");
            taken
        }),
        _ => Answer::Reply(200, json!({"kind": "Status", "status": "Success"})),
    }
}

#[tokio::test(start_paused = true)]
async fn a_take_over_survives_poisoned_objects() {
    let bench = bench(of_aibrix);
    let sets = bench.executor.replica_sets(&raw_fleet(), false).await.unwrap().unwrap();
    assert_eq!(sets.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["f-1"]);
    bench.executor.take_over(&raw_fleet(), &sets).await.unwrap();
    let taken =
        bench.index.read(|store| store.clusters.keys().map(|key| key.name.clone()).collect::<Vec<_>>());
    assert_eq!(taken, ["a", "c"]);
    let deleted: Vec<String> = bench
        .server
        .calls()
        .into_iter()
        .filter(|call| call.method == Method::DELETE)
        .map(|call| call.path)
        .collect();
    assert!(matches!(&deleted[..], [path] if path.contains("/rayclusterreplicasets/f-1")), "{deleted:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_list_is_an_error() {
    let bench = bench(|_| Answer::Reply(200, json!({"kind": "Status"})));
    let error = bench.executor.replica_sets(&raw_fleet(), false).await.unwrap_err();
    assert_eq!(error.to_string(), "list RayClusterReplicaSets: the answer is not what the API server sends");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_there_is_asked_for_once_in_a_while() {
    let bench = bench(|_| refusal(404, "NotFound", "none"));
    for asked in [true, false, false] {
        let sets = bench.executor.replica_sets(&raw_fleet(), false).await.unwrap();
        assert_eq!(sets.map(|sets| sets.len()), asked.then_some(0));
    }
    assert_eq!(bench.server.calls().len(), 1);
    bench.executor.replica_sets(&raw_fleet(), true).await.unwrap();
    assert_eq!(bench.server.calls().len(), 2, "somebody has lost fields");
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    bench.executor.replica_sets(&raw_fleet(), false).await.unwrap();
    assert_eq!(bench.server.calls().len(), 3);
}

#[test]
fn trials_of_one_template_differ_in_their_fleets_names_alone() {
    let of = |name: &str, uid: &str, image: &str| {
        let mut fleet = fleet();
        (fleet.name, fleet.uid) = (name.to_owned(), uid.to_owned());
        fleet.revision.pod = format!("{name}xyz").as_str().into();
        fleet.template.spec["headGroupSpec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        Trial::of(&fleet).fingerprint()
    };
    assert_eq!(of("llama", "u-1", "ray"), of("gemma", "u-2", "ray"));
    assert_ne!(of("llama", "u-1", "ray"), of("deepseek", "u-2", "ray"), "a name may be too long");
    assert_ne!(
        of("llama", "u-1", "ray/llama"),
        of("gemma", "u-2", "ray/gemma"),
        "a policy may be about images"
    );
    assert_ne!(of("llama", "u-1", "ray"), of("llama", "u-1", "ray:2"));
    assert_ne!(of("a", "u-1", "ray"), of("b", "u-1", "ry"), "a name is not nothing");
}
