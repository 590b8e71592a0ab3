//! The fence against a server that answers as a test says, in paused time.

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::Value;
use tokio::sync::watch;

use super::*;
use crate::testing::{Answer, Call, Fake};

struct Bench {
    writer: Writer,
    server: Fake,
    metrics: Metrics,
    leadership: Leadership,
    lease: watch::Sender<Option<std::time::Instant>>,
}

fn bench(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Bench {
    let (leadership, lease) = Leadership::always();
    let (server, metrics) = (Fake::new(answer), Metrics::default());
    let writer = Writer::new(server.client(), leadership.clone(), metrics.clone(), "rayfleet", None);
    Bench { writer, server, metrics, leadership, lease }
}

impl Bench {
    async fn delete(&self) -> Result<String, WriteError> {
        self.writer.send("delete Pod", of::<Pod>("n").delete("p", &DeleteParams::default())).await
    }

    fn report(&self, message: &str) {
        let about = ObjectReference { uid: Some("u".into()), ..ObjectReference::default() };
        self.writer.report(about, true, "Reason", message);
    }

    fn counted(&self, line: &str) -> bool {
        let mut registry = prometheus_client::registry::Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text.lines().any(|there| there == line)
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_without_the_lease() {
    let mut bench = bench(|_| Answer::Reply(200, json!({})));
    bench.lease.send_replace(None);
    bench.leadership.lost().await;
    assert!(matches!(bench.delete().await, Err(WriteError::NotLeader(_))));
    bench.report("message");
    bench.writer.write_event().await;
    assert!(bench.writer.may("launch").is_err());
    assert_eq!(bench.server.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_is_given_up_with_the_lease() {
    let bench = bench(|_| Answer::Silence);
    // The last renewal was seven seconds ago.
    bench.lease.send_replace(Some(clock::monotonic()));
    tokio::time::sleep(Duration::from_secs(7)).await;
    let started = clock::monotonic();
    assert!(matches!(bench.delete().await, Err(WriteError::NotLeader(_))));
    assert_eq!((clock::monotonic() - started).as_secs(), 3);
    assert_eq!(bench.server.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_answered_ends_and_is_counted() {
    let bench = bench(|_| Answer::Silence);
    let started = clock::monotonic();
    let error = bench.delete().await.unwrap_err();
    assert!(matches!(error, WriteError::TimedOut(..)));
    assert!(!error.is_conflict() && error.about_the_object().is_none());
    assert!(clock::monotonic() - started <= CALL + Duration::from_millis(10));
    assert!(bench.counted(r#"api_writes_total{what="delete Pod",outcome="error"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn a_long_event_is_cut_to_what_the_server_takes() {
    let bench = bench(|call| Answer::Reply(201, call.body.clone()));
    bench.report(&"ß".repeat(2000));
    bench.writer.write_event().await;
    let note: &Value = &bench.server.calls()[0].body["note"];
    assert!(note.as_str().unwrap().len() <= 1024, "{note}");
}

#[tokio::test(start_paused = true)]
async fn more_events_than_can_wait_are_dropped_and_counted() {
    let bench = bench(|_| Answer::Silence);
    for number in 0..1000 {
        bench.report(&number.to_string());
    }
    assert!(bench.counted("events_dropped_total 872"));
}
