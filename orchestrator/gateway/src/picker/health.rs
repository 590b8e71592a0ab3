//! The health of the picker, as `grpc.health.v1` and under the names that the Gateway API Inference Extension's probes ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::SERVICE_NAME;
use futures::stream::Empty;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use crate::models::Models;

/// It runs.
const LIVENESS: &str = "liveness";
/// It knows the models, and does not end.
const READINESS: &str = "readiness";

pub(super) struct Health {
    pub(super) models: Models,
    pub(super) ending: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let is_ready = || self.models.is_settled() && !self.ending.load(Ordering::Relaxed);
        let serves = match request.get_ref().service.as_str() {
            LIVENESS => true,
            "" | READINESS | SERVICE_NAME => is_ready(),
            _ => return Err(Status::not_found("there are liveness, readiness and the picker's own name")),
        };
        let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    /// Neither the kubelet nor Envoy watches, and who would has to go back to asking.
    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("ask with Check"))
    }
}
