//! Recorded replies truncated, altered and mixed up: every call returns a value or a typed error, and none
//! panics.
#![allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Fake, id, limits, recorded, target};
use proptest::prelude::*;
use ray_bridge::dashboard::{JobRequest, Package};
use ray_bridge::engine::{Probe, ProbeError, parse_phases, this_launch};
use ray_bridge::observe::ObserveOptions;
use ray_bridge::placement::RankName;
use ray_bridge::{Bridge, CallError, CallErrorKind, Limits, NodeId, Target};
use serde_json::Value;

const FIXTURES: &[&str] = &[
    "version",
    "auth_mode",
    "job_get_failed",
    "job_get_supervisor_died",
    "jobs_list",
    "job_logs",
    "job_stop_running",
    "job_submit_ok",
    "nodes_summary",
    "v0_nodes_detail",
    "cluster_status_pg_pending",
    "prometheus_sd",
    "v0_actors_vllm_workers",
    "v0_actor_dead_sigkill",
    "v0_placement_groups_pending",
    "v0_workers_detail",
    "vllm_models",
    "ray-2.46/nodes_summary",
    "ray-2.46/cluster_status",
];

/// Longer replies are too large in these tests, so that they need not be huge.
const REPLY_BYTES: usize = 256 << 10;

/// One kind of damage.
#[derive(Debug, Clone)]
enum Damage {
    Cut(prop::sample::Index),
    Byte(prop::sample::Index, u8),
    /// The n-th value in the JSON is replaced by another one.
    Swap(prop::sample::Index, usize),
    /// The n-th value in the JSON is replaced by a string of this length.
    Long(prop::sample::Index, usize),
    /// The n-th value in the JSON is replaced by nested lists.
    Deep(prop::sample::Index, usize),
    /// The n-th value in the JSON is replaced by a list of copies of another one.
    Many(prop::sample::Index, usize, usize),
    /// The n-th value in the JSON is replaced by an object with this many fields.
    Wide(prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Damage::Cut),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (at(), 0..OTHERS.len()).prop_map(|(at, what)| Damage::Swap(at, what)),
        (at(), 0..2 * REPLY_BYTES).prop_map(|(at, length)| Damage::Long(at, length)),
        (at(), 0..400usize).prop_map(|(at, depth)| Damage::Deep(at, depth)),
        (at(), 0..OTHERS.len(), 0..20_000usize).prop_map(|(at, what, count)| Damage::Many(at, what, count)),
        (at(), 0..20_000usize).prop_map(|(at, count)| Damage::Wide(at, count)),
    ]
}

const OTHERS: &[&str] = &[
    "null",
    "18446744073709551615",
    "-1",
    "-1e308",
    "\"\"",
    "\"é\\u0000\"",
    "[]",
    "{}",
    "true",
    "[null]",
    "{\"\": 1}",
];

/// Replies that are not from Ray, whatever was requested.
fn foreign() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>".to_vec()),
        Just(b"\xff\xfe{\0\"\0a\0\"\0:\x001\0}\0".to_vec()),
        Just(b"[".repeat(100_000)),
        Just(b"{\"a\":".repeat(20_000)),
        Just(vec![b' '; 2 * REPLY_BYTES]),
        prop::collection::vec(any::<u8>(), 1..3000).prop_map(|mut bytes| {
            // No JSON begins like this.
            bytes.insert(0, 0xff);
            bytes
        }),
    ]
}

fn leaves<'a>(value: &'a mut Value, found: &mut Vec<&'a mut Value>) {
    let is_leaf = match value {
        Value::Object(o) => o.is_empty(),
        Value::Array(a) => a.is_empty(),
        _ => true,
    };
    match value {
        leaf if is_leaf => found.push(leaf),
        Value::Object(o) => o.values_mut().for_each(|v| leaves(v, found)),
        Value::Array(a) => a.iter_mut().for_each(|v| leaves(v, found)),
        _ => {}
    }
}

