//! Health of Ray's own processes: the GCS behind the dashboard, and a raylet behind its node's agent.

use super::{Dashboard, NodeSummary};
use crate::http::{CallError, CallErrorKind, Endpoint, Keep};

/// Path of an agent's report on its raylet.
pub(crate) const RAYLET_HEALTH: &str = "/api/local_raylet_healthz";

/// The body of both replies when healthy.
const WELL: &str = "success";

impl Dashboard {
    /// Health of the GCS, which holds the cluster's state on the head. Needs no token. `Err` is an error of
    /// the dashboard; `Some` is what is wrong with the GCS.
    pub async fn gcs_health(&self) -> Result<Option<String>, CallError> {
        health(&self.0.anonymous(), "/api/gcs_healthz").await
    }

    /// Health of a node's raylet, as its agent reports it: `Some` is what is wrong with it.
    /// [`CallErrorKind::Unreachable`] if no agent answers at that address.
    pub async fn raylet_health(&self, node: &NodeSummary) -> Result<Option<String>, CallError> {
        if let Some(agent) = node.agent(&self.0) {
            return health(&agent, RAYLET_HEALTH).await;
        }
        let cause = format!("the agent of node {} has no port", node.node_id);
        let kind = CallErrorKind::Unreachable { refused: true, cause };
        Err(self.0.fail(&reqwest::Method::GET, RAYLET_HEALTH, kind))
    }
}

/// Ray answers 503 with the reason. That is a result of this call, not an error.
async fn health(server: &Endpoint, path: &str) -> Result<Option<String>, CallError> {
    match server.get_bytes(path, Keep::Head(1024)).await {
        Ok(kept) => {
            let said = String::from_utf8_lossy(&kept.bytes);
            Ok((said.trim() != WELL).then(|| format!("answers {:?}", said.trim())))
        }
        Err(CallError { kind: CallErrorKind::Rejected { status: 500 | 503, message }, .. }) => {
            Ok(Some(message))
        }
        Err(error) => Err(error),
    }
}
