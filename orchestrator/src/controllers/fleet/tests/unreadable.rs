//! Fleets of which a part cannot be read: their groups stay in care, the field is named, and they are let go when they are deleted.

use super::*;

/// A time that Kubernetes takes and gives back, and that jiff cannot hold.
const NEVER: &str = "9999-12-31T23:59:59Z";

/// Puts text into the place of a marker, as no JSON value in memory is nested so deep.
fn text(fleet: &Value) -> String {
    let deep = format!("{}1{}", "{\"a\":".repeat(300), "}".repeat(300));
    fleet.to_string().replace("\"TOO-DEEP\"", &deep)
}

fn read(fleet: &Value) -> RayClusterFleet {
    crate::kubernetes::Watched::read(&text(fleet)).unwrap().unwrap()
}

/// A fleet with two groups of which one has lost its RayCluster; its template was then nested deeper than can be read.
fn too_deep() -> Value {
    let revision = ValidFleet::new(&raw_fleet()).unwrap().revision;
    let mut fleet = json!(with_groups(raw_fleet(), &revision));
    fleet["metadata"]["generation"] = json!(4);
    fleet["spec"]["template"]["spec"]["odd"] = json!("TOO-DEEP");
    fleet
}

/// A bench whose API server has this fleet, and keeps what is written into its status.
fn bench_with(fleet: &Value) -> Bench {
    let stored = Mutex::new(fleet.clone());
    let bench = bench_of(read(fleet), move |call| {
        if !call.path.contains("/rayclusterfleets/") || call.method == Method::PATCH {
            return None;
        }
        let mut stored = stored.lock();
        if call.method == Method::PUT {
            stored["status"] = call.body["status"].clone();
            stored["metadata"]["resourceVersion"] = json!("99");
        }
        Some(Answer::Stream(200, text(&stored)))
    });
    let before = with_groups(raw_fleet(), &ValidFleet::new(&raw_fleet()).unwrap().revision);
    bench.controller.index.reset(clusters(&before)[..1].to_vec());
    bench.controller.index.reset(vec![record_of(&raw_fleet())]);
    bench
}

async fn reported(bench: &Bench) -> String {
    let writer =
        tokio::time::timeout(Duration::from_secs(5), bench.controller.executor.writer.clone().write_events());
    let _ = writer.await;
    let events = bench.server.calls().into_iter().filter(|call| named(call).contains("events"));
    events
        .map(|call| format!("{}: {}", call.body["reason"], call.body["note"]))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test(start_paused = true)]
