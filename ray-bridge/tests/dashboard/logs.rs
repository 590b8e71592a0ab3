//! The end of a log, and a log that is followed.

use std::time::Duration;

use proptest::prelude::*;
use ray_bridge::CallErrorKind;
use ray_bridge::dashboard::{LogEvent, LogStream};
use serde_json::json;

use crate::common::Frame::{Binary, Break, Close, Silence, Text};
use crate::common::{Fake, Frame, bridge, id, limits, recorded, silent, target, websocket};
use crate::replies::{fault, start, with_limits};
use ray_bridge::Limits;

const FILE: &str = "GET /api/v0/logs/file";
const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_secs(20);

/// A job that runs on a node.
fn running(fake: &Fake) {
    fake.on("GET /api/jobs/j", [recorded("job_get_running")]);
}

#[tokio::test]
async fn only_the_end_of_a_long_log_is_requested() {
    let fake = Fake::start().await;
    let dashboard = with_limits(&fake.url, Limits { log_tail_bytes: 64 << 10, ..limits() });
    running(&fake);
    fake.on(FILE, [recorded("v0_logs_file")]);
    let tail = dashboard.log_tail(&id("j")).await.unwrap();
    assert!(tail.starts_with("Running entrypoint for job tail1:") && tail.ends_with("line\n"), "{tail}");
    let asked = fake.asked().remove(1).path;
    let node = "844171eb5cb461890bda181ad6ea5f9135e68655afc64096b9695c79";
    assert_eq!(
        asked,
        format!("/api/v0/logs/file?node_id={node}&filename=job-driver-j.log&lines=1024&timeout=3")
    );
}

#[tokio::test]
async fn long_lines_are_cut_to_the_limit_in_bytes() {
    let fake = Fake::start().await;
    let dashboard = with_limits(&fake.url, Limits { log_tail_bytes: 1000, reply_bytes: 1000, ..limits() });
    running(&fake);
    let log = format!("{}\nlast line\n", "x".repeat(1 << 20));
    fake.on(FILE, [(200, log.into_bytes())]);
    assert_eq!(dashboard.log_tail(&id("j")).await.as_deref(), Ok("last line\n"));
}

#[tokio::test]
async fn a_log_with_invalid_utf_8_is_read() {
    let (fake, dashboard) = start().await;
    running(&fake);
    fake.on(FILE, [(200, b"gr\xfc\xdfe\n".to_vec())]);
    assert_eq!(dashboard.log_tail(&id("j")).await.as_deref(), Ok("gr\u{fffd}\u{fffd}e\n"));
}

#[tokio::test]
async fn the_log_of_a_dead_node_is_empty() {
    let (fake, dashboard) = start().await;
    running(&fake);
    for refusal in ["v0_logs_bad", "ray-2.46/v0_logs_file_badnode", "ray-2.46/v0_logs_file_missing"] {
        fake.on(FILE, [recorded(refusal)]);
        fake.on("GET /api/jobs/j/logs", [recorded("job_logs_dead_node")]);
        assert_eq!(dashboard.log_tail(&id("j")).await.as_deref(), Ok(""), "{refusal}");
    }
}

#[tokio::test]
async fn the_end_of_the_whole_log_is_kept_if_files_are_not_served() {
    let fake = Fake::start().await;
    let dashboard = with_limits(&fake.url, Limits { log_tail_bytes: 1000, reply_bytes: 1000, ..limits() });
    running(&fake);
    let log = "line \"x\" of \\ many\n".repeat(100_000);
    fake.on("GET /api/jobs/j/logs", [(200, json!({ "logs": log }).to_string().into_bytes())]);
    let tail = dashboard.log_tail(&id("j")).await.unwrap();
    assert!(log.ends_with(&tail), "{tail}");
    assert!(tail.starts_with("line ") && (500..1000).contains(&tail.len()), "{tail}");
}

#[tokio::test]
async fn a_page_of_a_proxy_is_not_a_log() {
    let (fake, dashboard) = start().await;
    running(&fake);
    fake.on(FILE, [(200, b"\n<!DOCTYPE html><title>Sign in</title>".to_vec())]);
    assert!(matches!(fault(dashboard.log_tail(&id("j")).await), CallErrorKind::Malformed { .. }));
}

async fn stream(scripts: Vec<Vec<Frame>>, from: u64) -> LogStream {
    let (url, _) = websocket(scripts).await;
    bridge().dashboard(&target(&url, None)).log_stream(&id("j"), from).await.unwrap()
}

fn text(text: &str) -> Frame {
    Text(text.to_owned())
}

#[tokio::test]
async fn a_log_is_followed_with_the_token() {
    let (url, asked) = websocket(vec![vec![
        text("Running entrypoint\nline\n"),
        Binary(b"li\xffne\n".to_vec()),
        Close(1000),
    ]])
    .await;
    let dashboard = bridge().dashboard(&target(&url, None));
    let mut log = dashboard.log_stream(&id("j"), 0).await.unwrap();
    assert_eq!(
        *asked.lock().unwrap(),
        [("/api/jobs/j/logs/tail".to_owned(), Some("Bearer s3cret".to_owned()))]
    );
    assert_eq!(log.next(LATE).await, Ok(LogEvent::Text("Running entrypoint\nline\n".to_owned())));
    assert_eq!(log.next(LATE).await, Ok(LogEvent::Text("li\u{fffd}ne\n".to_owned())));
    assert_eq!(log.next(LATE).await, Ok(LogEvent::Closed));
}

