//! What the HTTP port shows: `/healthz`, `/readyz`, `/metrics`. Read-only.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use rayfleet_runtime::{Leadership, clock};

use crate::agents::Reachability;
use crate::kubernetes::{Index, Store};
use crate::metrics::Metrics;

/// A pass that takes longer will not end. Every call in it has a time-out of 10 s, so only a defect gets there.
const STUCK: Duration = Duration::from_mins(30);

/// What the pages show.
#[derive(Clone)]
pub(crate) struct Pages {
    /// Ready once everything was listed.
    pub index: Arc<Index>,
    /// Counted.
    pub metrics: Arc<Metrics>,
    /// Who is heard.
    pub reachability: Arc<Reachability>,
    /// Who leads.
    pub leadership: Leadership,
}

impl Pages {
    /// The pages by their paths.
    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route("/healthz", get(healthy))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self)
    }
}

/// Fails when a restart is what helps: a pass over a fleet never ended.
async fn healthy(State(pages): State<Pages>) -> (StatusCode, String) {
    let now = clock::monotonic();
    let longest = pages.index.fleet_queue.longest_pass(now).max(pages.index.budget_queue.longest_pass(now));
    if longest > STUCK {
        let seconds = longest.as_secs();
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("a pass over a fleet has not ended for {seconds} s"),
        );
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
    let unreachable = pages.reachability.no_reply_for(clock::monotonic()).is_some();
    pages.metrics.all_groups_unreachable.set(i64::from(unreachable));
    pages.metrics.text(pages.index.fleet_queue.depth(), pages.leadership.holds(clock::monotonic()))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::kubernetes::Key;

    fn pages() -> (Router, Arc<Index>) {
        let index = Arc::new(Index::default());
        let (leadership, _sender) = Leadership::always();
        let (metrics, reachability) = (Arc::new(Metrics::new()), Arc::default());
        (Pages { index: index.clone(), metrics, reachability, leadership }.routes(), index)
    }

    async fn get(pages: &Router, path: &str) -> (StatusCode, String) {
        let answer = pages.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let (status, body) = (answer.status(), axum::body::to_bytes(answer.into_body(), usize::MAX).await);
        (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_pages_answer() {
        let (pages, _) = pages();
        assert_eq!(get(&pages, "/healthz").await.0, StatusCode::OK);
        assert_eq!(get(&pages, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        let (_, metrics) = get(&pages, "/metrics").await;
        assert!(metrics.contains("rayfleet_"), "{metrics}");
    }

    #[tokio::test]
    async fn a_pass_that_never_ends_fails_the_liveness_probe() {
        let long_ago = || {
            clock::monotonic().checked_sub(STUCK + Duration::from_secs(1)).unwrap_or_else(clock::monotonic)
        };
        for of_budgets in [false, true] {
            let (pages, index) = pages();
            let queue = if of_budgets { &index.budget_queue } else { &index.fleet_queue };
            queue.add(Key::new("n", "a"));
            queue.next(long_ago).await;
            let (status, words) = get(&pages, "/healthz").await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(words.contains("has not ended"), "{words}");
        }
    }
}
