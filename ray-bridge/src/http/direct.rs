//! Plain HTTP whose connections have no tasks of their own: who waits for a reply drives its connection. A task for each, and the queues
//! between the two, are most of what a short call costs. TLS, upgrades and credentials in addresses are left to `reqwest`.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use reqwest::header::{ACCEPT, CONNECTION, HOST, HeaderValue, USER_AGENT};
use reqwest::{Body, Request, Response};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use url::Position;

use super::Unreached;

/// Engines close connections that are idle for 5 s; a request must not be sent on such a one.
pub(super) const IDLE: Duration = Duration::from_secs(4);
/// Idle connections that are kept to one server. A look opens more of them for a moment.
pub(super) const KEPT: usize = 2;
/// Bytes that are read of a connection at a time, and so the longest head of a reply: as much as proxies in front of servers commonly take.
const READ: usize = 8 << 10;

/// The connections that wait for another request.
#[derive(Debug)]
pub(super) struct Direct {
    idle: Mutex<Idle>,
    /// How long one waits.
    longest: Duration,
}

#[derive(Debug, Default)]
struct Idle {
    to: HashMap<Origin, Vec<Waiting>>,
    /// Somebody will close those that wait for too long.
    is_swept: bool,
}

/// Host, without brackets, and port.
type Origin = (String, u16);

#[derive(Debug)]
struct Waiting {
    open: Open,
    end: Pin<Box<Sleep>>,
}

impl Waiting {
    fn is_over(&mut self) -> bool {
        self.end.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }
}

/// Whether a request can be sent by this.
pub(super) fn takes(request: &Request) -> bool {
    let url = request.url();
    let is_plain = url.scheme() == "http" && url.username().is_empty() && url.password().is_none();
    is_plain && !request.headers().contains_key(CONNECTION)
}

impl Direct {
    /// No connections yet.
    pub(super) fn new(longest: Duration) -> Self {
        Self { idle: Mutex::default(), longest }
    }

    /// Sends a request that [`takes`] says it can, and gives the reply once its head is there.
    pub(super) async fn send(
        self: Arc<Self>,
        request: Request,
        agent: &'static str,
    ) -> Result<Response, Unreached> {
        let to = origin(&request)?;
        let mut request = on_the_wire(request, agent)?;
        loop {
            let (mut open, is_new) = match self.take(&to) {
                Some(open) => (open, false),
                None => (Open::to(&to).await?, true),
            };
            match open.exchange(request).await {
                Ok(reply) => {
                    let pool = (Arc::downgrade(&self), to);
                    let reply = reply.map(|body| Body::wrap(Reply { body, open: Some(open), pool }));
                    return Ok(Response::from(reply));
                }
                // It was closed while it waited, and nothing was sent.
                Err(mut error) if !is_new => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(unreached(&error.into_error())),
                },
                Err(error) => return Err(unreached(&error.into_error())),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, to: &Origin) -> Option<Open> {
        let mut idle = self.lock();
        let waiting = idle.to.get_mut(to)?;
        let mut found = None;
        while let Some(mut last) = waiting.pop() {
            if !last.is_over() && last.open.is_ready() {
                found = Some(last.open);
                break;
            }
        }
        if waiting.is_empty() {
            idle.to.remove(to);
        }
        found
    }

    fn keep(self: Arc<Self>, to: Origin, open: Open) {
        let mut idle = self.lock();
        let waiting = idle.to.entry(to).or_default();
        if waiting.len() < KEPT {
            waiting.push(Waiting { open, end: Box::pin(sleep(self.longest)) });
        }
        if !std::mem::replace(&mut idle.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self)));
        }
    }
}

/// Closes what has waited for too long, until nothing waits.
async fn sweep(pool: Weak<Direct>) {
    while let Some(longest) = pool.upgrade().map(|pool| pool.longest) {
        sleep(longest / 4).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.lock();
        idle.to.retain(|_, waiting| {
            waiting.retain_mut(|waiting| !waiting.is_over());
            !waiting.is_empty()
        });
        if idle.to.is_empty() {
            *idle = Idle::default();
            return;
        }
    }
}

/// A connection, and the way to send requests on it.
#[derive(Debug)]
struct Open {
    sender: SendRequest<Body>,
    /// `None` once it has ended.
    connection: Option<Box<Connection<TokioIo<TcpStream>, Body>>>,
}

impl Open {
    async fn to((host, port): &Origin) -> Result<Self, Unreached> {
        let connected = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        let stream = connected.await.map_err(|error| Unreached {
            refused: error.kind() == io::ErrorKind::ConnectionRefused,
            cause: error.to_string(),
        })?;
        let shaken =
            http1::Builder::new().read_buf_exact_size(Some(READ)).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| unreached(&error))?;
        Ok(Self { sender, connection: Some(Box::new(connection)) })
    }

    async fn exchange(
        &mut self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Incoming>, TrySendError<http::Request<Body>>> {
        let Self { sender, connection } = self;
        let mut sent = pin!(sender.try_send_request(request));
        poll_fn(|context| {
            drive(connection, context);
            sent.as_mut().poll(context)
        })
        .await
    }

    /// Lets what has come and what is to go through, as far as that is possible now.
    fn is_ready(&mut self) -> bool {
        drive(&mut self.connection, &mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// Whoever waits for a reply learns from that how the connection has ended.
fn drive(connection: &mut Option<Box<Connection<TokioIo<TcpStream>, Body>>>, context: &mut Context<'_>) {
    if connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(context).is_ready()) {
        *connection = None;
    }
}

/// The body of a reply. Once it was read to its end its connection waits for another request.
struct Reply {
    body: Incoming,
    open: Option<Open>,
    pool: (Weak<Direct>, Origin),
}

impl hyper::body::Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending()
            && let Some(open) = &mut self.open
        {
            drive(&mut open.connection, context);
            frame = Pin::new(&mut self.body).poll_frame(context);
        }
        if matches!(frame, Poll::Ready(None))
            && let Some(mut open) = self.open.take()
            && open.is_ready()
            && let Some(pool) = self.pool.0.upgrade()
        {
            pool.keep(std::mem::take(&mut self.pool.1), open);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        // Its end has to be read for the connection to be used again.
        self.open.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn origin(request: &Request) -> Result<Origin, Unreached> {
    let url = request.url();
    let host = url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
    let to = host.zip(url.port_or_known_default());
    to.ok_or_else(|| Unreached { refused: false, cause: format!("{url} has no host") })
}

/// A request as it is sent to its server: with a path instead of an address.
fn on_the_wire(mut request: Request, agent: &'static str) -> Result<http::Request<Body>, Unreached> {
    let invalid = |error: String| Unreached { refused: false, cause: error };
    let url = request.url();
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let host = HeaderValue::try_from(&url[Position::BeforeHost..Position::AfterPort]);
    let mut wired = http::Request::new(Body::default());
    *wired.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| invalid(error.to_string()))?;
    *wired.method_mut() = request.method().clone();
    let body = request.body_mut().take();
    let headers = request.headers_mut();
    headers.insert(HOST, host.map_err(|error| invalid(error.to_string()))?);
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(agent));
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    *wired.headers_mut() = std::mem::take(headers);
    *wired.body_mut() = body.unwrap_or_default();
    Ok(wired)
}

fn unreached(error: &hyper::Error) -> Unreached {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Unreached { refused: false, cause: cause.to_string() }
}

#[cfg(test)]
mod tests;
