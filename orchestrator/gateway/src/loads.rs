//! How busy engines say that they are. Each head of a model that had a request in the last half minute is asked once a second; a head that does not answer costs
//! only what it knows. One task asks all heads at the same time, and the slowest ends with its time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::Uri;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rayfleet_routing::Report;
use rayfleet_telemetry::vllm::Reading;

use crate::models::{Model, Models};

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(1);
/// Time for one answer.
const ANSWER: Duration = Duration::from_millis(900);
/// Largest page of metrics. vLLM's has some 100 KiB.
const LARGEST: usize = 1 << 20;
/// Heads that are asked at the same time, of all models together: so many pages are held at most.
const AT_A_TIME: usize = 128;

type Asking = Client<HttpConnector, Empty<Bytes>>;

/// Asks for as long as it is polled.
pub(crate) async fn ask_all(models: Models) {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(ANSWER));
    // With the timer connections to heads that have gone are closed, too.
    let client: Asking = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut heads =
            models.all().into_iter().flat_map(|model| busy(&model)).collect::<Vec<_>>().into_iter();
        let mut asked = FuturesUnordered::new();
        loop {
            while asked.len() < AT_A_TIME
                && let Some(head) = heads.next()
            {
                asked.push(ask(&client, head));
            }
            if asked.next().await.is_none() {
                break;
            }
        }
    }
}

/// A head of a model, by its identity and its address.
struct Head {
    model: Arc<Model>,
    id: Arc<str>,
    address: Arc<str>,
}

/// The heads of a model that is asked for: of another nobody needs to know how busy they are.
fn busy(model: &Arc<Model>) -> Vec<Head> {
    model.route(|router, now| {
        if router.is_idle(now) {
            return vec![];
        }
        let heads = router.endpoints();
        heads
            .map(|(id, address)| Head { model: model.clone(), id: id.clone(), address: address.clone() })
            .collect()
    })
}

async fn ask(client: &Asking, head: Head) {
    let Ok(uri) = format!("http://{}/metrics", head.address).parse::<Uri>() else { return };
    let page = tokio::time::timeout(ANSWER, async {
        let response = client.get(uri).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        Limited::new(response.into_body(), LARGEST)
            .collect()
            .await
            .ok()
            .map(http_body_util::Collected::to_bytes)
    });
    let Ok(Some(page)) = page.await else { return };
    let reading = Reading::of(&page);
    if let Some(requests) = reading.in_flight {
        let report = Report { requests, kv_use: reading.kv_use };
        head.model.route(|router, now| router.report(&head.id, report, now));
    }
}
