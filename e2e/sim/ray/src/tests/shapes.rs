//! Simulated replies compared with recorded ones of real Ray to the same calls: the same status, content
//! type, keys and value types.

use std::collections::BTreeMap;
use std::path::Path;

use ray_bridge::observe::EngineState;
use reqwest::Method;
use serde_json::{Value, json};

use super::bench::{Bench, CLUSTER, HEAD, PORT, name};

fn recorded(file: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../ray-bridge/tests/fixtures");
    let text = std::fs::read_to_string(folder.join(format!("{file}.json"))).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["response"].clone()
}

/// Keys of objects that are names of things, not of fields: they differ between clusters.
const NAMES: [&str; 13] = [
    "labels",
    "resources_total",
    "required_resources",
    "unit_resources",
    "label_selector",
    "metadata",
    "runtime_env",
    "activeNodes",
    "nodeTypeMapping",
    "usage",
    "usageByNode",
    "nodeTypes",
    "resourceDemand",
];

/// Collects the value types at each path: `string`, `number`, and so on. All entries of a list share a
/// path.
fn shape(value: &Value, at: &str, into: &mut BTreeMap<String, Vec<&'static str>>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    let kinds = into.entry(at.to_owned()).or_default();
    if !kinds.contains(&kind) {
        kinds.push(kind);
    }
    let last = at.rsplit('.').next().unwrap_or_default();
    match value {
        Value::Object(fields) if !NAMES.contains(&last) => {
            fields.iter().for_each(|(key, value)| shape(value, &format!("{at}.{key}"), into));
        }
        Value::Array(entries) if !NAMES.contains(&last) => {
            for entry in entries {
                shape(entry, &format!("{at}[]"), into);
            }
        }
        _ => {}
    }
}

fn shapes(value: &Value) -> BTreeMap<String, Vec<&'static str>> {
    let mut found = BTreeMap::new();
    shape(value, "", &mut found);
    found
}

/// Asserts that both have the same paths, with types that agree where neither is null.
fn same(file: &str, real: &Value, simulated: &Value) {
    let (real, simulated) = (shapes(real), shapes(simulated));
    let paths = |of: &BTreeMap<String, Vec<&str>>, other: &BTreeMap<String, Vec<&str>>| -> Vec<String> {
        // Below a null or empty value in one of them nothing can be compared.
        let comparable = |path: &str| {
            let parents =
                path.match_indices(['.', '[']).filter(|(at, _)| *at > 0).filter_map(|(at, _)| path.get(..at));
            let mut parents = parents.filter_map(|parent| other.get(parent));
            parents.all(|kinds| kinds.iter().any(|kind| *kind != "null"))
        };
        let empty = |path: &str| {
            let list = path.rfind("[]").and_then(|at| path.get(..at + 2));
            list.is_some_and(|list| !other.contains_key(list))
        };
        of.keys()
            .filter(|path| !other.contains_key(*path) && comparable(path) && !empty(path))
            .cloned()
            .collect()
    };
    assert_eq!(
        paths(&real, &simulated),
        Vec::<String>::new(),
        "{file}: fields that the simulated reply lacks"
    );
    assert_eq!(paths(&simulated, &real), Vec::<String>::new(), "{file}: fields that real Ray does not have");
    for (path, kinds) in &real {
        let Some(others) = simulated.get(path) else { continue };
        let without_null = |kinds: &Vec<&'static str>| -> Vec<&'static str> {
            kinds.iter().copied().filter(|kind| *kind != "null").collect()
        };
        let (kinds, others) = (without_null(kinds), without_null(others));
        if !kinds.is_empty() && !others.is_empty() {
            assert!(
                kinds.iter().any(|kind| others.contains(kind)),
                "{file}: {path} is {kinds:?}, simulated {others:?}"
            );
        }
    }
}

async fn ask(
    bench: &Bench,
    method: Method,
    port: u16,
    path: &str,
    body: Option<Value>,
) -> (u16, String, Vec<u8>) {
    let url = format!("http://{HEAD}:{port}{path}").parse().unwrap();
    let mut request = reqwest::Request::new(method, url);
    *request.body_mut() = body.map(|body| body.to_string().into());
    let reply = bench.ray.wire().send(request).await.unwrap();
    let kind = reply.headers().get("content-type").unwrap().to_str().unwrap().to_owned();
    (reply.status().as_u16(), kind, reply.bytes().await.unwrap().to_vec())
}

/// Makes a call and compares the reply with a recorded one.
async fn holds(bench: &Bench, file: &str, method: Method, port: u16, path: &str, body: Option<Value>) {
    let real = recorded(file);
    let (status, kind, bytes) = ask(bench, method, port, path, body).await;
    assert_eq!(u64::from(status), real["status"].as_u64().unwrap(), "{file}");
    if let Some(json) = real.get("json") {
        assert!(kind.starts_with("application/json"), "{file}: {kind}");
        return same(file, json, &serde_json::from_slice(&bytes).unwrap());
    }
    if let Some(wanted) = real["headers"]["Content-Type"].as_str() {
        assert_eq!(kind.split(';').next(), wanted.split(';').next(), "{file}");
    }
}

fn filtered(kind: &str, key: &str, value: &str) -> String {
    format!(
        "/api/v0/{kind}?detail=1&limit=10000&filter_keys={key}&filter_predicates=%3D&filter_values={value}"
    )
}

const DASHBOARD: u16 = 8265;

