//! Whether Ray's own processes are well: the GCS behind the dashboard, a raylet behind its node's agent.

use super::{Dashboard, NodeSummary};
use crate::http::{CallError, CallErrorKind, Endpoint, Keep};

/// What both answer when all is well.
const WELL: &str = "success";

impl Dashboard {
    /// Whether the GCS, the head's memory, answers. May be asked without a token. Errors of the dashboard are errors;
    /// `Some` is what is wrong with the GCS.
    pub async fn gcs_health(&self) -> Result<Option<String>, CallError> {
        health(&self.0.anonymous(), "/api/gcs_healthz").await
    }

    /// Whether the raylet of a node is well, by its agent: `Some` is what is wrong with it. [`Fault::Unreachable`] if no agent
    /// answers there.
    pub async fn raylet_health(&self, node: &NodeSummary) -> Result<Option<String>, CallError> {
        let path = "/api/local_raylet_healthz";
        if let Some(agent) = node.agent(&self.0) {
            return health(&agent, path).await;
        }
        let cause = format!("the agent of node {} has no port", node.node_id);
        Err(self.0.fail(&reqwest::Method::GET, path, CallErrorKind::Unreachable { refused: true, cause }))
    }
}

/// Ray answers 503 with its reason, which is what was asked for and no error.
async fn health(server: &Endpoint, path: &str) -> Result<Option<String>, CallError> {
    match server.get_bytes(path, Keep::Head(1024)).await {
        Ok(kept) => {
            let said = String::from_utf8_lossy(&kept.bytes);
            Ok((said.trim() != WELL).then(|| format!("answers {:?}", said.trim())))
        }
        Err(CallError { fault: CallErrorKind::Rejected { status: 500 | 503, message }, .. }) => {
            Ok(Some(message))
        }
        Err(error) => Err(error),
    }
}