/// The body with the n-th value replaced; unchanged if it is not JSON.
fn replace(body: Vec<u8>, at: prop::sample::Index, by: &str) -> Vec<u8> {
    const PLACE: &str = "\u{1}place\u{1}";
    let Ok(mut json) = serde_json::from_slice::<Value>(&body) else { return body };
    let mut found = Vec::new();
    leaves(&mut json, &mut found);
    if found.is_empty() {
        return body;
    }
    let i = at.index(found.len());
    *found[i] = Value::from(PLACE);
    let place = serde_json::to_string(PLACE).unwrap();
    json.to_string().replace(&place, by).into_bytes()
}

fn apply(mut body: Vec<u8>, damage: &Damage) -> Vec<u8> {
    if body.is_empty() {
        return body;
    }
    match damage {
        Damage::Cut(at) => body.truncate(at.index(body.len())),
        Damage::Byte(at, byte) => {
            let i = at.index(body.len());
            body[i] = *byte;
        }
        Damage::Swap(at, what) => return replace(body, *at, OTHERS[*what]),
        Damage::Long(at, length) => return replace(body, *at, &format!("\"{}\"", "x".repeat(*length))),
        Damage::Deep(at, depth) => {
            return replace(body, *at, &format!("{}{}", "[".repeat(*depth), "]".repeat(*depth)));
        }
        Damage::Many(at, what, count) => {
            return replace(body, *at, &format!("[{}]", vec![OTHERS[*what]; *count].join(",")));
        }
        Damage::Wide(at, count) => {
            let fields: Vec<String> = (0..*count).map(|n| format!("\"{n}\":{n}")).collect();
            return replace(body, *at, &format!("{{{}}}", fields.join(",")));
        }
    }
    body
}

fn bridge() -> Bridge {
    let limits = Limits { reply_bytes: REPLY_BYTES, log_tail_bytes: 4096, retries: 0, ..limits() };
    Bridge::new(limits).unwrap()
}

fn fault<T>(result: Result<T, CallError>) -> Option<CallErrorKind> {
    result.err().map(|error| {
        assert!(error.to_string().chars().count() < 2000, "the error is short");
        error.kind
    })
}

