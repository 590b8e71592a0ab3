//! A fake Ray cluster with an engine, over HTTP: head and worker with two GPUs each, jobs that become healthy
//! after a number of calls, and settings for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{Method, Response};
use ray_bridge::dashboard::Job;
use ray_bridge::engine::LaunchRecord;
use rayfleet_cli_kit::Format;
use serde_json::{Value, json};

use crate::args::Global;
use crate::connect::Session;

pub(crate) const HEAD: &str = "aa11aa11aa11aa11";
pub(crate) const WORKER: &str = "bb22bb22bb22bb22";

/// Settings and state of the fake cluster.
pub(crate) struct Cluster {
    /// GPUs in use, of two on each node.
    pub(crate) used: [u32; 2],
    /// Jobs as Ray lists them.
    pub(crate) jobs: BTreeMap<String, Value>,
    /// Log of every job.
    pub(crate) log: String,
    /// Scripts for followers of a log, one per connection; the last one is repeated. Without any, followers
    /// are refused.
    pub(crate) streams: Vec<Vec<&'static str>>,
    /// Calls of `/health` that are refused before the engine is healthy.
    pub(crate) looks_until_healthy: u32,
    /// A job fails when it is submitted.
    pub(crate) fails: bool,
    /// Ranks run on the other node than planned.
    pub(crate) swapped: bool,
    /// Requests in flight, one value per call; the last one is repeated.
    pub(crate) in_flight: Vec<u64>,
    /// The token that is required.
    pub(crate) token: Option<String>,
    /// `METHOD /path` of all requests.
    pub(crate) asked: Vec<String>,
}

/// The server; it stops with the test's runtime.
pub(crate) struct Fake {
    cluster: Arc<Mutex<Cluster>>,
    url: String,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let cluster = Cluster {
            used: [0, 0],
            jobs: BTreeMap::new(),
            log: String::new(),
            streams: Vec::new(),
            looks_until_healthy: 0,
            fails: false,
            swapped: false,
            in_flight: vec![0],
            token: None,
            asked: Vec::new(),
        };
        let cluster = Arc::new(Mutex::new(cluster));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&cluster));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { cluster, url }
    }

    /// Changes or reads the settings.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        change(&mut self.cluster.lock().unwrap())
    }

    /// A session with this cluster.
    pub(crate) fn session(&self) -> Session {
        session(&self.url)
    }
}

/// A session with a cluster at a URL at which its engine answers too.
pub(crate) fn session(url: &str) -> Session {
    // Long, because a test must not depend on the load of its machine.
    session_within(url, Duration::from_secs(30))
}

/// The same with another time limit of a call.
pub(crate) fn session_within(url: &str, request_timeout: Duration) -> Session {
    let global = Global {
        address: Some(url.to_owned()),
        engine_address: Some(url.parse().unwrap()),
        token_file: None,
        ca_file: None,
        request_timeout,
        output: Format::Text,
    };
    let mut session = Session::open(&global, |_| None).unwrap();
    session.pace = Duration::from_millis(1);
    session
}

/// A job that the bridge launched.
pub(crate) fn job(status: &str, record: &LaunchRecord) -> Job {
    let record = serde_json::to_string(record).unwrap();
    serde_json::from_value(json!({"status": status, "metadata": {"rayfleet.io/engine": record}})).unwrap()
}

async fn answer(State(cluster): State<Arc<Mutex<Cluster>>>, request: Request) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let stream = {
        let mut cluster = cluster.lock().unwrap();
        let wanted = parts.uri.path().ends_with("/logs/tail") && !cluster.streams.is_empty();
        wanted.then(|| {
            cluster.asked.push("follow".to_owned());
            if cluster.streams.len() > 1 { cluster.streams.remove(0) } else { cluster.streams[0].clone() }
        })
    };
    if let Some(texts) = stream {
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.unwrap();
        // Dropping the socket closes it without an error, as Ray does.
        return upgrade.on_upgrade(async move |mut socket| {
            for text in texts {
                socket.send(Message::text(text)).await.unwrap();
            }
            let _ = socket.send(Message::Close(None)).await;
        });
    }
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let path = parts.uri.path().to_owned();
    let mut cluster = cluster.lock().unwrap();
    cluster.asked.push(format!("{} {path}", parts.method));
    let sent = parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let (status, text) = match (&cluster.token, sent) {
        (Some(_), None) => (401, "Unauthorized".to_owned()),
        (Some(token), Some(sent)) if sent != format!("Bearer {token}") => (403, "Forbidden".to_owned()),
        _ => cluster.answer(&parts.method, &path, &body),
    };
    Response::builder().status(status).body(Body::from(text)).unwrap()
}

