//! How a port of a head pod is reached: through the API server, each connection by itself.

use std::future::Future;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Portforwarder;
use kube::{Api, Error};
use rayfleet_api::PodName;
use rayfleet_api::names::GATE_SERVING;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::error;
use crate::fleets::Fleets;

/// What is asked of heads; tests answer without pods.
pub(super) trait Dial: Clone + Send + Sync + 'static {
    /// Bytes to and from a port.
    type Stream: AsyncRead + AsyncWrite + Send + 'static;

    /// Whether the head takes traffic. `true` if that cannot be found out: then the fleet's status counts.
    fn is_open(&self, head: &PodName) -> impl Future<Output = bool> + Send;

    /// Connects to a port; else why not, for people.
    fn dial(
        &self,
        head: &PodName,
        port: u16,
    ) -> impl Future<Output = Result<Line<Self::Stream>, String>> + Send;
}

/// A connection to a port.
pub(super) struct Line<S> {
    /// The bytes.
    pub(super) stream: S,
    /// What the pod's side says of a port that cannot be used.
    pub(super) fault: BoxFuture<'static, Option<String>>,
    /// Ends what serves the connection.
    pub(super) end: Option<End>,
}

/// Ends the task of a connection when it is dropped: an API server that does not answer does not keep it.
pub(super) struct End(Portforwarder);

impl Drop for End {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Through the API server.
#[derive(Clone)]
pub(super) struct ApiServer {
    fleets: Fleets,
    pods: Api<Pod>,
}

impl ApiServer {
    pub(super) fn new(fleets: &Fleets) -> Self {
        let pods = Api::namespaced(fleets.client.clone(), &fleets.namespace);
        Self { fleets: fleets.clone(), pods }
    }

    fn in_words(&self, head: &PodName, error: &Error) -> String {
        match error {
            Error::Api(status) if status.code == 404 => format!("pod {head} is gone"),
            error => error::api(error, &self.fleets.server, &self.fleets.namespace, None).message,
        }
    }
}

impl Dial for ApiServer {
    type Stream = tokio::io::DuplexStream;

    async fn is_open(&self, head: &PodName) -> bool {
        match timeout(self.fleets.timeout, self.pods.get(head)).await {
            Ok(Ok(pod)) => is_open(&pod),
            Ok(Err(Error::Api(status))) if status.code == 404 => false,
            _ => true,
        }
    }

    async fn dial(&self, head: &PodName, port: u16) -> Result<Line<Self::Stream>, String> {
        let limit = self.fleets.timeout;
        let mut forwarder = match timeout(limit, self.pods.portforward(head, &[port])).await {
            Ok(answer) => answer.map_err(|error| self.in_words(head, &error))?,
            Err(_) => return Err(error::no_answer(&self.fleets.server, limit.as_secs_f64()).message),
        };
        let stream = forwarder.take_stream(port).ok_or_else(|| "the connection has no stream".to_owned())?;
        let fault = match forwarder.take_error(port) {
            Some(fault) => fault.boxed(),
            None => futures::future::ready(None).boxed(),
        };
        Ok(Line { stream, fault, end: Some(End(forwarder)) })
    }
}

/// A pod without the gate has no traffic to be closed; one that is being deleted takes no more.
fn is_open(pod: &Pod) -> bool {
    let gated = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let mut gated = gated.filter(|gate| gate.condition_type == GATE_SERVING).peekable();
    let conditions = || pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && (gated.peek().is_none() || conditions().any(|it| it.type_ == GATE_SERVING && it.status == "True"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(change: &dyn Fn(&mut Value)) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "head"},
            "spec": {"containers": [], "readinessGates": [{"conditionType": GATE_SERVING}]},
            "status": {"conditions": [{"type": GATE_SERVING, "status": "True"}]}
        });
        change(&mut pod);
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_head_takes_traffic_while_its_gate_is_open() {
        assert!(is_open(&pod(&|_| ())));
        assert!(!is_open(&pod(&|pod| pod["status"]["conditions"][0]["status"] = json!("False"))));
        assert!(!is_open(&pod(&|pod| pod["status"] = json!({}))));
        assert!(!is_open(&pod(&|pod| pod["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:00:00Z"))));
        assert!(is_open(
            &pod(&|pod| (pod["spec"]["readinessGates"], pod["status"]) = (json!([]), json!({})))
        ));
    }
}
