//! Dashboards and engines that send far more than requested: how much is read, how much memory it takes, and
//! that no other cluster is delayed. A separate test binary, since it measures its process.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends with what it did not expect, and tells its figures"
)]
#![cfg(target_os = "linux")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Response;
use common::{Answer, Fake, id, recorded, target};
use futures::future::join_all;
use futures::stream;
use ray_bridge::engine::Health;
use ray_bridge::observe::ObserveOptions;
use ray_bridge::{Bridge, CallErrorKind, Limits, Target};

const MIB: usize = 1 << 20;

/// A server that answers every request with the same piece, repeated endlessly, and how many bytes it could send.
async fn endless(piece: &'static [u8]) -> (url::Url, Arc<AtomicUsize>) {
    let piece = Bytes::from(piece.repeat(8 << 10));
    let sent = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let count = sent.clone();
    let router = Router::new().fallback(move || {
        let (piece, count) = (piece.clone(), count.clone());
        async move {
            let pieces = stream::repeat_with(move || {
                count.fetch_add(piece.len(), Ordering::Relaxed);
                Ok::<_, std::convert::Infallible>(piece.clone())
            });
            Response::new(Body::from_stream(pieces))
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, sent)
}

/// Nested objects, 100 deep, as many as fit: this reply took 1.7 GiB when it was built in memory.
fn nested(bytes: usize) -> String {
    let one = format!("{}null{}", "{\"\":".repeat(100), "}".repeat(100));
    let count = bytes / (one.len() + 8);
    let fields: Vec<String> = (0..count).map(|n| format!("\"{n}\":{one}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// A list as the state API returns it.
fn listed(entries: &str) -> Answer {
    let list = format!(
        "{{\"result\":true,\"msg\":\"\",\"data\":{{\"result\":{{\"num_filtered\":0,\"result\":[{entries}]}}}}}}"
    );
    (200, list.into_bytes())
}

fn limits() -> Limits {
    Limits { call: Duration::from_mins(1), ..Limits::default() }
}

fn named(name: &str, url: &url::Url) -> Target {
    Target { name: name.to_owned(), ..target(url, Some(url)) }
}

/// Peak resident memory of this process, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() << 10
}

/// A head whose every reply is hostile, as long as the limit allows.
async fn worst() -> Fake {
    let (large, small, job) = (nested(15 * MIB), nested(3 * MIB), nested(MIB));
    assert!(large.len() > 14 * MIB);
    let usage =
        format!("{{\"data\":{{\"clusterStatus\":{{\"loadMetricsReport\":{{\"usageByNode\":{small}}}}}}}}}");
    let job = format!("{{\"status\":\"RUNNING\",\"submission_id\":\"chat\",\"runtime_env\":{job}}}");
    let fake = Fake::start().await;
    fake.on(
        "GET /api/v0/actors",
        [listed(&format!("{{\"state\":\"DEAD\",\"death_cause\":{large},\"required_resources\":{{}}}}"))],
    )
    .on(
        "GET /api/v0/nodes",
        [listed(&format!("{{\"node_id\":\"a\",\"state\":\"ALIVE\",\"labels\":{small}}}"))],
    )
    .on(
        "GET /api/v0/placement_groups",
        [listed(&format!(
            "{{\"placement_group_id\":\"a\",\"name\":\"chat\",\"state\":\"CREATED\",\"stats\":{{\"x\":{small}}}}}"
        ))],
    )
    .on("GET /api/cluster_status", [(200, usage.into_bytes())])
    .on("GET /api/jobs/chat", [(200, job.into_bytes())])
    .on("GET /api/version", [recorded("version")]);
    fake
}

/// An ordinary cluster whose engine serves.
async fn honest() -> (Fake, Fake) {
    let (ray, engine) = (Fake::start().await, Fake::start().await);
    ray.on("GET /api/jobs/chat", [(200, b"{\"status\":\"RUNNING\"}".to_vec())])
        .on("GET /api/version", [recorded("version")])
        .on("GET /api/v0/nodes", [recorded("v0_nodes_detail")])
        .on("GET /api/cluster_status", [recorded("cluster_status")])
        .on("GET /api/v0/placement_groups", [recorded("v0_placement_groups_vllm")])
        .on("GET /api/v0/actors", [recorded("v0_actors_vllm_workers")]);
    engine
        .on("GET /health", [(200, vec![])])
        .on("GET /rayfleet/v1/state", [(200, b"{\"inFlight\":0}".to_vec())]);
    (ray, engine)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_largest_replies_of_many_clusters_take_little_memory_and_delay_no_other() {
    let server = worst().await;
    let (ray, engine) = honest().await;
    let bridge = Bridge::new(limits()).unwrap();
    let before = peak();
    let names: Vec<String> = (0..24).map(|n| format!("hostile-{n}")).collect();
    let (chat, deep) =
        (id("chat"), ObserveOptions { deadline: Duration::from_mins(3), ..ObserveOptions::full() });
    let hostile = join_all(names.iter().map(|name| {
        let target = named(name, &server.url);
        let (bridge, chat) = (bridge.clone(), chat.clone());
        async move { bridge.observe(&target, Some(&chat), deep).await }
    }));
    let honest = async {
        let target = Target { engine: Some(engine.url.clone()), ..named("honest", &ray.url) };
        for _ in 0..5 {
            let seen = bridge.observe(&target, Some(&chat), deep).await.unwrap();
            assert_eq!(seen.engine.unwrap().health, Some(Health::Serving));
        }
    };
    let (seen, ()) = futures::future::join(hostile, honest).await;
    let took = (peak() - before) / MIB;
    println!("24 clusters, each with 27 MiB of nested objects in its replies, took {took} MiB at the peak");
    // 64 MiB of replies and a quarter of a MiB per cluster, two parsed replies, and sockets and allocator on
    // top.
    assert!(took < 192, "{took} MiB");
    for seen in seen {
        assert_eq!(seen.map(|_| ()), Ok(()), "parsed without keeping it");
    }
}

#[tokio::test]
async fn lists_and_texts_above_their_limits_are_errors_with_call_and_limit() {
    let bridge = Bridge::new(limits()).unwrap();
    let many = vec!["{\"node_id\":\"a\",\"state\":\"ALIVE\"}"; 100_000].join(",");
    let long = format!("{{\"state\":\"{}\"}}", "x".repeat(10_000_000));
    let server = Fake::start().await;
    server
        .on("GET /api/v0/nodes", [listed(&many)])
        .on("GET /api/v0/actors", [listed(&long)])
        .on("GET /api/v0/placement_groups", [listed(&"0,".repeat(3_000_000))]);
    let dashboard = bridge.dashboard(&named("n/g", &server.url));
    let nodes = dashboard.nodes().await.map(|nodes| nodes.len()).unwrap_err().to_string();
    assert!(
        nodes.starts_with("n/g: dashboard GET /api/v0/nodes") && nodes.contains("more than 4096 entries"),
        "{nodes}"
    );
    let groups = dashboard.placement_groups(&[]).await.map(|groups| groups.len()).unwrap_err();
    assert_eq!(groups.kind, CallErrorKind::TooLarge { limit: 4 * MIB });
    assert!(groups.to_string().ends_with("the reply is longer than 4194304 bytes"), "{groups}");
    assert_eq!(dashboard.actors(&[]).await.unwrap()[0].state.len(), 32, "truncated while parsing");
}

#[tokio::test]
async fn more_nodes_than_a_group_can_have_are_an_error() {
    let (ray, _) = honest().await;
    let bridge = Bridge::new(limits()).unwrap();
    let options = ObserveOptions { most_nodes: 3, ..ObserveOptions::default() };
    let error = bridge.observe(&named("n/g", &ray.url), None, options).await.unwrap_err().to_string();
    assert!(error.ends_with("4 nodes are alive, more than the 3 allowed"), "{error}");
}

#[tokio::test]
async fn endless_replies_are_read_up_to_their_limit() {
    let (url, sent) = endless(b"{\"a\":[").await;
    let sent = || sent.swap(0, Ordering::Relaxed);
    let bridge = Bridge::new(limits()).unwrap();
    let target = named("n/g", &url);
    let (dashboard, engine) = (bridge.dashboard(&target), bridge.engine(&target).unwrap());
    // Data in the buffers of both sockets counts as sent.
    let slack = 32 * MIB;

    assert_eq!(engine.health().await, Health::Serving);
    let read = sent();
    assert!(read < slack, "health: {read}");
    assert!(matches!(
        dashboard.log_tail_of(&id("j"), &running()).await.unwrap_err().kind,
        CallErrorKind::TooLarge { .. }
    ));
    let read = sent();
    assert!(read < 16 * MIB + slack, "log: {read}");
    for (what, error) in [
        ("load", engine.load().await.unwrap_err()),
        ("version", dashboard.version().await.unwrap_err()),
        ("nodes", dashboard.nodes().await.unwrap_err()),
        ("status", dashboard.gpu_use().await.unwrap_err()),
        ("job", dashboard.job(&id("j")).await.unwrap_err()),
    ] {
        assert!(matches!(error.kind, CallErrorKind::TooLarge { .. }), "{what}: {error}");
    }
    let read = sent();
    assert!(read < 5 * (4 * MIB + slack), "all others: {read}");
}

/// A job that runs on a node.
fn running() -> ray_bridge::dashboard::Job {
    serde_json::from_slice(b"{\"status\":\"RUNNING\",\"driver_node_id\":\"ab\"}").unwrap()
}
