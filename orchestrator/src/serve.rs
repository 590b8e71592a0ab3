//! The HTTP port for kubelet and Prometheus: `/healthz`, `/readyz`, `/metrics`. Read-only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::clock;
use crate::cluster::{Index, Known};
use crate::lease::Leadership;
use crate::metrics::Metrics;

/// What the pages tell about.
#[derive(Clone)]
pub(crate) struct Pages {
    /// Ready once everything was listed.
    pub index: Arc<Index>,
    /// Counted.
    pub metrics: Arc<Metrics>,
    /// Who leads.
    pub leadership: Leadership,
}

/// Serves until the program ends.
pub(crate) async fn serve(address: SocketAddr, pages: Pages) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(pages);
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, routes).await
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if pages.index.read(Known::is_synced) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the first lists have not arrived yet")
    }
}

async fn metrics(State(pages): State<Pages>) -> String {
    pages.metrics.text(pages.index.queue.depth(), pages.leadership.holds(clock::monotonic()))
}
