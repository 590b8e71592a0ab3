//! An HTTP port for kubelet and Prometheus, bounded in what a stranger on the network can make it hold: connections, their number for
//! each address, and their time. What it shows says who serves.

mod connection_limit;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::debug;

use self::connection_limit::ConnectionLimit;

/// Time for the request's header, and for the whole exchange: each connection carries one request.
const HEADER: Duration = Duration::from_secs(5);
const EXCHANGE: Duration = Duration::from_secs(20);

/// Listens where it was asked to. On a host without IPv6, `[::]` is taken for `0.0.0.0`.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
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

/// Serves these pages for as long as it is polled.
pub async fn serve(listener: TcpListener, routes: Router) -> std::io::Result<()> {
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

#[cfg(test)]
mod tests;
