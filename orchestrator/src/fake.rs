//! An API server for tests: a function answers each call, and the calls are kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub body: Value,
}

/// What the server says to a call.
#[derive(Clone)]
pub(crate) enum Answer {
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
pub(crate) struct Fake {
    answer: Arc<dyn Fn(&Call) -> Answer + Send + Sync>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Fake {
    pub(crate) fn new(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), calls: Arc::default() }
    }

    pub(crate) fn client(&self) -> Client {
        let fake = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, std::io::Error>(fake.take(request).await) }
        });
        Client::new(service, "n")
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    async fn take(&self, request: Request<Body>) -> Response<axum::body::Body> {
        let (method, path) = (request.method().clone(), request.uri().to_string());
        let body = request.into_body().collect_bytes().await.unwrap();
        let call = Call { method, path, body: serde_json::from_slice(&body).unwrap_or_default() };
        self.calls.lock().unwrap().push(call.clone());
        let reply = |code: u16, body: Value| {
            Response::builder().status(code).body(axum::body::Body::from(body.to_string())).unwrap()
        };
        match (self.answer)(&call) {
            Answer::Reply(code, body) => reply(code, body),
            Answer::Late(late, code, body) => {
                tokio::time::sleep(late).await;
                reply(code, body)
            }
            Answer::Stream(code, text) => {
                Response::builder().status(code).body(axum::body::Body::from(text)).unwrap()
            }
            Answer::Open(code, text) => {
                let text = futures::stream::iter([Ok::<_, std::io::Error>(text)]);
                let body = axum::body::Body::from_stream(text.chain(futures::stream::pending()));
                Response::builder().status(code).body(body).unwrap()
            }
            Answer::Silence => std::future::pending().await,
        }
    }
}

/// A refusal in the API server's form.
pub(crate) fn refusal(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code, "reason": reason, "message": message
    });
    Answer::Reply(code, status)
}
