//! A gateway on loopback, with both its fronts, and engines with a fixed behaviour each.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use rayfleet_runtime::watch::{Scope, Sink};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use crate::metrics::Metrics;
use crate::models::Models;
use crate::picker::Picker;
use crate::proxy::Proxy;
use crate::ranking::Ranking;
use crate::room::Room;
use crate::server::{Clients, Envoys};
use crate::table::{Fleet, Slice, Watched as _};
use crate::{loads, server};

/// Largest body, and room of all, in bytes.
pub(super) const LARGEST: usize = 1 << 20;
pub(super) const ALL: usize = 1 << 20;

/// Requests that the picker has at a time.
pub(super) const REQUESTS: usize = 4;

/// Time for a body.
pub(super) const UPLOAD: Duration = Duration::from_millis(1500);

/// What an engine does with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    /// Tells what it got.
    Echo,
    /// Nobody listens.
    Refuse,
    /// Takes the request and closes the connection.
    HangUp,
    /// Answers with a status.
    Say(u16),
    /// A piece, and another on a signal.
    Stream,
    /// A piece, and then the connection ends.
    BreakOff,
    /// The head of an answer, and then the connection ends.
    OnlyHead,
    /// Nothing, for as long as the client waits.
    Wait,
    /// Streams, and says of itself that it has so many requests.
    Busy(u32),
}

#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    cancelled: AtomicUsize,
    loads: AtomicUsize,
    go_on: Notify,
}

#[derive(Clone)]
struct Engine {
    does: Does,
    seen: Arc<Seen>,
}

/// A gateway and its engines.
pub(super) struct Bench {
    address: SocketAddr,
    picker: SocketAddr,
    client: reqwest::Client,
    models: Models,
    room: Room,
    metrics: Arc<Metrics>,
    heads: Vec<SocketAddr>,
    seen: Arc<Seen>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    ending: Arc<AtomicBool>,
    ended: watch::Receiver<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Bench {
    /// All engines are ready.
    pub(super) async fn of<const N: usize>(engines: [Does; N]) -> Self {
        Self::naming(1, engines).await
    }

    /// The picker names so many endpoints for a request.
    pub(super) async fn naming<const N: usize>(endpoints: usize, engines: [Does; N]) -> Self {
        let bench = Self::start(&engines, endpoints).await;
        let fleet =
            json!({"metadata": {"namespace": "n", "name": "f"}, "spec": {"model": {"name": "llama"}}});
        bench.models.apply(Fleet::read(&fleet.to_string()).unwrap().unwrap());
        let ready: Vec<usize> = (0..N).collect();
        bench.set_ready(&ready);
        let none = BTreeSet::default();
        Sink::<Fleet>::listed(&bench.models, &Scope::In("elsewhere".to_owned()), &none);
        Sink::<Slice>::listed(&bench.models, &Scope::In("elsewhere".to_owned()), &none);
        bench
    }

    /// Nothing was listed yet.
    pub(super) async fn unsettled() -> Self {
        Self::start(&[], 1).await
    }

    async fn start(engines: &[Does], endpoints: usize) -> Self {
        let seen = Arc::new(Seen::default());
        let (mut heads, mut tasks) = (vec![], vec![]);
        for does in engines {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            heads.push(listener.local_addr().unwrap());
            if let Does::Refuse = does {
                continue;
            }
            let routes = Router::new()
                .route("/metrics", axum::routing::get(load))
                .fallback(answer)
                .with_state(Engine { does: *does, seen: seen.clone() });
            if let Does::HangUp = does {
                tasks.push(tokio::spawn(hang_up(listener, seen.clone())));
            } else {
                tasks.push(tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }));
            }
        }
        let (models, metrics) = (Models::new(), Arc::new(Metrics::default()));
        let ranking = Ranking::new(models.clone(), rayfleet_routing::Strategy::default());
        let room = Room::new(LARGEST, ALL);
        let ending = Arc::new(AtomicBool::new(false));
        let picker = Picker::new(ranking.clone(), room.clone(), UPLOAD, endpoints, REQUESTS, metrics.clone());
        let routes = picker.routes(models.clone(), ending.clone());
        let answer = Duration::from_secs(20);
        let proxy = Proxy::new(ranking, room.clone(), UPLOAD, answer, metrics.clone(), ending.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = watch::channel(false);
        let envoys = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let picker = envoys.local_addr().unwrap();
        tasks.push(tokio::spawn(async move {
            let drain = Duration::from_secs(20);
            let stopped = async { drop(stopped.await) }.shared();
            tokio::join!(
                server::serve(listener, Clients(proxy), 100, stopped.clone(), drain),
                server::serve(envoys, Envoys(routes), 100, stopped, drain),
            );
            let _ = end.send(true);
        }));
        tasks.push(tokio::spawn(loads::ask_all(models.clone())));
        // Where another test of this process was first, it is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::new();
        Self {
            address,
            picker,
            client,
            models,
            room,
            metrics,
            heads,
            seen,
            stop: Mutex::new(Some(stop)),
            ending,
            ended,
            tasks,
        }
    }