#[tokio::test(start_paused = true)]
async fn replies_have_the_shape_of_recorded_ones() {
    let mut bench = Bench::new().await;
    let get = |file: &'static str, path: &str| {
        let path = path.to_owned();
        (file, Method::GET, path, None)
    };
    bench.serving("chat-1").await;
    let groups = filtered("placement_groups", "name", "chat-1");
    let actors = filtered("actors", "class_name", "RayWorkerProc");
    let calls = [
        get("version", "/api/version"),
        get("auth_mode_disabled", "/api/authentication_mode"),
        get("gcs_healthz", "/api/gcs_healthz"),
        get("root404", "/api/nope"),
        get("cluster_status", "/api/cluster_status"),
        get("v0_nodes_detail", "/api/v0/nodes?detail=1&limit=10"),
        get("v0_placement_groups_vllm", &groups),
        get("v0_actors_vllm_workers", &actors),
        get("v0_actors_filter_bad", &filtered("actors", "nonsense", "x")),
        get("v0_actors_limit_bad", "/api/v0/actors?limit=abc"),
        get("ray-2.46/job_get_running", "/api/jobs/chat-1"),
        get("jobs_list", "/api/jobs/"),
        get("job_get_unknown", "/api/jobs/nope"),
        get("job_logs", "/api/jobs/chat-1/logs"),
        get("job_logs_unknown", "/api/jobs/nope/logs"),
        get("v0_logs_bad", "/api/v0/logs/file?node_id=ffff&filename=x"),
        get("package_get_after_gc", "/api/packages/gcs/_ray_pkg_356572f3ba7344bf.zip"),
        (
            "job_submit_dup",
            Method::POST,
            "/api/jobs/".to_owned(),
            Some(json!({ "entrypoint": "true", "submission_id": "chat-1" })),
        ),
        (
            "job_submit_ok",
            Method::POST,
            "/api/jobs/".to_owned(),
            Some(json!({ "entrypoint": "true", "submission_id": "more" })),
        ),
        ("job_submit_badtype", Method::POST, "/api/jobs/".to_owned(), Some(json!({}))),
        ("job_delete_running", Method::DELETE, "/api/jobs/chat-1".to_owned(), None),
        ("job_delete_unknown", Method::DELETE, "/api/jobs/nope".to_owned(), None),
        ("job_stop_unknown", Method::POST, "/api/jobs/nope/stop".to_owned(), None),
    ];
    for (file, method, path, body) in calls {
        holds(&bench, file, method, DASHBOARD, &path, body).await;
    }
    holds(&bench, "vllm_models", Method::GET, PORT, "/v1/models", None).await;
    holds(&bench, "local_raylet_healthz_agent", Method::GET, 52365, "/api/local_raylet_healthz", None).await;
    let (status, _, health) = ask(&bench, Method::GET, PORT, "/health", None).await;
    assert_eq!((status, health.len()), (200, 0));
    let job = bench.bridge.dashboard(&bench.target).job(&name("chat-1")).await.unwrap();
    let file = format!(
        "/api/v0/logs/file?node_id={}&filename=job-driver-chat-1.log&lines=10",
        job.driver_node_id.unwrap()
    );
    holds(&bench, "v0_logs_file", Method::GET, DASHBOARD, &file, None).await;

    holds(&bench, "job_stop_running", Method::POST, DASHBOARD, "/api/jobs/chat-1/stop", None).await;
    let ended =
        async || bench.look(Some(&name("chat-1"))).await.unwrap().engine.filter(EngineState::has_ended);
    bench.until("its end", ended).await;
    for (file, method, path) in [
        ("job_get_stopped", Method::GET, "/api/jobs/chat-1"),
        ("job_get_succeeded", Method::GET, "/api/jobs/more"),
        ("job_stop_terminal", Method::POST, "/api/jobs/chat-1/stop"),
        ("v0_placement_groups_removed", Method::GET, groups.as_str()),
        ("v0_actor_dead_sigkill", Method::GET, actors.as_str()),
        ("job_delete_stopped", Method::DELETE, "/api/jobs/chat-1"),
        ("job_get_deleted", Method::GET, "/api/jobs/chat-1"),
    ] {
        holds(&bench, file, method, DASHBOARD, path, None).await;
    }
}

#[tokio::test(start_paused = true)]
async fn replies_about_a_dead_node_have_the_shape_of_recorded_ones() {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    bench.ray.lose_node("machine-3");
    let dead = async || Some(bench.nodes().await).filter(|nodes| nodes.len() == 2);
    bench.until("Ray to notice", dead).await;
    for (file, path) in [
        ("v0_nodes_one_dead", "/api/v0/nodes?detail=1".to_owned()),
        ("v0_placement_groups_rescheduling", filtered("placement_groups", "state", "RESCHEDULING")),
        ("cluster_status_dead", "/api/cluster_status".to_owned()),
    ] {
        holds(&bench, file, Method::GET, DASHBOARD, &path, None).await;
    }
    // An actor that died with its node.
    let (_, _, bytes) = ask(&bench, Method::GET, DASHBOARD, &filtered("actors", "state", "DEAD"), None).await;
    let mut actors: Value = serde_json::from_slice(&bytes).unwrap();
    let listed = actors["data"]["result"]["result"].as_array_mut().unwrap();
    listed.retain(|actor| actor["death_cause"]["actor_died_error_context"]["reason"] == "NODE_DIED");
    assert_eq!(listed.len(), 2);
    same("v0_actor_node_died", &recorded("v0_actor_node_died")["json"], &actors);
    let ended =
        async || bench.look(Some(&name("chat-1"))).await.unwrap().engine.filter(EngineState::has_ended);
    bench.until("its end", ended).await;
    holds(&bench, "job_get_failed", Method::GET, DASHBOARD, "/api/jobs/chat-1", None).await;
    assert!(bench.ray.snapshot()["clusters"][CLUSTER]["ranks"].as_array().unwrap().is_empty());
}
