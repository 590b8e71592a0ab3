//! Typed client of one Ray dashboard. Each module below parses one kind of reply; decisions are made
//! elsewhere.

mod health;
mod job;
mod jobs;
mod logs;
mod nodes;
mod package;
mod state;
mod stream;
mod summary;
mod targets;
mod wire;

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;

pub(crate) use health::RAYLET_HEALTH;
pub use job::{Job, JobRequest, JobStatus};
pub use nodes::{GpuUse, Node};
pub use package::Package;
pub use state::{Actor, Bundle, Filter, PlacementGroup};
pub use stream::{LogEvent, LogStream};
pub(crate) use summary::AGENT_PORT;
pub use summary::NodeSummary;
pub use targets::MetricsTarget;

use crate::NodeId;
use crate::http::{CallError, Endpoint, Keep, Payload, found, longest};
use crate::lean;

/// Client of one dashboard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dashboard(pub(crate) Endpoint);

/// Version of the Ray cluster behind the dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Version {
    /// For example `2.60.0`.
    #[serde(deserialize_with = "lean::text::<_, 64>")]
    pub ray_version: String,
    /// Ray's session. It changes when the head restarts without persisted GCS state; then Ray has lost all
    /// jobs and actors.
    #[serde(default, deserialize_with = "lean::text::<_, 256>")]
    pub session_name: String,
}

/// Whether Ray requires a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// No token is required.
    Open,
    /// The Ray cluster's token is required.
    Token,
}

impl Dashboard {
    /// Reads Ray's version and session.
    pub async fn version(&self) -> Result<Version, CallError> {
        self.0.get("/api/version", longest::WORD).await
    }

    /// Reads whether Ray requires a token. Needs no token.
    pub async fn authentication(&self) -> Result<Authentication, CallError> {
        #[derive(Deserialize)]
        struct Reply {
            #[serde(deserialize_with = "lean::text::<_, 64>")]
            authentication_mode: String,
        }
        let reply = self.0.anonymous().get::<Reply>("/api/authentication_mode", longest::WORD).await;
        // Ray 2.46 knows no authentication.
        let open = found(reply)?.is_none_or(|reply| reply.authentication_mode == "disabled");
        Ok(if open { Authentication::Open } else { Authentication::Token })
    }

    /// Uploads a package unless Ray holds it already, and keeps it for the next minutes.
    ///
    /// Ray drops a package with the last job that used it; reading the package keeps it for a while.
    pub async fn ensure_package(&self, package: &Package) -> Result<(), CallError> {
        let path = package.path();
        let read = || self.0.get_bytes(&path, Keep::Nothing(longest::ANSWER));
        if found(read().await)?.is_some() {
            return Ok(());
        }
        let payload = Payload::Bytes(package.bytes());
        self.0.send(Method::PUT, &path, payload, self.0.limits.submit, longest::WORD).await?;
        read().await.map(|_| ())
    }

    /// All nodes, also dead ones.
    pub async fn nodes(&self) -> Result<Vec<Node>, CallError> {
        self.list("nodes", &[], longest::LIST).await
    }

    /// The error for a list with more nodes than allowed.
    pub(crate) fn lists_too_many(&self, alive: usize, most: usize) -> CallError {
        let what = format!("{alive} nodes are alive, more than the {most} allowed");
        self.0.malformed(&state::path("nodes", &[]), what)
    }

    /// GPUs in use, by node. A node that Ray has no report of yet, or that has no GPU, is left out.
    pub async fn gpu_use(&self) -> Result<BTreeMap<NodeId, GpuUse>, CallError> {
        let path = "/api/cluster_status";
        let status: nodes::Status = self.0.get(path, longest::LIST).await?;
        status.gpu_use().map_err(|what| self.0.malformed(path, what))
    }

    /// Actors that match all filters, also dead ones.
    pub async fn actors(&self, filters: &[Filter<'_>]) -> Result<Vec<Actor>, CallError> {
        self.list("actors", filters, longest::ENVIRONMENTS).await
    }

    /// Placement groups that match all filters, also removed ones.
    pub async fn placement_groups(&self, filters: &[Filter<'_>]) -> Result<Vec<PlacementGroup>, CallError> {
        self.list("placement_groups", filters, longest::LIST).await
    }

    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        kind: &str,
        filters: &[Filter<'_>],
        longest: usize,
    ) -> Result<Vec<T>, CallError> {
        let path = state::path(kind, filters);
        let reply: state::Reply<T> = self.0.get(&path, longest).await?;
        reply.into_entries().map_err(|what| self.0.malformed(&path, what))
    }
}