/// Makes every call; returns the errors of those that expect JSON.
async fn every_call(target: &Target) -> BTreeMap<&'static str, Option<CallErrorKind>> {
    let bridge = bridge();
    let (dashboard, engine) = (bridge.dashboard(target), bridge.engine(target).unwrap());
    let j = id("j");
    let request = JobRequest {
        submission_id: j.clone(),
        entrypoint: "true".to_owned(),
        working_dir: None,
        env_vars: BTreeMap::new(),
        node: Some(NodeId::from("ab")),
        metadata: BTreeMap::new(),
    };
    let probe = Probe {
        model: "m".to_owned(),
        prompt: "p".to_owned(),
        max_tokens: 1,
        expect: None,
        timeout: Duration::from_secs(3),
    };
    let _ = dashboard.submit(&request).await;
    let _ = dashboard.delete(&j).await;
    let _ = dashboard.ensure_package(&Package::of(&[("a.py", b"")]).unwrap()).await;
    let _ = dashboard.gcs_health().await;
    let _ = dashboard.log_tail(&j).await;
    assert!(dashboard.log_stream(&j, 0).await.is_err(), "this server does not upgrade");
    let gpu_use = dashboard.gpu_use().await;
    let nodes = dashboard.nodes().await;
    for node in nodes.clone().unwrap_or_default() {
        let node = node.into_ray_node(gpu_use.as_ref().unwrap_or(&BTreeMap::new()));
        assert!(node.gpus_free <= node.gpus_total);
    }
    let actors = dashboard.actors(&[]).await;
    for actor in actors.iter().flatten() {
        let _ = actor.rank();
    }
    let groups = dashboard.placement_groups(&[]).await;
    for group in groups.iter().flatten() {
        let _ = (group.state(), group.reported());
    }
    let summaries = dashboard.node_summaries().await;
    let probed = match engine.probe(&probe).await {
        Err(ProbeError::Call(error)) => Some(error.kind),
        Err(ProbeError::NoWay(mut tried)) => tried.0.pop().map(|(_, fault)| fault),
        _ => None,
    };
    BTreeMap::from([
        ("version", fault(dashboard.version().await)),
        ("authentication", fault(dashboard.authentication().await)),
        ("job", fault(dashboard.job(&j).await)),
        ("jobs", fault(dashboard.jobs().await)),
        ("stop", fault(dashboard.stop(&j).await)),
        ("gpu_use", fault(gpu_use)),
        ("nodes", fault(nodes)),
        ("node_summaries", fault(summaries)),
        ("metrics_targets", fault(dashboard.metrics_targets().await)),
        ("actors", fault(actors)),
        ("placement_groups", fault(groups)),
        ("load", fault(engine.load().await)),
        ("models", fault(engine.models().await)),
        ("probe", probed),
        ("observe", fault(bridge.observe(target, Some(&j), ObserveOptions::full()).await)),
    ])
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn damaged_replies_never_panic(
        which in 0..FIXTURES.len(),
        damages in prop::collection::vec(damage(), 0..4),
        status in prop::sample::select(vec![200u16, 400, 404, 500]),
    ) {
        let body = damages.iter().fold(recorded(FIXTURES[which]).1, apply);
        run(async {
            let fake = Fake::start().await;
            fake.otherwise((status, body));
            let faults = every_call(&target(&fake.url, Some(&fake.url))).await;
            for (call, fault) in faults {
                match (status, &fault) {
                    (200, None | Some(CallErrorKind::Malformed { .. } | CallErrorKind::TooLarge { .. })) => {}
                    (200, _) => panic!("{call}: {fault:?}"),
                    // A Ray that does not know the authentication mode is open; one that does not know a job
                    // has none.
                    (404, None) if matches!(call, "authentication" | "observe") => {}
                    _ => assert!(fault.is_some(), "{call}"),
                }
            }
        });
    }

    #[test]
    fn replies_that_are_not_from_ray_are_typed_errors(body in foreign()) {
        run(async {
            let fake = Fake::start().await;
            fake.otherwise((200, body));
            for (call, fault) in every_call(&target(&fake.url, Some(&fake.url))).await {
                let typed = matches!(fault, Some(CallErrorKind::Malformed { .. } | CallErrorKind::TooLarge { .. }));
                assert!(typed, "{call}: {fault:?}");
            }
        });
    }

    /// Not HTTP at all, or a truncated reply.
    #[test]
    fn servers_that_do_not_speak_http_are_unreachable(
        noise in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            (1..5000usize).prop_map(|n| format!("HTTP/1.1 200 OK\r\ncontent-length: {n}\r\n\r\n{{").into_bytes()).prop_filter("cut", |b| !b.ends_with(b"1\r\n\r\n{")),
            "[0-9a-f]{1,4}".prop_map(|n| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{n}\r\n{{").into_bytes()),
        ],
    ) {
        run(async {
            let url = common::noise(noise.clone()).await;
            for (call, fault) in every_call(&target(&url, Some(&url))).await {
                let typed = matches!(fault, Some(CallErrorKind::Unreachable { .. } | CallErrorKind::TimedOut { .. } | CallErrorKind::Malformed { .. } | CallErrorKind::TooLarge { .. } | CallErrorKind::Rejected { .. }));
                assert!(typed, "{call}: {fault:?} of {:?}", String::from_utf8_lossy(&noise));
            }
        });
    }

    #[test]
    fn texts_of_any_kind_never_panic(text in "\\PC{0,200}", number in "[0-9]{0,25}") {
        let _ = RankName::parse(&format!("vllm_Worker_{text}_TP{number}_PP{number}"));
        let _ = parse_phases(&format!("RAYFLEET_PHASE {text}\nRAYFLEET_PHASE {{\"phase\": \"{text}\", \"seconds\": {number}}}"));
        let log = format!("{text}\nRAYFLEET_LAUNCH {{\"name\": \"j\", \"ms\": {number}}}\n{text}");
        prop_assert!(log.ends_with(this_launch(&log, &id("j"), None)));
    }
}
