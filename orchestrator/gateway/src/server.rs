//! The ports for clients and for Envoy: connections, bounded in number and in the time that a head of a request may take, and their end.

use std::convert::Infallible;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, info};

use crate::proxy::Proxy;

/// Time for the head of a request; an idle connection is closed after it too.
const HEAD: Duration = Duration::from_secs(75);
/// Largest head of a request, and the most of a body that is read ahead, in bytes: so much is held for each connection at the most, and as
/// much for its answer.
const BUFFER: usize = 32 << 10;
/// Silence after which the kernel asks whether a client is still there.
const SILENCE: Duration = Duration::from_mins(1);

/// Silence on a connection of Envoy's after which it is asked whether it is still there, and the time for its answer.
const ENVOY_SILENCE: Duration = Duration::from_secs(20);
const ENVOY_ANSWER: Duration = Duration::from_secs(10);
/// Requests at a time of one connection of Envoy's: behind them it opens another.
const ENVOY_REQUESTS: u32 = 1000;

/// What one of them may send ahead of being read, in bytes, and all of a connection: one that is not read holds up no other.
const ENVOY_AHEAD: u32 = 64 << 10;
const ENVOY_ALL_AHEAD: u32 = ENVOY_REQUESTS * ENVOY_AHEAD;

/// A connection that is served.
pub(crate) trait Served: GracefulConnection<Error: Display> + Send + 'static {}

impl<C: GracefulConnection<Error: Display> + Send + 'static> Served for C {}

/// Who comes to a port, and so what is spoken there.
pub(crate) trait Peers {
    fn serve(&self, stream: TcpStream) -> impl Served;
}

/// Clients: HTTP/1.1.
pub(crate) struct Clients(pub(crate) Proxy);

impl Peers for Clients {
    fn serve(&self, stream: TcpStream) -> impl Served {
        let proxy = self.0.clone();
        let service = service_fn(move |request| {
            let proxy = proxy.clone();
            async move { Ok::<_, Infallible>(proxy.answer(request).await) }
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service)
    }
}

/// Envoys: gRPC, thus HTTP/2.
pub(crate) struct Envoys(pub(crate) Router);

impl Peers for Envoys {
    fn serve(&self, stream: TcpStream) -> impl Served {
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(ENVOY_SILENCE)
            .keep_alive_timeout(ENVOY_ANSWER)
            .max_concurrent_streams(ENVOY_REQUESTS)
            .initial_stream_window_size(ENVOY_AHEAD)
            .initial_connection_window_size(ENVOY_ALL_AHEAD)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.0.clone()))
    }
}

/// Serves connections until `ending`, and then lets the requests that have begun end, for `drain` at the most.
pub(crate) async fn serve(
    listener: TcpListener,
    peers: impl Peers,
    most_connections: usize,
    ending: impl Future<Output = ()>,
    drain: Duration,
) {
    let room = Arc::new(Semaphore::new(most_connections.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut ending = std::pin::pin!(ending);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut ending => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client is gone already.
                debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Tokens are small and come one by one.
        let _ = stream.set_nodelay(true);
        // A client whose machine lost its power says nothing, and its engine would go on.
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE));
        let connection = graceful.watch(peers.serve(stream));
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                debug!(%error, "a client's connection ended early");
            }
        });
    }
    drop(listener);
    info!(open = graceful.count(), "no new connections are taken; requests that have begun may end");
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        info!("requests that have not ended by now are cut off");
    }
}

/// Waits for room, then for a client: whoever cannot be taken in waits in the kernel's queue, and not in memory.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}
