//! Performs writes to the API server: the only place that changes anything there. Every call has a
//! time-out and needs the lease; every write may be repeated without harm. Here is how a call is made, and the writes to the fleet and
//! its gates; those to what a fleet owns are one file for each kind.

mod budgets;
mod events;
mod groups;
mod history;
mod service;
mod takeover;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1 as k8s;
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Request;
use kube::core::request::Error as BadRequest;
use kube::{Client, Resource, ResourceExt};
use rayfleet_api::{RayClusterFleet, RayClusterFleetStatus};
use serde::Serialize;
use serde_json::json;

use super::event_queue::EventQueue;
use super::events::EventRecorder;
use super::gate::Gate;
use super::objects::Watched;
use super::pods::Pod;
use super::write_error::WriteError;
use super::{Index, Key};
use crate::clock;
use crate::lease::Leadership;
use crate::metrics::Metrics;

/// Longest time for one call. The client itself would wait for minutes.
const CALL: Duration = Duration::from_secs(10);

/// What a create has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// It is there and this fleet's.
    Ours,
    /// One of its name is there, and it is somebody else's: whose.
    Taken(String),
}

/// Performs writes.
#[derive(Clone)]
pub(crate) struct Executor {
    client: Client,
    index: Arc<Index>,
    leadership: Leadership,
    reported: Arc<EventRecorder>,
    notes: Arc<EventQueue>,
    metrics: Arc<Metrics>,
}

impl Executor {
    /// An executor that writes while `leadership` holds.
    pub(crate) fn new(
        client: Client,
        index: Arc<Index>,
        leadership: Leadership,
        metrics: Arc<Metrics>,
    ) -> Self {
        let reported = Arc::new(EventRecorder::new(std::env::var("POD_NAME").ok()));
        Self { client, index, leadership, reported, notes: Arc::default(), metrics }
    }

    /// Whether this replica may act now, also elsewhere than at the API server.
    pub(crate) fn may(&self, what: &'static str) -> Result<(), WriteError> {
        if self.leadership.holds(clock::monotonic()) { Ok(()) } else { Err(WriteError::NotLeader(what)) }
    }

    /// One call under the lease, with a time-out, counted. It is given up when the lease is lost meanwhile, so
    /// that nothing is under way any more when another replica starts.
    async fn call<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteError> {
        self.may(what)?;
        let mut leadership = self.leadership.clone();
        let outcome = tokio::select! {
            // An answer that comes together with the loss counts as none: whoever leads next finds what it did.
            biased;
            () = leadership.lost() => Err(WriteError::NotLeader(what)),
            outcome = tokio::time::timeout(CALL, call) => match outcome {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(WriteError::Api(what, Box::new(error))),
                Err(_) => Err(WriteError::TimedOut(what, CALL)),
            },
        };
        self.metrics.write(what, outcome.is_ok());
        outcome
    }

    /// One call; gives the text of the answer. kube's own calls read it at once, fail on what they cannot read although the write
    /// was done, and log all of it then.
    async fn send(
        &self,
        what: &'static str,
        request: Result<http::Request<Vec<u8>>, BadRequest>,
    ) -> Result<String, WriteError> {
        let call = async { self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await };
        self.call(what, call).await
    }

    /// One call that is answered with an object, read as the watches read it. `None`: it cannot be read; a watch tells of it.
    async fn ask<T: Watched>(
        &self,
        what: &'static str,
        request: Result<http::Request<Vec<u8>>, BadRequest>,
    ) -> Result<Option<T>, WriteError> {
        Ok(T::read(&self.send(what, request).await?).ok().flatten())
    }

    /// Reads a fleet from the API server, not from a watch that may be behind.
    pub(crate) async fn fresh_fleet(&self, key: &Key) -> Result<(), WriteError> {
        let request = of::<RayClusterFleet>(&key.namespace).get(&key.name, &GetParams::default());
        match self.ask("get fleet", request).await {
            Ok(Some(fleet)) => self.index.apply::<RayClusterFleet>(fleet),
            Ok(None) => {}
            Err(error) => gone_is_fine(Err(error))?,
        }
        Ok(())
    }

    /// Sets the finalizers of a fleet, if it is still the one that was looked at. Whether they are so now: a policy may have
    /// taken some out again.
    pub(crate) async fn set_finalizers(
        &self,
        fleet: &RayClusterFleet,
        finalizers: &[String],
    ) -> Result<bool, WriteError> {
        let at = of::<RayClusterFleet>(&fleet.namespace().unwrap_or_default());
        let patch = json!({"metadata": {
            "uid": fleet.metadata.uid, "resourceVersion": fleet.metadata.resource_version, "finalizers": finalizers,
        }});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let request = at.patch(&fleet.name_any(), &parameters, &patch);
        match self.ask::<RayClusterFleet>("set finalizers", request).await {
            Ok(None) => Ok(false),
            Ok(Some(patched)) => {
                let taken = patched.finalizers() == finalizers;
                self.index.changed(patched);
                Ok(taken)
            }
            Err(error) => gone_is_fine(Err(error)).map(|()| false),
        }
    }

    /// Writes the status, if the fleet is still the one that was looked at. The answer is entered in the
    /// index at once, so that no later decision is based on an older ledger.
    pub(crate) async fn write_status(
        &self,
        fleet: &RayClusterFleet,
        status: RayClusterFleetStatus,
    ) -> Result<(), WriteError> {
        let mut next = fleet.clone();
        let groups = status.groups.len();
        next.status = Some(status);
        let at = of::<RayClusterFleet>(&fleet.namespace().unwrap_or_default());
        let request = body(&next).and_then(|body| {
            at.replace_subresource("status", &fleet.name_any(), &PostParams::default(), body)
        });
        let Some(written) = self.ask::<RayClusterFleet>("write status", request).await? else {
            return Ok(());
        };
        let kept = written.status.as_ref().map_or(0, |status| status.groups.len());
        self.index.changed(written);
        if kept < groups { Err(WriteError::Dropped("write status")) } else { Ok(()) }
    }

    /// Opens or closes the serving gate of a head pod.
    pub(crate) async fn set_gate(&self, pod: &Key, uid: &str, gate: Gate<'_>) -> Result<(), WriteError> {
        let patch = gate.patch(uid, clock::now());
        let (parameters, patch) = (PatchParams::default(), Patch::Strategic(&patch));
        let request =
            of::<k8s::Pod>(&pod.namespace).patch_subresource("status", &pod.name, &parameters, &patch);
        match self.ask::<Pod>("set gate", request).await {
            Ok(Some(pod)) => self.index.changed(pod),
            Ok(None) => {}
            Err(error) => gone_is_fine(Err(error))?,
        }
        Ok(())
    }
}

/// What is not there any more need not be deleted or changed; what changed since is looked at again.
fn gone_is_fine(outcome: Result<(), WriteError>) -> Result<(), WriteError> {
    match outcome {
        Err(error) if error.is_gone() => Ok(()),
        other => other,
    }
}

/// How to delete an object only if it is the one that was observed: somebody may have made another one of its name.
fn if_it_is(uid: Option<String>) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: None }),
        ..DeleteParams::default()
    }
}

/// Requests for a kind in a namespace.
fn of<K: Resource<DynamicType = ()>>(namespace: &str) -> Request {
    Request::new(K::url_path(&(), Some(namespace)))
}

/// An object as it is sent.
fn body(object: &impl Serialize) -> Result<Vec<u8>, BadRequest> {
    serde_json::to_vec(object).map_err(BadRequest::SerializeBody)
}

#[cfg(test)]
mod tests;
