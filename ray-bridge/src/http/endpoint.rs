//! One server: builds requests, sends them within the limits, and turns failures into a [`CallError`].

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::body::{Collector, Keep, Kept};
use super::budget::Share;
use super::message::{bounded, summary};
use super::{Call, CallError, CallErrorKind, Limits, Sent, Token, Unreached, Wire, longest};
use crate::retry;

/// How much of an error's text is read; Ray's own are shorter.
const ERROR_BYTES: usize = 64 << 10;

/// The body of a request.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Nothing,
    Json(Vec<u8>),
    Bytes(bytes::Bytes),
}

/// A server, its token and the limits of its calls.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) wire: Arc<dyn Wire>,
    pub(crate) base: Url,
    pub(crate) cluster: String,
    pub(crate) server: &'static str,
    pub(crate) token: Option<Token>,
    pub(crate) limits: Limits,
    /// The memory for its replies.
    pub(crate) memory: Arc<Share>,
}

impl Endpoint {
    /// Reads JSON of at most `longest` bytes; retried, since a read changes nothing.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, longest: usize) -> Result<T, CallError> {
        let kept = self.get_bytes(path, Keep::Whole(longest.min(self.limits.reply_bytes))).await?;
        self.parse(&Method::GET, path, &kept).await
    }

    /// The same server without the token.
    pub(crate) fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// Reads bytes; retried.
    pub(crate) async fn get_bytes(&self, path: &str, keep: Keep) -> Result<Kept, CallError> {
        self.within(self.limits.call, Method::GET, path, Box::pin(self.read(path, keep))).await
    }

    async fn read(&self, path: &str, keep: Keep) -> Result<Kept, CallErrorKind> {
        let mut pauses = retry::Pauses::new(self.limits.retries, Duration::from_millis(100));
        loop {
            match self.once(Method::GET, path, &Payload::Nothing, keep).await {
                Err(kind) if kind.retry_at_once() => match pauses.next() {
                    Some(pause) => tokio::time::sleep(retry::jittered(pause, self.wire.jitter())).await,
                    None => return Err(kind),
                },
                done => return done,
            }
        }
    }

    /// Sends once. A time-out leaves open whether the call was applied.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        payload: Payload,
        limit: Duration,
        longest: usize,
    ) -> Result<Kept, CallError> {
        let keep = Keep::Whole(longest.min(self.limits.reply_bytes));
        self.within(limit, method.clone(), path, Box::pin(self.once(method, path, &payload, keep))).await
    }

    /// Sends once what needs no body and gets a short reply, such as a deletion.
    pub(crate) async fn send_bare(&self, method: Method, path: &str) -> Result<Kept, CallError> {
        self.send(method, path, Payload::Nothing, self.limits.call, longest::WORD).await
    }

    /// Parses what was kept as the JSON reply to a call.
    pub(crate) async fn parse<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        kept: &Kept,
    ) -> Result<T, CallError> {
        let bytes = kept.bytes.as_ref();
        kept.hold.parse(|| serde_json::from_slice(bytes)).await.map_err(|e: serde_json::Error| {
            let what = match bytes.iter().find(|b| !b.is_ascii_whitespace()) {
                Some(b'{' | b'[') => e.to_string(),
                _ => format!("{e}; got {}", summary(bytes)),
            };
            self.fail(method, path, CallErrorKind::Malformed { what })
        })
    }

    pub(crate) fn fail(&self, method: &Method, path: &str, kind: CallErrorKind) -> CallError {
        let kind = match kind {
            // The parser's message may quote the reply.
            CallErrorKind::Malformed { what } => CallErrorKind::Malformed { what: bounded(&what) },
            kind => kind,
        };
        let call = Call {
            cluster: self.cluster.clone(),
            server: self.server,
            method: method.to_string(),
            path: path.to_owned(),
            token: match &self.token {
                None => Sent::Nothing,
                Some(token) => token.file().map_or(Sent::Given, |file| Sent::OfFile(file.to_owned())),
            },
        };
        CallError { call: Box::new(call), kind }
    }

    /// A reply to a read that is not what this version of the bridge expects.
    pub(crate) fn malformed(&self, path: &str, what: impl Into<String>) -> CallError {
        self.fail(&Method::GET, path, CallErrorKind::Malformed { what: what.into() })
    }

    /// `work` is boxed so that futures which join many calls stay small.
    async fn within<T>(
        &self,
        limit: Duration,
        method: Method,
        path: &str,
        work: Pin<Box<impl Future<Output = Result<T, CallErrorKind>>>>,
    ) -> Result<T, CallError> {
        let kind = match tokio::time::timeout(limit, work).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(kind)) => kind,
            Err(_) => {
                CallErrorKind::TimedOut { after_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
            }
        };
        let error = self.fail(&method, path, kind);
        tracing::debug!(%error, "call failed");
        Err(error)
    }

    /// Opens a connection and upgrades it to another protocol; `ask` adds the headers for that.
    pub(crate) async fn upgrade(
        &self,
        path: &str,
        ask: impl Fn(&mut Request),
    ) -> Result<Response, CallError> {
        let work = async {
            let reply = self.reply(&Method::GET, path, ask).await?;
            match reply.status() {
                StatusCode::SWITCHING_PROTOCOLS => Ok(reply),
                status if status.is_success() => Err(CallErrorKind::Rejected {
                    status: status.as_u16(),
                    message: "no change of protocol".to_owned(),
                }),
                _ => Err(self.refusal(reply).await?),
            }
        };
        self.within(self.limits.call, Method::GET, path, Box::pin(work)).await
    }

    /// Begins to read a reply that need not end. The chunks have no time limit; who reads bounds how much is held of
    /// them.
    pub(crate) async fn open(
        &self,
        path: &str,
    ) -> Result<BoxStream<'static, Result<bytes::Bytes, Unreached>>, CallError> {
        let work = async {
            let reply = self.reply(&Method::GET, path, |_| {}).await?;
            if reply.status().is_success() { Ok(reply) } else { Err(self.refusal(reply).await?) }
        };
        let reply = self.within(self.limits.call, Method::GET, path, Box::pin(work)).await?;
        Ok(reply.bytes_stream().map(|chunk| chunk.map_err(|error| Unreached::from(&error))).boxed())
    }

    async fn once(
        &self,
        method: Method,
        path: &str,
        payload: &Payload,
        keep: Keep,
    ) -> Result<Kept, CallErrorKind> {
        let reply = self
            .reply(&method, path, |request| match payload {
                Payload::Nothing => {}
                Payload::Json(json) => carry(request, "application/json", json.clone().into()),
                Payload::Bytes(bytes) => carry(request, "application/octet-stream", bytes.clone().into()),
            })
            .await?;
        if reply.status().is_success() {
            return self.body(reply, keep).await;
        }
        Err(self.refusal(reply).await?)
    }

    async fn refusal(&self, reply: Response) -> Result<CallErrorKind, CallErrorKind> {
        let status = reply.status();
        Ok(refusal(status, &self.body(reply, Keep::Head(ERROR_BYTES)).await?.bytes))
    }

    /// Sends a request with the token. A call whose token was refused had no effect, so if the token's file
    /// has changed since, the request is sent again with the new token, whether it is idempotent or not.
    async fn reply(
        &self,
        method: &Method,
        path: &str,
        fill: impl Fn(&mut Request),
    ) -> Result<Response, CallErrorKind> {
        let mut again = true;
        loop {
            let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
            let url = Url::parse(&url)
                .map_err(|e| CallErrorKind::Unreachable { refused: false, cause: format!("{url}: {e}") })?;
            let mut request = Request::new(method.clone(), url);
            fill(&mut request);
            let mut sent = None;
            if let Some(token) = &self.token {
                let header = token.header().await.map_err(|what| CallErrorKind::Token { what })?;
                request.headers_mut().insert(AUTHORIZATION, header.clone());
                sent = Some((token, header));
            }
            let reply = self.wire.send(request).await.map_err(unreachable)?;
            let refused = matches!(reply.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            match sent {
                Some((token, header)) if refused && again && token.has_another_than(&header).await => {
                    again = false;
                }
                _ => return Ok(reply),
            }
        }
    }

    async fn body(&self, reply: Response, keep: Keep) -> Result<Kept, CallErrorKind> {
        let mut collector = Collector::new(keep);
        let mut hold = self.memory.hold();
        // A known length is reserved at once: reserving it in pieces may find the memory taken by others
        // halfway.
        if let Some(length) = reply.content_length() {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if let Keep::Whole(limit) = keep
                && length > limit
            {
                return Err(CallErrorKind::TooLarge { limit });
            }
            hold.cover(collector.with(length)).await.map_err(|_| CallErrorKind::Busy)?;
        }
        let mut chunks = reply.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| unreachable(Unreached::from(&e)))?;
            hold.cover(collector.with(chunk.len())).await.map_err(|_| CallErrorKind::Busy)?;
            collector.push(&chunk).map_err(|limit| CallErrorKind::TooLarge { limit })?;
            if collector.is_full() {
                break;
            }
        }
        let (bytes, cut) = collector.finish();
        Ok(Kept { bytes, cut, hold })
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> CallErrorKind {
    match status {
        StatusCode::UNAUTHORIZED => CallErrorKind::Unauthorized,
        StatusCode::FORBIDDEN => CallErrorKind::Forbidden,
        StatusCode::NOT_FOUND => CallErrorKind::NotFound { message: summary(body) },
        _ => CallErrorKind::Rejected { status: status.as_u16(), message: summary(body) },
    }
}

pub(crate) fn unreachable(why: Unreached) -> CallErrorKind {
    CallErrorKind::Unreachable { refused: why.refused, cause: why.cause }
}

fn carry(request: &mut Request, kind: &'static str, body: reqwest::Body) {
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    *request.body_mut() = Some(body);
}
