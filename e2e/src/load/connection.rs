//! HTTP/1.1 connections without a library's pool: it is known for every request whether its connection was
//! fresh or kept, and whether a byte of it was sent. A request that may have been received is never
//! retried.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::failure::RequestFailure;
use super::target::Target;
use crate::clock;

const CONNECT: Duration = Duration::from_secs(10);

/// Kept connections are not used after this idle time. Servers close idle ones themselves (vLLM after 5 s),
/// and a client must close first, as every gateway is configured: a request that crosses the server's close
/// on the wire cannot be distinguished from a lost request.
const LONGEST_IDLE: Duration = Duration::from_secs(3);

/// Header in which an engine may identify itself: behind a Service nothing else does. The light engine sets
/// it.
const SERVER: &str = "x-served-by";

type Sender = http1::SendRequest<Full<Bytes>>;

/// An open connection without a request in progress.
pub(super) struct Kept {
    sender: Sender,
    since: Instant,
}

/// One client: at most one connection, kept or closed after each request.
pub(super) struct Client {
    target: Target,
    keep: bool,
    kept: Option<Kept>,
    /// Requests on a connection that had carried one before.
    pub(super) reused: u64,
    /// Requests whose kept connection turned out closed before a byte of them was written; they were sent
    /// on a fresh one. Nothing else is ever sent again.
    pub(super) unsent: u64,
    /// The server that answered the last request, or started to, if it identified itself.
    pub(super) server: Option<String>,
}

/// The head of an answer, and the connection to return once its body is read.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    sender: Sender,
}

impl Client {
    pub(super) fn new(target: Target, keep: bool) -> Self {
        Self { target, keep, kept: None, reused: 0, unsent: 0, server: None }
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: &Bytes,
    ) -> Result<Answer, RequestFailure> {
        self.server = None;
        let answer = self.exchange(method, path, body).await?;
        let server = answer.response.headers().get(SERVER).and_then(|value| value.to_str().ok());
        self.server = server.map(str::to_owned);
        Ok(answer)
    }

    async fn exchange(&mut self, method: Method, path: &str, body: &Bytes) -> Result<Answer, RequestFailure> {
        if let Some(mut sender) = self.take_kept().await {
            match sender.try_send_request(self.request(method.clone(), path, body)?).await {
                Ok(response) => {
                    self.reused += 1;
                    return Ok(Answer { response, sender });
                }
                Err(error) if error.message().is_some() => self.unsent += 1,
                Err(error) => return Err(RequestFailure::KeptConnection(error.into_error().to_string())),
            }
        }
        let mut sender = self.connect().await?;
        let request = self.request(method, path, body)?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| RequestFailure::Connection(describe(&error)))?;
        Ok(Answer { response, sender })
    }

    /// Returns a connection after its answer was read to the end.
    pub(super) fn done(&mut self, sender: Sender) {
        if self.keep {
            self.kept = Some(Kept { sender, since: clock::instant() });
        }
    }

    async fn take_kept(&mut self) -> Option<Sender> {
        let Kept { mut sender, since } = self.kept.take()?;
        let fresh_enough = clock::instant().saturating_duration_since(since) < LONGEST_IDLE;
        (fresh_enough && sender.ready().await.is_ok()).then_some(sender)
    }

    async fn connect(&self) -> Result<Sender, RequestFailure> {
        let address = (self.target.host.as_str(), self.target.port);
        let stream = timeout(CONNECT, TcpStream::connect(address))
            .await
            .map_err(|_| RequestFailure::Connect(format!("no answer for {} s", CONNECT.as_secs())))?
            .map_err(|error| RequestFailure::Connect(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| RequestFailure::Connect(error.to_string()))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| RequestFailure::Connect(describe(&error)))?;
        // Its errors surface in the request that they break.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: &Bytes,
    ) -> Result<Request<Full<Bytes>>, RequestFailure> {
        let builder = Request::builder()
            .method(method)
            .uri(self.target.path(path))
            .header(header::HOST, &self.target.authority)
            .header(header::CONTENT_TYPE, "application/json");
        let builder = if self.keep { builder } else { builder.header(header::CONNECTION, "close") };
        builder.body(Full::new(body.clone())).map_err(|error| RequestFailure::Connect(error.to_string()))
    }
}

impl Answer {
    /// The answer and its connection.
    pub(super) fn into_parts(self) -> (Response<Incoming>, Sender) {
        (self.response, self.sender)
    }
}

/// An error and its causes in one line: hyper's own text leaves out the operating system's error.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
