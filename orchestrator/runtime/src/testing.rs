//! A scripted API server, for tests of what the simulated one (`rayfleet-sim-kube`) never does: objects that cannot be read, pages
//! that are too large, watches that break off. A function answers each call, and the calls are kept.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::service_fn;

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Its body; null if there is none.
    pub body: Value,
}

/// What the server says to a call.
#[derive(Clone)]
pub enum Answer {
    /// Status and body.
    Reply(u16, Value),
    /// The same after a while.
    Late(Duration, u16, Value),
    /// Status and text, as it is.
    Stream(u16, String),
    /// The same, and then nothing, ever: the connection broke without a word.
    Open(u16, String),
    /// Nothing, ever.
    Silence,
}

/// The server.
#[derive(Clone)]
pub struct Fake {
    answer: Arc<dyn Fn(&Call) -> Answer + Send + Sync>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Fake {
    /// A server that answers so.
    pub fn new(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), calls: Arc::default() }
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        let fake = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, std::io::Error>(fake.take(request).await) }
        });
        Client::new(service, "n")
    }

    /// Calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    async fn take(&self, request: Request<Body>) -> Response<axum::body::Body> {
        let (method, path) = (request.method().clone(), request.uri().to_string());
        let body = request.into_body().collect_bytes().await.unwrap_or_default();
        let call = Call { method, path, body: serde_json::from_slice(&body).unwrap_or_default() };
        self.calls.lock().push(call.clone());
        let response = |code: u16, body: axum::body::Body| {
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
            response
        };
        let reply = |code: u16, body: Value| response(code, body.to_string().into());
        match (self.answer)(&call) {
            Answer::Reply(code, body) => reply(code, body),
            Answer::Late(late, code, body) => {
                tokio::time::sleep(late).await;
                reply(code, body)
            }
            Answer::Stream(code, text) => response(code, text.into()),
            Answer::Open(code, text) => {
                let text = futures::stream::iter([Ok::<_, std::io::Error>(text)]);
                response(code, axum::body::Body::from_stream(text.chain(futures::stream::pending())))
            }
            Answer::Silence => std::future::pending().await,
        }
    }
}

/// A refusal in the API server's form.
pub fn refusal(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code, "reason": reason, "message": message
    });
    Answer::Reply(code, status)
}
