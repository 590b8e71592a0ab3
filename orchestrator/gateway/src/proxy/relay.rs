//! Requests on their way to a head, over connections that are kept.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustix::io::Errno;

/// Time for a connection to a head: a machine without power answers nothing at all, and one lost packet costs a second (Linux' first
/// retransmission of a SYN).
const CONNECT: Duration = Duration::from_secs(3);
/// How a machine that lost its power in the middle of an answer is noticed, which says nothing any more: silence of so long, then so
/// many questions of the kernel; and data that nobody confirms for so long.
const SILENCE: Duration = Duration::from_secs(15);
const ASK_EVERY: Duration = Duration::from_secs(5);
const ASKED: u32 = 3;
const UNCONFIRMED: Duration = Duration::from_secs(30);
/// Largest head of an answer, and the most of a body that is read ahead, in bytes.
const BUFFER: usize = 32 << 10;
/// How long a connection that nobody uses is kept: less than the five seconds after which uvicorn closes it, so that no request meets its
/// end.
const KEPT: Duration = Duration::from_secs(4);

/// Headers of one connection, which are not passed on (RFC 9110, 7.6.1).
const OF_A_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Sends requests. Clones share connections.
#[derive(Clone, Debug)]
pub(super) struct Relay {
    client: Client<HttpConnector, Full<Bytes>>,
    answer: Duration,
}

/// What became of a request.
pub(super) enum Sent {
    /// An answer has begun: its head, and the first piece of its body, if it has one.
    Answered(Box<Response<Incoming>>, Option<Frame<Bytes>>),
    /// None, and why.
    Failed(Tried, String),
    /// None in time.
    Late,
}

/// How far a request got that has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// It has not left this machine, which has no descriptors, ports or memory for it: no head is to blame.
    Nowhere,
    /// There is no connection to the head.
    Refused,
    /// It may have arrived.
    Sent,
}

impl Relay {
    pub(super) fn new(answer: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(SILENCE));
        connector.set_keepalive_interval(Some(ASK_EVERY));
        connector.set_keepalive_retries(Some(ASKED));
        #[cfg(target_os = "linux")]
        connector.set_tcp_user_timeout(Some(UNCONFIRMED));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .http1_max_buf_size(BUFFER)
            .build(connector);
        Self { client, answer }
    }

    /// Sends a request and waits until its answer begins. Servers send the head of a stream before they have read the prompt: it begins
    /// with its first piece.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Sent {
        let begun = async {
            let mut response =
                self.client.request(request).await.map_err(|error| (tried(&error), innermost(&error)))?;
            let first = response.body_mut().frame().await.transpose();
            let first = first.map_err(|error| (Tried::Sent, innermost(&error)))?;
            Ok((response, first))
        };
        match tokio::time::timeout(self.answer, begun).await {
            Err(_) => Sent::Late,
            Ok(Ok((response, first))) => Sent::Answered(Box::new(response), first),
            Ok(Err((tried, why))) => Sent::Failed(tried, why),
        }
    }
}

fn tried(error: &hyper_util::client::legacy::Error) -> Tried {
    if !error.is_connect() {
        return Tried::Sent;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        let number = error.downcast_ref::<std::io::Error>().and_then(Errno::from_io_error);
        if number.is_some_and(|number| OURS.contains(&number)) {
            return Tried::Nowhere;
        }
        cause = error.source();
    }
    Tried::Refused
}

/// What the kernel says when this process, or its machine, has no room for one connection more.
const OURS: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Removes what is of one connection alone, also what the sender names as such.
pub(super) fn end_to_end(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_A_CONNECTION) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_a_connection_end_with_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer of the engine"),
            ("x-request-id", "7"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        end_to_end(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["authorization", "x-request-id"]);
    }
}
