//! The scripted servers of these tests and of the example `watch-figures`: one that answers with recorded replies and records the
//! requests, and those that misbehave on the wire itself: noise, broken connections and sockets, no answer at all.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends with what it did not expect")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use ray_bridge::{Bridge, Limits, SubmissionId, Target, Token};
use serde_json::Value;

/// One reply: status and body; with status 0 it never arrives.
pub type Answer = (u16, Vec<u8>);

/// One request as received.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
    pub user_agent: Option<String>,
    pub body: Bytes,
}

#[derive(Default)]
struct Inner {
    /// By `METHOD /path` without query; the last reply of a list is repeated.
    answers: HashMap<String, Vec<(u16, Bytes)>>,
    /// For every request without a reply of its own.
    otherwise: Option<(u16, Bytes)>,
    /// Each reply comes this much later.
    delay: Duration,
    asked: Vec<Asked>,
}

/// The server; it stops with the test's runtime.
#[derive(Clone)]
pub struct Fake {
    inner: Arc<Mutex<Inner>>,
    pub url: url::Url,
}

impl Fake {
    pub async fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().fallback(answer).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, url }
    }

    /// Answers `METHOD /path` with these in turn; the last one is repeated.
    pub fn on(&self, what: &str, answers: impl IntoIterator<Item = Answer>) -> &Self {
        let answers = answers.into_iter().map(|(status, body)| (status, body.into())).collect();
        self.inner.lock().unwrap().answers.insert(what.to_owned(), answers);
        self
    }

    /// Answers all other requests with this.
    pub fn otherwise(&self, (status, body): Answer) {
        self.inner.lock().unwrap().otherwise = Some((status, body.into()));
    }

    /// Answers everything this much later.
    pub fn delay(&self, delay: Duration) {
        self.inner.lock().unwrap().delay = delay;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.inner.lock().unwrap().asked.clone()
    }

    /// `METHOD /path` of all requests, without queries, sorted.
    pub fn calls(&self) -> Vec<String> {
        let mut calls: Vec<String> = self
            .asked()
            .iter()
            .map(|a| format!("{} {}", a.method, a.path.split('?').next().unwrap_or_default()))
            .collect();
        calls.sort();
        calls
    }
}

async fn answer(State(inner): State<Arc<Mutex<Inner>>>, request: Request) -> Response<axum::body::Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 24).await.unwrap();
    let key = format!("{} {}", parts.method, parts.uri.path());
    let (delay, (status, body)) = {
        let mut inner = inner.lock().unwrap();
        inner.asked.push(Asked {
            method: parts.method.to_string(),
            path: parts.uri.to_string(),
            authorization: parts.headers.get("authorization").map(|v| v.to_str().unwrap().to_owned()),
            user_agent: parts.headers.get("user-agent").map(|v| v.to_str().unwrap().to_owned()),
            body,
        });
        let answer = match inner.answers.get_mut(&key) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => inner.otherwise.clone().unwrap_or((404, format!("no answer for {key}").into())),
        };
        (inner.delay, answer)
    };
    tokio::time::sleep(delay).await;
    if status == 0 {
        std::future::pending::<()>().await;
    }
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .body(axum::body::Body::from(body))
        .unwrap()
}

/// A recorded reply from `tests/fixtures`.
pub fn recorded(name: &str) -> Answer {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let exchange: Value = serde_json::from_slice(&std::fs::read(&path).expect(&path)).unwrap();
    let reply = &exchange["response"];
    let status = u16::try_from(reply["status"].as_u64().unwrap()).unwrap();
    let body = match reply.get("json") {
        Some(json) => serde_json::to_vec(json).unwrap(),
        None => reply["text"].as_str().unwrap_or_default().as_bytes().to_vec(),
    };
    (status, body)
}

/// A recorded JSON reply with a change.
pub fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Answer {
    let (status, body) = recorded(name);
    let mut json = serde_json::from_slice(&body).unwrap();
    change(&mut json);
    (status, serde_json::to_vec(&json).unwrap())
}

/// Short limits, so that a test that waits for one ends soon.
pub fn limits() -> Limits {
    Limits { call: Duration::from_secs(3), submit: Duration::from_secs(3), ..Limits::default() }
}

pub fn bridge() -> Bridge {
    Bridge::new(limits()).unwrap()
}

pub fn target(dashboard: &url::Url, engine: Option<&url::Url>) -> Target {
    Target {
        name: "prod/chat-0".to_owned(),
        dashboard: dashboard.clone(),
        engine: engine.cloned(),
        token: Some(Token::new("s3cret").unwrap()),
        trusts_engine: false,
    }
}

pub fn id(text: &str) -> SubmissionId {
    SubmissionId::new(text).unwrap()
}

/// An address on which nothing listens.
pub async fn closed_port() -> url::Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()
}

/// A server that accepts connections and never answers.
pub async fn silent() -> url::Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    url
}

/// An action of a WebSocket.
#[derive(Debug, Clone)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    /// Closes with this code.
    Close(u16),
    /// Sends nothing more; the connection stays open.
    Silence,
    /// Drops the connection without a close frame.
    Break,
}

/// A server that upgrades: one script per connection in turn, the last one is repeated. Returns its address
/// and the requests (`path`, `authorization`).
pub async fn websocket(scripts: Vec<Vec<Frame>>) -> (url::Url, Arc<Mutex<Vec<(String, Option<String>)>>>) {
    use futures::SinkExt as _;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        for n in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let frames = scripts[n.min(scripts.len() - 1)].clone();
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                #[expect(clippy::result_large_err, reason = "the type that the handshake wants")]
                let note = |request: &Request, reply: Response| {
                    let token =
                        request.headers().get("authorization").map(|v| v.to_str().unwrap().to_owned());
                    log.lock().unwrap().push((request.uri().to_string(), token));
                    Ok(reply)
                };
                let mut socket = tokio_tungstenite::accept_hdr_async(stream, note).await.unwrap();
                for frame in frames {
                    let message = match frame {
                        Frame::Text(text) => Message::text(text),
                        Frame::Binary(bytes) => Message::binary(bytes),
                        Frame::Close(code) => {
                            Message::Close(Some(CloseFrame { code: code.into(), reason: "because".into() }))
                        }
                        Frame::Silence => std::future::pending().await,
                        Frame::Break => return,
                    };
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, asked)
}

/// A server that answers every connection with these bytes and closes it.
pub async fn noise(bytes: Vec<u8>) -> url::Url {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(&bytes).await;
            });
        }
    });
    url
}
