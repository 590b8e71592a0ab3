//! The transport: the only place where requests leave the process, so that a test can replace the whole
//! network. It does not know what a request means.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::{Request, Response};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::direct::{self, Direct};
use super::{AGENT, SetupError};
use crate::retry;

/// Transports requests and connections. The production implementation speaks TCP.
pub trait Wire: Send + Sync + fmt::Debug {
    /// Sends a request and returns its reply, whose body may still be in transit. Has no time limit: callers
    /// set one.
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Response, Unreached>>;

    /// Opens a connection and closes it again, to see whether anything listens there. `host` is a name or an
    /// address without brackets.
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<()>>;

    /// Opens a connection as [`connect`](Self::connect) does, and keeps it, without a byte. The kernels see to it that the machine at
    /// the other end is there: what is returned ends when it has given no sign for [`HELD_SILENCE`], or with the connection.
    fn hold(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<BoxFuture<'static, HeldEnd>>>;

    /// Factor on the next pause before a retry, 0.5 to 1.5: callers that failed together must not retry
    /// together.
    fn jitter(&self) -> f64;
}

/// An idle machine is asked by the kernel this long after its last packet, and has this long to answer.
const HELD_IDLE: Duration = Duration::from_secs(2);
const HELD_ANSWER: Duration = Duration::from_secs(1);
/// How long a machine has been silent when a connection to it that was held ends for that.
pub const HELD_SILENCE: Duration = HELD_IDLE.saturating_add(HELD_ANSWER);

/// How a connection that was held has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldEnd {
    /// By the machine at the other end: it was there a moment ago.
    Closed,
    /// No packet came for [`HELD_SILENCE`], though one was asked for.
    Silent,
}

/// A request that got no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// Nothing listens on the port.
    pub refused: bool,
    /// The innermost cause.
    pub cause: String,
}

/// TCP, and TLS for `https`.
#[derive(Debug)]
pub(crate) struct Net {
    plain: Arc<Direct>,
    others: reqwest::Client,
}

impl Net {
    /// `https` servers must chain to one of `roots` (PEM).
    pub(crate) fn new(roots: &[u8]) -> Result<Self, SetupError> {
        Ok(Self { plain: Arc::new(Direct::new(direct::IDLE)), others: super::client(roots)? })
    }
}

impl Wire for Net {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Response, Unreached>> {
        if direct::takes(&request) {
            return Box::pin(self.plain.clone().send(request, AGENT));
        }
        let client = self.others.clone();
        Box::pin(async move { client.execute(request).await.map_err(|error| Unreached::from(&error)) })
    }

    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<()>> {
        let host = host.to_owned();
        Box::pin(async move { TcpStream::connect((host.as_str(), port)).await.map(drop) })
    }

    fn hold(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<BoxFuture<'static, HeldEnd>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            keep_alive(&stream)?;
            Ok(end_of(stream).boxed())
        })
    }

    fn jitter(&self) -> f64 {
        retry::jitter()
    }
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let asked = TcpKeepalive::new().with_time(HELD_IDLE).with_interval(HELD_ANSWER).with_retries(1);
    SockRef::from(stream).set_tcp_keepalive(&asked)
}

/// Nothing is to come here: with its first byte a connection has ended, so that nobody can keep us busy.
async fn end_of(stream: TcpStream) -> HeldEnd {
    loop {
        let said = match stream.readable().await {
            Ok(()) => stream.try_read(&mut [0; 1]),
            Err(error) => Err(error),
        };
        match said {
            Ok(_) => return HeldEnd::Closed,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_of_the_other_end(&error) => return HeldEnd::Closed,
            Err(_) => return HeldEnd::Silent,
        }
    }
}

fn is_of_the_other_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

impl From<&reqwest::Error> for Unreached {
    fn from(error: &reqwest::Error) -> Self {
        let mut refused = false;
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let kind = inner.downcast_ref::<io::Error>().map(io::Error::kind);
            refused |= kind == Some(io::ErrorKind::ConnectionRefused);
            cause = inner.to_string();
            source = inner.source();
        }
        Self { refused, cause }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// A connection that is held, and its other end.
    async fn held() -> (BoxFuture<'static, HeldEnd>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let held = Net::new(b"").unwrap().hold("127.0.0.1", at.port()).await.unwrap();
        (held, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_connection_is_held_until_the_other_end_closes_it_or_says_anything() {
        let (mut held, other) = held().await;
        assert!((&mut held).now_or_never().is_none());
        drop(other);
        assert_eq!(held.await, HeldEnd::Closed);

        let (held, mut other) = self::held().await;
        other.write_all(b"hello").await.unwrap();
        assert_eq!(held.await, HeldEnd::Closed);
    }

    #[tokio::test]
    async fn a_port_at_which_nobody_listens_cannot_be_held() {
        let at = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = Net::new(b"").unwrap().hold("127.0.0.1", at.port()).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    /// That the kernel was told is all that can be seen of it on one machine.
    #[tokio::test]
    async fn the_kernel_asks_after_two_seconds_and_waits_for_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        keep_alive(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), HELD_IDLE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), HELD_ANSWER);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 1);
    }
}
