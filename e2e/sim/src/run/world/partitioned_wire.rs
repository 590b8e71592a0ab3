//! The path of one replica to Ray: what a dead or cut-off replica sends is lost.

use std::fmt;
use std::future::pending;
use std::io;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use ray_bridge::{Unreached, Wire};
use reqwest::{Body, Request, Response};

use crate::run::faults::Shared;

/// A wire that ends with its replica.
pub(super) struct PartitionedWire {
    who: String,
    wire: Arc<dyn Wire>,
    shared: Shared,
}

impl PartitionedWire {
    pub(super) fn new(who: &str, wire: Arc<dyn Wire>, shared: Shared) -> Self {
        Self { who: who.to_owned(), wire, shared }
    }
}

impl fmt::Debug for PartitionedWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PartitionedWire").field(&self.who).finish()
    }
}

/// A reply that goes on for ever stalls once its replica is cut off.
fn stalling(reply: Response, shared: Shared, who: String) -> Response {
    if reply.content_length().is_some() {
        return reply;
    }
    let chunks = reply.bytes_stream().then(move |chunk| {
        let reaches = shared.reaches_pods(&who);
        async move { if reaches { chunk } else { pending().await } }
    });
    Response::from(http::Response::new(Body::wrap_stream(chunks)))
}

impl Wire for PartitionedWire {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Response, Unreached>> {
        if !self.shared.reaches_pods(&self.who) {
            return Box::pin(pending());
        }
        let (reply, shared, who) = (self.wire.send(request), self.shared.clone(), self.who.clone());
        Box::pin(async move { reply.await.map(|reply| stalling(reply, shared, who)) })
    }

    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<()>> {
        if self.shared.reaches_pods(&self.who) { self.wire.connect(host, port) } else { Box::pin(pending()) }
    }

    fn jitter(&self) -> f64 {
        self.wire.jitter()
    }
}
