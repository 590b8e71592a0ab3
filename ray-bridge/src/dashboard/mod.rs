//! Typed client of one Ray dashboard. What the replies mean is in the modules below; nothing here decides anything.

mod job;
mod logs;
mod nodes;
mod package;
mod state;
mod wire;

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use url::Url;

pub use job::{Job, JobRequest, JobStatus};
pub use nodes::{GpuUse, Node};
pub use package::{Package, PackageError};
pub use state::{Actor, Bundle, Filter, PlacementGroup};

use crate::http::{self, CallError, Endpoint, Fault, Keep, Limits, Payload, SetupError, Token};
use crate::{NodeId, SubmissionId};

/// Client of one dashboard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dashboard(Endpoint);

/// What runs behind the dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Version {
    /// For example `2.60.0`.
    pub ray_version: String,
    /// Ray's session. It changes when the head starts anew without kept state; then everything it knew is lost.
    #[serde(default)]
    pub session_name: String,
}

impl Dashboard {
    /// A client of its own for `base`, for example `http://10.0.0.7:8265`. [`crate::Bridge`] shares one pool instead.
    pub fn new(base: Url, token: Option<Token>, limits: Limits) -> Result<Self, SetupError> {
        let cluster = base.host_str().unwrap_or_default().to_owned();
        Ok(Self::with_client(http::client(b"")?, cluster, base, token, limits))
    }

    pub(crate) fn with_client(
        client: reqwest::Client,
        cluster: String,
        base: Url,
        token: Option<Token>,
        limits: Limits,
    ) -> Self {
        Self(Endpoint { client, base, cluster, server: "dashboard", token, limits })
    }

    /// Ray's version and session.
    pub async fn version(&self) -> Result<Version, CallError> {
        self.0.get("/api/version").await
    }

    /// Submits a job. [`Fault::Conflict`] if one of its id exists, also when an earlier submit timed out.
    pub async fn submit(&self, request: &JobRequest) -> Result<(), CallError> {
        let path = "/api/jobs/";
        let payload = Payload::Json(request.to_json().to_string().into_bytes());
        match self.0.send(Method::POST, path, payload, self.0.limits.submit).await {
            Ok(_) => Ok(()),
            Err(CallError { call, fault: Fault::Rejected { status, message } }) => {
                Err(CallError { call, fault: job::refusal(status, message) })
            }
            Err(e) => Err(e),
        }
    }

    /// One job.
    pub async fn job(&self, id: &SubmissionId) -> Result<Job, CallError> {
        self.0.get(&job::path(id, "")).await
    }

    /// All jobs that were submitted under an id that the bridge could have given, ended ones too.
    pub async fn jobs(&self) -> Result<Vec<(SubmissionId, Job)>, CallError> {
        let listed: Vec<job::Listed> = self.0.get("/api/jobs/").await?;
        Ok(listed.into_iter().filter_map(job::Listed::submitted).collect())
    }

    /// Asks a job to stop; `false` if it had ended already.
    pub async fn stop(&self, id: &SubmissionId) -> Result<bool, CallError> {
        #[derive(Deserialize)]
        struct Stopped {
            stopped: bool,
        }
        let path = job::path(id, "/stop");
        let kept = self.0.send(Method::POST, &path, Payload::Nothing, self.0.limits.call).await?;
        let reply: Stopped = self.0.parse(&Method::POST, &path, &kept.bytes)?;
        Ok(reply.stopped)
    }

    /// Removes a job that has ended from Ray's list. Ray may bring back one that ended less than 3 s ago.
    pub async fn delete(&self, id: &SubmissionId) -> Result<(), CallError> {
        let path = job::path(id, "");
        self.0.send(Method::DELETE, &path, Payload::Nothing, self.0.limits.call).await.map(|_| ())
    }

    /// The end of a job's log; empty if the node it ran on is gone.
    pub async fn log_tail(&self, id: &SubmissionId) -> Result<String, CallError> {
        let path = job::path(id, "/logs");
        let kept = self.0.get_bytes(&path, Keep::Tail(self.0.limits.log_tail_bytes)).await?;
        logs::tail(&kept.bytes, kept.cut)
            .map_err(|what| self.0.fail(&Method::GET, &path, Fault::Malformed { what }))
    }

    /// Makes sure that Ray holds a package for the next minutes.
    ///
    /// Ray drops a package with the last job that used it; reading it keeps it for a while.
    pub async fn ensure_package(&self, package: &Package) -> Result<(), CallError> {
        let path = package.path();
        let found = self.0.get_bytes(&path, Keep::Tail(0)).await;
        let Err(CallError { fault: Fault::NotFound { .. }, .. }) = found else {
            return found.map(|_| ());
        };
        let payload = Payload::Bytes(package.bytes());
        self.0.send(Method::PUT, &path, payload, self.0.limits.submit).await?;
        self.0.get_bytes(&path, Keep::Tail(0)).await.map(|_| ())
    }

    /// All nodes, dead ones too.
    pub async fn nodes(&self) -> Result<Vec<Node>, CallError> {
        self.list("nodes", &[]).await
    }

    /// GPUs in use by node; a node that Ray has not heard from yet, or that has none, is left out.
    pub async fn gpu_use(&self) -> Result<BTreeMap<NodeId, GpuUse>, CallError> {
        let path = "/api/cluster_status";
        let value = self.0.get(path).await?;
        nodes::gpu_use(&value).map_err(|what| self.0.fail(&Method::GET, path, Fault::Malformed { what }))
    }

    /// Actors that match all filters, dead ones too.
    pub async fn actors(&self, filters: &[Filter<'_>]) -> Result<Vec<Actor>, CallError> {
        self.list("actors", filters).await
    }

    /// Placement groups that match all filters, removed ones too.
    pub async fn placement_groups(&self, filters: &[Filter<'_>]) -> Result<Vec<PlacementGroup>, CallError> {
        self.list("placement_groups", filters).await
    }

    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        kind: &str,
        filters: &[Filter<'_>],
    ) -> Result<Vec<T>, CallError> {
        let path = state::path(kind, filters);
        let reply: state::Reply<T> = self.0.get(&path).await?;
        reply.into_entries().map_err(|what| self.0.fail(&Method::GET, &path, Fault::Malformed { what }))
    }
}
