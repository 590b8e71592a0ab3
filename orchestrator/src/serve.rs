//! The HTTP port for kubelet and Prometheus: `/healthz`, `/readyz`, `/metrics`. Read-only, and bounded in what a stranger on the
//! network can make it hold: connections, their number for each address, and their time.

mod connection_limit;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::debug;

use crate::agents::Reachability;
use crate::clock;
use crate::kubernetes::{Index, Store};
use crate::lease::Leadership;
use crate::metrics::Metrics;
use connection_limit::ConnectionLimit;

/// Time for the request's header, and for the whole exchange: each connection carries one request.
const HEADER: Duration = Duration::from_secs(5);
const EXCHANGE: Duration = Duration::from_secs(20);
/// A look at a fleet that takes longer will not end. Every call in it has a time-out of 10 s, so only a defect gets there.
const STUCK: Duration = Duration::from_mins(30);

/// What the pages show.
#[derive(Clone)]
pub(crate) struct Pages {
    /// Ready once everything was listed.
    pub index: Arc<Index>,
    /// Counted.
    pub metrics: Arc<Metrics>,
    /// Who is heard.
    pub hearing: Arc<Reachability>,
    /// Who leads.
    pub leadership: Leadership,
}

/// Listens where it was asked to. On a host without IPv6, `[::]` is taken for `0.0.0.0`.
pub(crate) async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && !is_taken(&error) => {
            TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        other => other,
    }
}

fn is_taken(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::AddrInUse | std::io::ErrorKind::PermissionDenied)
}

/// Serves until the program ends.
pub(crate) async fn serve(listener: TcpListener, pages: Pages) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(pages);
    let door = Arc::new(ConnectionLimit::default());
    // They end with this future, as all of a replica does.
    let mut exchanges = JoinSet::new();
    loop {
        while exchanges.try_join_next().is_some() {}
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client is gone already.
                debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Some(pass) = ConnectionLimit::enter(&door, from.ip()) {
            let routes = routes.clone();
            exchanges.spawn(async move {
                let _pass = pass;
                exchange(stream, routes).await;
            });
        }
    }
}

/// One request and its answer.
async fn exchange(stream: TcpStream, routes: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    match tokio::time::timeout(EXCHANGE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a request to the HTTP port ended early"),
        Err(_) => debug!("a client of the HTTP port took longer than {EXCHANGE:?}"),
    }
}

/// Fails when a restart is what helps: a look at a fleet never ended.
async fn healthy(State(pages): State<Pages>) -> (StatusCode, String) {
    let longest = pages.index.queue.longest_look(clock::monotonic());
    if longest > STUCK {
        let seconds = longest.as_secs();
        return (StatusCode::SERVICE_UNAVAILABLE, format!("a look at a fleet has not ended for {seconds} s"));
    }
    (StatusCode::OK, "ok".to_owned())
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if pages.index.read(Store::is_settled) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the first lists have not arrived yet")
    }
}

async fn metrics(State(pages): State<Pages>) -> String {
    pages.metrics.deaf.set(i64::from(pages.hearing.deaf_for(clock::monotonic()).is_some()));
    pages.metrics.text(pages.index.queue.depth(), pages.leadership.holds(clock::monotonic()))
}

#[cfg(test)]
mod tests;
