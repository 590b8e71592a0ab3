//! What the port for kubelet and Prometheus shows: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::metrics::Metrics;
use crate::models::Models;

/// What the pages show.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) models: Models,
    pub(crate) metrics: Arc<Metrics>,
    /// It was asked to end, and takes no new clients.
    pub(crate) ending: Arc<AtomicBool>,
}

impl Pages {
    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok"))
            .route("/readyz", get(ready))
            .route("/metrics", get(async |State(pages): State<Self>| pages.metrics.text()))
            .with_state(self)
    }
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if pages.ending.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "it ends")
    } else if pages.models.is_settled() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the first lists have not arrived yet")
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use rayfleet_runtime::watch::{Scope, Sink};
    use tower::ServiceExt as _;

    use super::*;
    use crate::table::{Fleet, Slice};

    #[tokio::test]
    async fn it_is_ready_once_all_was_listed_and_until_it_is_to_end() {
        let (models, metrics, ending) = (Models::new(), Arc::default(), Arc::<AtomicBool>::default());
        let pages = Pages { models: models.clone(), metrics, ending: ending.clone() }.routes();
        let ready = async || {
            let request = Request::get("/readyz").body(Body::empty()).unwrap();
            pages.clone().oneshot(request).await.unwrap().status().as_u16()
        };
        Sink::<Fleet>::listed(&models, &Scope::All, &std::collections::BTreeSet::default());
        assert_eq!(ready().await, 503);
        Sink::<Slice>::listed(&models, &Scope::All, &std::collections::BTreeSet::default());
        assert_eq!(ready().await, 200);
        ending.store(true, Ordering::Relaxed);
        assert_eq!(ready().await, 503);
    }
}