#[tokio::test]
async fn a_closed_stream_does_not_prove_that_the_job_has_ended() {
    // Closed normally although the job runs: Ray does that when the agent behind the stream is gone.
    let mut log = stream(vec![vec![text("a\n"), Close(1000)]], 0).await;
    assert_eq!(log.next(LATE).await, Ok(LogEvent::Text("a\n".to_owned())));
    assert_eq!(log.next(LATE).await, Ok(LogEvent::Closed));
    let mut broken = stream(vec![vec![text("a\n"), Break]], 0).await;
    assert_eq!(broken.next(LATE).await, Ok(LogEvent::Text("a\n".to_owned())));
    assert!(matches!(fault(broken.next(LATE).await), CallErrorKind::Unreachable { refused: false, .. }));
    let mut failed = stream(vec![vec![Close(1011)]], 0).await;
    let error = failed.next(LATE).await.unwrap_err();
    assert!(error.retryable() && error.to_string().contains("closed with code 1011: because"), "{error}");
}

#[tokio::test]
async fn a_stream_without_new_lines_is_quiet() {
    let mut log = stream(vec![vec![text("a\n"), Silence]], 0).await;
    assert_eq!(log.next(LATE).await, Ok(LogEvent::Text("a\n".to_owned())));
    assert_eq!(log.next(SOON).await, Ok(LogEvent::Quiet));
    assert_eq!(log.next(SOON).await, Ok(LogEvent::Quiet));
}

#[tokio::test]
async fn an_endless_message_is_too_large() {
    let (url, _) = websocket(vec![vec![Text("x".repeat(5000))]]).await;
    let dashboard = with_limits(&url, Limits { reply_bytes: 1000, ..limits() });
    let mut log = dashboard.log_stream(&id("j"), 0).await.unwrap();
    assert_eq!(fault(log.next(LATE).await), CallErrorKind::TooLarge { limit: 1000 });
}

#[tokio::test]
async fn a_stream_that_does_not_open_gives_the_reason() {
    let (fake, dashboard) = start().await;
    let path = "GET /api/jobs/j/logs/tail";
    let opened = async || fault(dashboard.log_stream(&id("j"), 0).await);
    fake.on(path, [recorded("job_logs_unknown")]);
    assert!(matches!(opened().await, CallErrorKind::NotFound { .. }));
    fake.on(path, [recorded("auth_wrong_jobs")]);
    assert_eq!(opened().await, CallErrorKind::Forbidden);
    fake.on(path, [(200, b"{}".to_vec())]);
    assert_eq!(
        opened().await,
        CallErrorKind::Rejected { status: 200, message: "no change of protocol".to_owned() }
    );
    fake.on(path, [(502, b"Bad Gateway".to_vec())]);
    assert_eq!(opened().await, CallErrorKind::Rejected { status: 502, message: "Bad Gateway".to_owned() });

    let limits = Limits { call: Duration::from_millis(150), ..limits() };
    let dead = with_limits(&silent().await, limits);
    assert_eq!(fault(dead.log_stream(&id("j"), 0).await), CallErrorKind::TimedOut { after_ms: 150 });
}

/// Reads a stream until it is closed.
async fn all(mut log: LogStream) -> (String, u64) {
    let mut got = String::new();
    while let LogEvent::Text(text) = log.next(LATE).await.unwrap() {
        got.push_str(&text);
    }
    (got, log.position())
}

#[tokio::test]
async fn a_resumed_stream_repeats_nothing() {
    let script = || vec![text("größe\n"), text("zwei\n"), text("drei\n"), Close(1000)];
    let (first, whole) = all(stream(vec![script()], 0).await).await;
    assert_eq!((first.as_str(), whole), ("größe\nzwei\ndrei\n", first.len() as u64));
    assert_eq!(all(stream(vec![script()], 10).await).await, ("ei\ndrei\n".to_owned(), whole));
    assert_eq!(all(stream(vec![script()], whole).await).await, (String::new(), whole));
    let shorter = all(stream(vec![script()], whole + 9).await).await;
    assert_eq!(
        shorter,
        (String::new(), whole + 9),
        "a log that became shorter is skipped up to the position"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_broken_stream_loses_and_repeats_nothing(
        frames in prop::collection::vec("[aé\u{1F600}\n]{0,6}", 1..8), cut in any::<prop::sample::Index>(),
    ) {
        let whole: String = frames.concat();
        let cut = cut.index(frames.len() + 1);
        let script: Vec<Frame> = frames.iter().map(|frame| text(frame)).collect();
        let first: Vec<Frame> = script.iter().take(cut).cloned().chain([Close(1000)]).collect();
        let second: Vec<Frame> = [text(&whole), Close(1000)].into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let got = runtime.block_on(async {
            let (begin, position) = all(stream(vec![first], 0).await).await;
            let (end, _) = all(stream(vec![second], position).await).await;
            format!("{begin}{end}")
        });
        prop_assert_eq!(got, whole);
    }
}
