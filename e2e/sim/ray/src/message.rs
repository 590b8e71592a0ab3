//! A request to a simulated server, and its reply.

use bytes::Bytes;
use ray_bridge::Unreached;
use reqwest::{Request, Response};
use serde::Serialize;

/// A request, taken apart.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) ip: String,
    pub(super) port: u16,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) authorization: Option<String>,
    pub(super) body: Bytes,
}

/// A reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) body: Bytes,
    pub(super) close: bool,
}

impl Reply {
    pub(super) fn text(status: u16, text: impl Into<String>) -> Self {
        let kind = "text/plain; charset=utf-8";
        Self { status, kind, body: Bytes::from(text.into()), close: false }
    }

    pub(super) fn json(status: u16, value: &impl Serialize) -> Self {
        let kind = "application/json; charset=utf-8";
        // What is answered here has text for keys, so that it can always be written.
        let body = serde_json::to_vec(value).unwrap_or_default();
        Self { status, kind, body: Bytes::from(body), close: false }
    }

    pub(super) fn into_response(self) -> Result<Response, Unreached> {
        let mut reply = http::Response::builder().status(self.status).header("content-type", self.kind);
        if self.close {
            reply = reply.header("connection", "close");
        }
        let built = reply.body(self.body).map(Response::from);
        built.map_err(|error| Unreached { refused: false, cause: error.to_string() })
    }
}

impl Call {
    pub(super) fn of(request: &Request) -> Self {
        let url = request.url();
        let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let body = request.body().and_then(|body| body.as_bytes()).unwrap_or_default();
        Self {
            ip: url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
            method: request.method().to_string(),
            path: url.path().to_owned(),
            query: url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect(),
            authorization: header.map(str::to_owned),
            body: Bytes::copy_from_slice(body),
        }
    }
}