async fn a_fleet_nested_too_deep_is_looked_after_by_its_last_revision_and_names_the_field() {
    let bench = bench_with(&too_deep());
    let mut sent = bench.sent().await;
    sent.extend(bench.sent().await);
    assert!(sent.contains(&"POST rayclusters".to_owned()), "the group that is gone is made again: {sent:#?}");
    assert_eq!(bench.condition("Progressing").as_deref(), Some("False/InvalidSpec"));
    let status = bench.status();
    let stalled = status.conditions.iter().find(|condition| condition.type_ == "Stalled").unwrap();
    assert!(stalled.message.contains("spec.template: cannot be read: it is nested deeper"), "{stalled:?}");
    assert_eq!(status.groups.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_would_take_too_much_memory_is_looked_after_by_its_last_revision() {
    let mut fleet = too_deep();
    fleet["spec"]["template"]["spec"]["odd"] = json!(vec![json!({"a": 0}); 100_000]);
    let bench = bench_with(&fleet);
    let mut sent = bench.sent().await;
    sent.extend(bench.sent().await);
    assert!(sent.contains(&"POST rayclusters".to_owned()), "the group that is gone is made again: {sent:#?}");
    let status = bench.status();
    let stalled = status.conditions.iter().find(|condition| condition.type_ == "Stalled").unwrap();
    assert!(
        stalled.message.contains("spec.template: cannot be read: it holds more than 20000"),
        "{stalled:?}"
    );
}

/// A template that was taken before there was a bound on scheduling rules.
#[tokio::test(start_paused = true)]
async fn a_fleet_that_serves_with_more_rules_than_are_taken_now_is_looked_after() {
    let mut raw = raw_fleet();
    let tolerations: Vec<Value> = (0..700).map(|n| json!({"key": format!("taint-{n}")})).collect();
    raw.spec.template.spec["headGroupSpec"]["template"]["spec"]["tolerations"] = json!(tolerations);
    let revision = ValidFleet::recorded(&raw).unwrap().revision;
    let fleet = with_groups(raw.clone(), &revision);
    let bench = bench_of(fleet.clone(), |_| None);
    bench.controller.index.reset(clusters(&fleet)[..1].to_vec());
    bench.controller.index.reset(vec![record_of(&raw)]);
    let mut sent = bench.sent().await;
    sent.extend(bench.sent().await);
    assert!(sent.contains(&"POST rayclusters".to_owned()), "the group that is gone is made again: {sent:#?}");
    assert_eq!(bench.condition("Progressing").as_deref(), Some("False/InvalidSpec"));
    let status = bench.status();
    let stalled = status.conditions.iter().find(|condition| condition.type_ == "Stalled").unwrap();
    assert!(stalled.message.contains("headGroupSpec.template.spec: affinity, tolerations"), "{stalled:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_cannot_be_read_is_let_go_when_it_is_deleted() {
    let mut fleet = too_deep();
    fleet["status"] = json!("odd");
    fleet["metadata"]["deletionTimestamp"] = json!(NEVER);
    let bench = bench_with(&fleet);
    bench.controller.index.reset(Vec::<DynamicObject>::new());
    bench.controller.index.reset(Vec::<ControllerRevision>::new());
    let sent = bench.sent().await;
    assert_eq!(sent.last().map(String::as_str), Some("PATCH rayclusterfleets/f"), "{sent:#?}");
    assert!(sent[..sent.len() - 1].iter().all(|call| call.starts_with("GET")), "{sent:#?}");
    let patch = bench.server.calls().pop().unwrap().body;
    assert_eq!(patch["metadata"]["finalizers"], json!([]));
    assert_eq!(patch.as_object().unwrap().len(), 1, "metadata only: {patch}");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_somebody_made_unreadable_is_written_again_and_reported_once() {
    let revision = ValidFleet::new(&raw_fleet()).unwrap().revision;
    let mut fleet = json!(with_groups(raw_fleet(), &revision));
    fleet["status"]["groups"][1]["readySince"] = json!(NEVER);
    fleet["status"]["rollout"] = json!({"step": "Complete", "to": "x", "lastProgress": NEVER});
    let bench = bench_with(&fleet);
    bench.controller.index.reset(clusters(&read(&fleet)));
    let sent = bench.sent().await;
    assert!(sent.contains(&"PUT rayclusterfleets/f/status".to_owned()), "{sent:#?}");
    assert!(!sent.iter().any(|call| call == "POST rayclusters" || call.starts_with("DELETE")), "{sent:#?}");
    assert_eq!(bench.status().groups.len(), 2);
    for _ in 0..5 {
        bench.pass().await.unwrap();
    }
    let said = reported(&bench).await;
    assert_eq!(said.matches("StatusUnreadable").count(), 1, "{said}");
    assert!(said.contains("status.groups[1].readySince: cannot be read"), "{said}");
    assert!(said.contains("status.rollout.lastProgress: cannot be read"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_status_of_a_fleet_that_is_refused_altogether_is_written_again_once() {
    let mut fleet = too_deep();
    fleet["status"] = json!({"rollout": {"step": "Complete", "to": "x", "lastProgress": NEVER}});
    let bench = bench_with(&fleet);
    bench.controller.index.reset(Vec::<DynamicObject>::new());
    bench.controller.index.reset(Vec::<ControllerRevision>::new());
    let writes =
        |sent: Vec<String>| sent.iter().filter(|call| *call == "PUT rayclusterfleets/f/status").count();
    assert_eq!(writes(bench.sent().await), 1);
    assert_eq!(writes(bench.sent().await), 0);
    assert!(reported(&bench).await.contains("StatusUnreadable"));
}