    /// Which engines may take requests.
    pub(super) fn set_ready(&self, ready: &[usize]) {
        let labels = json!({"kubernetes.io/service-name": "f", "rayfleet.io/service": "f",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
        for (number, head) in self.heads.iter().enumerate() {
            let endpoints = json!([{"addresses": [head.ip()], "conditions": {"ready": ready.contains(&number)},
                "targetRef": {"kind": "Pod", "uid": format!("pod-{number}")}}]);
            let metadata = json!({"namespace": "n", "name": format!("f-{number}"), "labels": labels});
            let slice =
                json!({"metadata": metadata, "endpoints": endpoints, "ports": [{"port": head.port()}]});
            self.models.apply(Slice::read(&slice.to_string()).unwrap().unwrap());
        }
    }

    pub(super) fn remove_fleet(&self) {
        Sink::<Fleet>::gone(&self.models, &rayfleet_runtime::Key::new("n", "f"));
    }

    pub(super) fn picker(&self) -> SocketAddr {
        self.picker
    }

    pub(super) fn heads(&self) -> &[SocketAddr] {
        &self.heads
    }

    /// Requests that a head has.
    pub(super) fn in_flight(&self) -> usize {
        let text = self.metrics();
        let counts =
            text.lines().filter_map(|line| line.strip_prefix("rayfleet_gateway_requests_in_flight{"));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.client.post(format!("http://{}{path}", self.address)).body(body)
    }

    pub(super) async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("http://{}{path}", self.address)).send().await.unwrap()
    }

    /// Asks a model something short.
    pub(super) async fn ask(&self, model: &str) -> reqwest::Response {
        self.post(super::CHAT, json!({"model": model}).to_string()).send().await.unwrap()
    }

    /// Streams make their second piece.
    pub(super) fn go_on(&self) {
        self.seen.go_on.notify_waiters();
    }

    /// It is to end, and takes clients until everybody knows.
    pub(super) fn leave(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    pub(super) fn stop(&self) {
        if let Some(stop) = self.stop.lock().take() {
            let _ = stop.send(());
        }
    }

    pub(super) async fn ended(&self) {
        let _ = self.ended.clone().wait_for(|ended| *ended).await.unwrap();
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    pub(super) fn cancelled(&self) -> usize {
        self.seen.cancelled.load(Ordering::SeqCst)
    }

    pub(super) fn asked_for_load(&self) -> usize {
        self.seen.loads.load(Ordering::SeqCst)
    }

    pub(super) fn room(&self) -> usize {
        self.room.left()
    }

    pub(super) fn metrics(&self) -> String {
        self.metrics.text()
    }

    /// Waits until something is so.
    pub(super) async fn until(&self, so: impl Fn(&Self) -> bool) {
        let wait = async {
            while !so(self) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it never came");
    }
}

/// A connection is taken, the first bytes of the request are read, and then it is closed. Only what clients send is counted.
async fn hang_up(listener: TcpListener, seen: Arc<Seen>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = [0; 4];
        let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await;
        if read.is_ok() && first == *b"POST" {
            seen.requests.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn load(State(engine): State<Engine>) -> String {
    engine.seen.loads.fetch_add(1, Ordering::SeqCst);
    let Does::Busy(requests) = engine.does else { return String::new() };
    format!("vllm:num_requests_running {requests}\nvllm:num_requests_waiting 0\n")
}

/// Counts a stream that is dropped before its end.
struct Cancelled(Option<Arc<Seen>>);

impl Cancelled {
    fn done(&mut self) {
        self.0 = None;
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(seen) = &self.0 {
            seen.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn answer(State(engine): State<Engine>, request: Request) -> Response {
    engine.seen.requests.fetch_add(1, Ordering::SeqCst);
    match engine.does {
        Does::Echo | Does::Refuse | Does::HangUp => {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let headers: serde_json::Map<String, serde_json::Value> = head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())))
                .collect();
            let seen =
                json!({"path": head.uri.path(), "headers": headers, "body": String::from_utf8_lossy(&body)});
            ([("x-from", "engine"), ("keep-alive", "5")], seen.to_string()).into_response()
        }
        Does::Say(status) => {
            let status = axum::http::StatusCode::from_u16(status).unwrap();
            (status, format!("engine says {}", status.as_u16())).into_response()
        }
        Does::Stream | Does::Busy(_) => {
            let seen = engine.seen.clone();
            let mut guard = Cancelled(Some(seen.clone()));
            let first = futures::stream::iter([Ok::<_, std::io::Error>("data: 1\n\n")]);
            let second = futures::stream::once(async move {
                seen.go_on.notified().await;
                guard.done();
                Ok("data: 2\n\n")
            });
            Body::from_stream(first.chain(second)).into_response()
        }
        Does::Wait => {
            let _cancelled = Cancelled(Some(engine.seen.clone()));
            std::future::pending().await
        }
        Does::OnlyHead => {
            let piece = async { Err::<&str, _>(std::io::Error::other("its rank has died")) };
            Body::from_stream(futures::stream::once(piece)).into_response()
        }
        Does::BreakOff => {
            let pieces = [Ok("data: 1\n\n"), Err(std::io::Error::other("its rank has died"))];
            // The first piece is on its way before the connection ends.
            let pieces = futures::stream::iter(pieces).then(|piece| async {
                if piece.is_err() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                piece
            });
            Body::from_stream(pieces).into_response()
        }
    }
}
