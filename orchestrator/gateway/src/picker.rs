//! The second front: an endpoint picker. Envoy asks it by `ext_proc` which head a request goes to, and carries request and answer itself;
//! the protocol is that of the Gateway API Inference Extension, 1.0 (its proposal 004, Endpoint Picker Protocol). One gRPC stream is one
//! request, from its head to the end of its answer. What a request asks and which head is best is `ranking`'s.

mod exchange;
mod going;
mod health;
pub(crate) mod message;
mod subset;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::{
    ExternalProcessor, ExternalProcessorServer, SERVICE_NAME,
};
use envoy_types::pb::envoy::service::ext_proc::v3::{ProcessingRequest, ProcessingResponse};
use futures::Stream;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::pb::health_server::{self, HealthServer};

use self::exchange::Exchange;
use self::health::Health;
use crate::metrics::Metrics;
use crate::models::Models;
use crate::ranking::Ranking;
use crate::room::Room;

/// Key of the hint by which the proxy says where a request may go.
pub(crate) const SUBSET: &str = "x-gateway-destination-endpoint-subset";
/// What a message may have beside a piece of a body: the heads of requests and answers, and metadata. Envoy takes heads of 60 KiB.
const BESIDE_BODY: usize = 256 << 10;

/// The picker. Clones share everything.
#[derive(Clone)]
pub(crate) struct Picker {
    ranking: Ranking,
    room: Room,
    /// Longest time for a body to arrive.
    upload: Duration,
    /// Endpoints that a request gets, the best and those to fall back to.
    endpoints: usize,
    /// Requests at a time.
    requests: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Picker {
    /// `endpoints` is how many of them a request gets, `most` how many requests there are at a time.
    pub(crate) fn new(
        ranking: Ranking,
        room: Room,
        upload: Duration,
        endpoints: usize,
        most: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        let requests = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { ranking, room, upload, endpoints: endpoints.max(1), requests, metrics }
    }

    /// Its gRPC services: the picker, and its health.
    pub(crate) fn routes(self, models: Models, ending: Arc<AtomicBool>) -> Router {
        let largest = self.room.largest().saturating_add(BESIDE_BODY);
        let picker = ExternalProcessorServer::new(self).max_decoding_message_size(largest);
        let health = HealthServer::new(Health { models, ending });
        Router::new()
            .route_service(&format!("/{SERVICE_NAME}/{{method}}"), picker)
            .route_service(&format!("/{}/{{method}}", health_server::SERVICE_NAME), health)
    }
}

#[tonic::async_trait]
impl ExternalProcessor for Picker {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let turn = self.requests.clone().try_acquire_owned().ok();
        let exchange = Exchange::new(self.clone(), turn, request.into_inner());
        // All that a request holds is in the stream of answers: it ends with that, whoever ends it.
        let answers = futures::stream::unfold(exchange, async |mut exchange| {
            exchange.next().await.map(|answer| (answer, exchange))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
