//! Gates of groups that cannot serve are closed before anything else.

use rayfleet_api::status::Phase;

use super::*;

/// The head pod of a group whose gate is open.
fn head_that_takes_traffic(name: &str) -> Value {
    json!({
        "metadata": {
            "name": format!("{name}-head"), "namespace": "n", "uid": name,
            "ownerReferences": [{"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": name, "uid": format!("made-{name}"),
                                 "controller": true}],
            "labels": {names::LABEL_FLEET: "f", names::LABEL_GROUP: name, "ray.io/cluster": name,
                       "ray.io/node-type": "head"},
            "annotations": {names::ANNOTATION_OPENED_FOR: format!("{name}.x.1")}
        },
        "spec": {"nodeName": "a", "containers": []},
        "status": {"conditions": [
            {"type": "ContainersReady", "status": "True"},
            {"type": "rayfleet.io/serving", "status": "True"}
        ]}
    })
}

/// The template of a fleet was changed, its only group cannot serve, and whoever is asked about the template takes ten seconds.
#[tokio::test(start_paused = true)]
async fn a_gate_of_a_dead_group_closes_before_a_template_is_checked() {
    let revision = ValidFleet::new(&raw_fleet()).unwrap().revision;
    let mut fleet = with_groups(raw_fleet(), &revision);
    for group in &mut fleet.status.as_mut().unwrap().groups {
        (group.phase, group.launch) = (Phase::Ready, 1);
    }
    let name = fleet.status.as_ref().unwrap().groups[0].name.clone();
    fleet.spec.template.spec["rayVersion"] = json!("2.99.0");
    let head = object::<Pod>(&head_that_takes_traffic(&name));
    let stored = fleet.clone();
    let bench = bench(move |call| match call.method {
        Method::GET => Answer::Reply(200, json!(stored)),
        _ if call.path.contains("dryRun") => Answer::Late(Duration::from_secs(10), 201, json!({})),
        _ => willing(call),
    });
    bench.list(fleet.clone());
    bench.controller.index.reset(clusters(&fleet));
    bench.controller.index.reset(vec![head]);
    bench.controller.index.reset(vec![record_of(&raw_fleet())]);
    let calls = bench.sent().await;
    let first = |what: &str| calls.iter().position(|call| call.contains(what));
    assert!(first("PATCH pods/").unwrap() < first("as a trial").unwrap(), "{calls:#?}");
}

/// A node pool is lost with 300 groups, and the API server takes a tenth of a second for each call.
#[tokio::test(start_paused = true)]
async fn three_hundred_gates_close_within_two_seconds_and_before_anything_else() {
    const GROUPS: u32 = 300;
    let revision = ValidFleet::new(&raw_fleet()).unwrap().revision;
    let mut fleet = raw_fleet();
    fleet.spec.replicas = Some(300);
    let group = |slot: u32| GroupStatus {
        phase: Phase::Ready,
        launch: 1,
        ranks: Some(RankCount { placed: 2, total: 2 }),
        ..entry(&revision, slot)
    };
    fleet.status =
        Some(RayClusterFleetStatus { groups: (0..GROUPS).map(group).collect(), ..Default::default() });
    let pods: Vec<Pod> = (0..GROUPS)
        .map(|slot| object(&head_that_takes_traffic(&format!("f-{}-{slot}", revision.pod))))
        .collect();
    let times: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let noted = times.clone();
    let stored = fleet.clone();
    let bench = bench(move |call| {
        noted.lock().push((named(call), clock::monotonic()));
        let answer = match call.method {
            Method::GET => Answer::Reply(200, json!(stored)),
            _ => willing(call),
        };
        match answer {
            Answer::Reply(code, body) => Answer::Late(Duration::from_millis(100), code, body),
            other => other,
        }
    });
    bench.list(fleet.clone());
    bench.controller.index.reset(clusters(&fleet));
    bench.controller.index.reset(pods);
    bench.controller.index.reset(vec![record_of(&fleet)]);
    bench.pass().await.unwrap();
    let times = times.lock();
    let gates: Vec<Instant> =
        times.iter().filter(|(call, _)| call.starts_with("PATCH pods/")).map(|(_, when)| *when).collect();
    assert_eq!(gates.len(), 300);
    let (first, last) = (gates[0], gates[gates.len() - 1]);
    assert!(last - first < Duration::from_secs(2), "{:?}", last - first);
    let others =
        times.iter().filter(|(call, _)| !call.starts_with("PATCH pods/") && !call.starts_with("GET "));
    assert!(others.clone().count() > 0);
    assert!(others.clone().all(|(_, when)| *when >= last), "{:#?}", others.take(5).collect::<Vec<_>>());
}
