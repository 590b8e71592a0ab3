//! The entry point: one [`Bridge`] holds the connection pool, the limits and the launch package for all
//! clusters.

use std::sync::Arc;

use url::Url;

use crate::dashboard::{Dashboard, JobRequest, Package};
use crate::engine::{ArgRefused, EngineClient, EngineSpec, LAUNCHER_ENTRYPOINT};
use crate::http::{Budget, Endpoint, Limits, Net, SetupError, Token, Wire, found};
use crate::placement::Placement;
use crate::{CallError, CallErrorKind, SubmissionId};

/// Addresses of one Ray cluster and its engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The caller's name of the Ray cluster, with which every error message begins.
    pub name: String,
    /// The head's dashboard, for example `http://10.0.0.7:8265`.
    pub dashboard: Url,
    /// The engine's API server, for example `http://10.0.0.7:8000`; `None` if it is not reachable from here.
    pub engine: Option<Url>,
    /// The Ray cluster's token, if authentication is on. It is sent to the dashboard, and to the paths of the
    /// launcher's middleware in front of the engine if the engine runs on the dashboard's host or
    /// `trusts_engine` is set.
    pub token: Option<Token>,
    /// The engine's address comes from a trusted source, not from a dashboard's reply.
    pub trusts_engine: bool,
}

/// Talks to any number of Ray clusters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bridge {
    wire: Arc<dyn Wire>,
    limits: Limits,
    package: Arc<Package>,
    /// Shared by all clusters.
    memory: Arc<Budget>,
}

/// The result of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launched {
    /// The job was submitted by this call.
    Submitted,
    /// A job of this submission id existed already, for example from a launch that was applied but timed out.
    AlreadyThere,
}

/// A launch that did not happen, or whose outcome is unknown (see [`CallError::retryable`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// The engine's arguments or environment are refused.
    #[error(transparent)]
    Spec(#[from] ArgRefused),
    /// The plan was made for another shape than the engine's.
    #[error("the placement is for {planned}, the engine wants {wanted}")]
    Shape {
        /// Shape of the placement.
        planned: crate::placement::Shape,
        /// Shape of the engine.
        wanted: crate::placement::Shape,
    },
    /// The call to the dashboard failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Bridge {
    /// A bridge for plain HTTP.
    pub fn new(limits: Limits) -> Result<Self, SetupError> {
        Self::with_trusted(limits, b"")
    }

    /// A bridge that also speaks `https` to servers whose certificates chain to one of `roots` (PEM).
    pub fn with_trusted(limits: Limits, roots: &[u8]) -> Result<Self, SetupError> {
        Self::over(Arc::new(Net::new(roots)?), limits)
    }

    /// A bridge that sends its requests over `wire` instead of the network.
    pub fn over(wire: Arc<dyn Wire>, limits: Limits) -> Result<Self, SetupError> {
        let package = Package::launcher().map_err(|e| SetupError(format!("launch package: {e}")))?;
        Ok(Self { wire, limits, package: Arc::new(package), memory: Arc::default() })
    }

    pub(crate) fn wire(&self) -> &dyn Wire {
        self.wire.as_ref()
    }

    /// The limits that this bridge was created with.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// A client of the dashboard of a cluster.
    pub fn dashboard(&self, target: &Target) -> Dashboard {
        self.dashboard_within(target, self.limits)
    }

    pub(crate) fn dashboard_within(&self, target: &Target, limits: Limits) -> Dashboard {
        let (base, token) = (target.dashboard.clone(), target.token.clone());
        Dashboard(self.endpoint(target, "dashboard", base, token, limits))
    }

    /// A server of a cluster. One whose address comes from a dashboard gets no token.
    pub(crate) fn endpoint(
        &self,
        target: &Target,
        server: &'static str,
        base: Url,
        token: Option<Token>,
        limits: Limits,
    ) -> Endpoint {
        let memory = self.memory.share(&target.name);
        Endpoint {
            wire: self.wire.clone(),
            base,
            cluster: target.name.clone(),
            server,
            token,
            limits,
            memory,
        }
    }

    /// A client of the engine of a cluster; `None` if the target has no engine address.
    pub fn engine(&self, target: &Target) -> Option<EngineClient> {
        self.engine_within(target, self.limits)
    }

    pub(crate) fn engine_within(&self, target: &Target, limits: Limits) -> Option<EngineClient> {
        let base = target.engine.clone()?;
        let trusted = target.trusts_engine || base.host() == target.dashboard.host();
        let token = target.token.clone().filter(|_| trusted);
        Some(EngineClient(self.endpoint(target, "engine", base, token, limits)))
    }

    /// Starts the engine on exactly the nodes of the plan. Idempotent: the submission id ensures that there
    /// is one engine.
    ///
    /// Does not wait for the engine; use [`Bridge::observe`] to follow it.
    pub async fn launch(
        &self,
        target: &Target,
        spec: &EngineSpec,
        placement: &Placement,
    ) -> Result<Launched, LaunchError> {
        spec.check()?;
        if placement.shape != spec.shape {
            return Err(LaunchError::Shape { planned: placement.shape, wanted: spec.shape });
        }
        let dashboard = self.dashboard(target);
        // Ray drops a package with the last job that used it, so it is checked before each submit.
        dashboard.ensure_package(&self.package).await?;
        let request = JobRequest {
            submission_id: spec.name.clone(),
            entrypoint: LAUNCHER_ENTRYPOINT.to_owned(),
            working_dir: Some(self.package.uri()),
            env_vars: spec.job_env(placement),
            node: Some(placement.api_server_node.clone()),
            metadata: spec.metadata(placement),
        };
        match dashboard.submit(&request).await {
            Ok(()) => Ok(Launched::Submitted),
            Err(CallError { kind: CallErrorKind::Conflict, .. }) => Ok(Launched::AlreadyThere),
            Err(e) => Err(e.into()),
        }
    }

    /// Asks Ray to stop the engine's job, which also removes its placement group and ranks. `false` if the
    /// job had ended before or never existed. Returns before the engine has ended; [`Bridge::observe`]
    /// reports the end.
    pub async fn stop(&self, target: &Target, engine: &SubmissionId) -> Result<bool, CallError> {
        Ok(found(self.dashboard(target).stop(engine).await)?.unwrap_or(false))
    }
}