impl Cluster {
    fn answer(&mut self, method: &Method, path: &str, body: &[u8]) -> (u16, String) {
        let json = |value: Value| (200, value.to_string());
        if let Some(rest) = path.strip_prefix("/api/jobs/") {
            return self.job(method, rest, body);
        }
        match path {
            "/api/version" => json(json!({"ray_version": "2.60.0", "session_name": "s"})),
            "/api/v0/nodes" => {
                list(&[node(HEAD, "10.0.0.1", "head-0", true), node(WORKER, "10.0.0.2", "worker-0", false)])
            }
            "/api/cluster_status" => {
                let usage = json!({HEAD: {"GPU": [self.used[0], 2]}, WORKER: {"GPU": [self.used[1], 2]}});
                json(json!({"data": {"clusterStatus": {"loadMetricsReport": {"usageByNode": usage}}}}))
            }
            "/api/v0/placement_groups" => list(&self.groups()),
            "/api/v0/actors" => list(&self.ranks()),
            "/health" if self.looks_until_healthy > 0 => {
                self.looks_until_healthy -= 1;
                (503, String::new())
            }
            "/rayfleet/v1/state" => {
                let now = if self.in_flight.len() > 1 { self.in_flight.remove(0) } else { self.in_flight[0] };
                let reported = self.asked.iter().any(|asked| asked == "POST /rayfleet/v1/drain");
                json(json!({"inFlight": now, "served": 3, "draining": reported, "idleSeconds": 1.0}))
            }
            "/v1/completions" => json(json!({"choices": [{"text": " there"}]})),
            _ => (200, String::new()),
        }
    }

    fn job(&mut self, method: &Method, rest: &str, body: &[u8]) -> (u16, String) {
        let (name, action) = rest.split_once('/').unwrap_or((rest, ""));
        if name.is_empty() {
            if method == Method::GET {
                return (200, json!(self.jobs.values().collect::<Vec<_>>()).to_string());
            }
            let mut job: Value = serde_json::from_slice(body).unwrap();
            job["status"] = json!(if self.fails { "FAILED" } else { "RUNNING" });
            job["start_time"] = json!(1_795_337_323_066_u64);
            let name = job["submission_id"].as_str().unwrap().to_owned();
            self.jobs.insert(name, job);
            return (200, "{}".to_owned());
        }
        let Some(job) = self.jobs.get_mut(name) else {
            return (404, format!("Job {name} does not exist"));
        };
        match (method, action) {
            (&Method::DELETE, _) => {
                self.jobs.remove(name);
                (200, r#"{"deleted": true}"#.to_owned())
            }
            (_, "stop") => {
                job["status"] = json!("STOPPED");
                (200, r#"{"stopped": true}"#.to_owned())
            }
            (_, "logs") => (200, json!({"logs": self.log}).to_string()),
            _ => (200, job.to_string()),
        }
    }

    fn running(&self) -> Option<&str> {
        let (name, _) = self.jobs.iter().find(|(_, job)| job["status"] == "RUNNING")?;
        Some(name)
    }

    fn places(&self) -> [&'static str; 2] {
        if self.swapped { [WORKER, HEAD] } else { [HEAD, WORKER] }
    }

    fn groups(&self) -> Vec<Value> {
        let places = self.places();
        let bundles: Vec<Value> =
            (0..4).map(|n| json!({"bundle_id": {"bundle_index": n}, "node_id": places[n / 2]})).collect();
        let group =
            |name| json!({"placement_group_id": "pg", "name": name, "state": "CREATED", "bundles": bundles});
        self.running().map(group).into_iter().collect()
    }

    fn ranks(&self) -> Vec<Value> {
        let rank = |n: usize| {
            json!({
                "class_name": "RayWorkerProc", "name": format!("vllm_Worker_1_TP{}_PP{}", n % 2, n / 2),
                "state": "ALIVE", "node_id": self.places()[n / 2], "placement_group_id": "pg",
            })
        };
        self.running().into_iter().flat_map(|_| (0..4).map(rank)).collect()
    }
}

fn node(id: &str, ip: &str, name: &str, head: bool) -> Value {
    json!({
        "node_id": id, "node_ip": ip, "node_name": name, "is_head_node": head, "state": "ALIVE",
        "resources_total": {"GPU": 2.0, "CPU": 4.0}, "labels": {"ray.io/node-id": id},
    })
}

fn list(entries: &[Value]) -> (u16, String) {
    let result = json!({"total": entries.len(), "num_filtered": entries.len(), "result": entries});
    (200, json!({"result": true, "msg": "", "data": {"result": result}}).to_string())
}
