//! The transport: the only place where requests leave the process, so that a test can replace the whole
//! network. It does not know what a request means.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::{Request, Response};
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

    /// Factor on the next pause before a retry, 0.5 to 1.5: callers that failed together must not retry
    /// together.
    fn jitter(&self) -> f64;
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

    fn jitter(&self) -> f64 {
        retry::jitter()
    }
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
