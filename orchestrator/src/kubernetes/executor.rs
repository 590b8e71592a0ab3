//! Performs writes to the API server: the only place that changes anything there. Every call goes by the runtime's writer, which needs
//! the lease; every write may be repeated without harm. Here are the writes to the fleet and its gates; those to what a fleet owns are
//! one file for each kind, or stand with the controller that is for it.

mod groups;
mod history;
mod service;
mod takeover;

pub(crate) use groups::Trial;

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1 as k8s;
use kube::api::{GetParams, Patch, PatchParams, PostParams};
use kube::core::request::Error as BadRequest;
use kube::core::{Request, Status};
use kube::{Client, Resource as _, ResourceExt};
use parking_lot::Mutex;
use rayfleet_api::{RayClusterFleet, RayClusterFleetStatus};
use rayfleet_runtime::writer::{Writer, body, gone_is_fine, if_it_is, of};
use rayfleet_runtime::{Leadership, WriteError, clock};
use serde::Serialize;
use serde_json::json;

use super::gate::Gate;
use super::objects::Watched;
use super::pods::Pod;
use super::{Index, Key, PodKey};
use crate::metrics::Metrics;

/// Who writes, as events name it.
const CONTROLLER: &str = "rayfleet";

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
    /// The fence that every write goes through.
    pub(crate) writer: Writer,
    index: Arc<Index>,
    /// When the API server last knew no kind of AIBrix's.
    aibrix_absent: Arc<Mutex<Option<Instant>>>,
}

impl Executor {
    /// An executor that writes while `leadership` holds.
    pub(crate) fn new(client: Client, index: Arc<Index>, leadership: Leadership, metrics: &Metrics) -> Self {
        let instance = std::env::var("POD_NAME").ok();
        let writer = Writer::new(client, leadership, metrics.runtime.clone(), CONTROLLER, instance);
        Self { writer, index, aibrix_absent: Arc::default() }
    }

    /// Reports to people what concerns a fleet.
    pub(crate) fn record_event(&self, fleet: &RayClusterFleet, warning: bool, reason: &str, message: &str) {
        self.writer.report(fleet.object_ref(&()), warning, reason, message);
    }

    /// One call that is answered with an object, read as the watches read it. `None`: it cannot be read; a watch tells of it.
    pub(crate) async fn ask<T: Watched>(
        &self,
        what: &'static str,
        request: Result<http::Request<Vec<u8>>, BadRequest>,
    ) -> Result<Option<T>, WriteError> {
        Ok(T::read(&self.writer.send(what, request).await?).ok().flatten())
    }

    /// The same, and the object goes into the index.
    async fn enter<T: Watched>(
        &self,
        what: &'static str,
        request: Result<http::Request<Vec<u8>>, BadRequest>,
        enter: fn(&Index, T),
    ) -> Result<(), WriteError> {
        if let Some(object) = self.ask(what, request).await? {
            enter(&self.index, object);
        }
        Ok(())
    }

    /// Creates an object. One of its name that is there already is given, with the refusal. `what` names the create and the read.
    pub(crate) async fn create<T: Watched + ResourceExt + Serialize>(
        &self,
        what: [&'static str; 2],
        at: &Request,
        object: &T,
    ) -> Result<Option<(T, WriteError)>, WriteError> {
        let [create, get] = what;
        let request = body(object).and_then(|body| at.create(&PostParams::default(), body));
        let error = match self.enter::<T>(create, request, Index::made).await {
            Err(error) if error.status().is_some_and(Status::is_already_exists) => error,
            other => return other.map(|()| None),
        };
        match self.ask(get, at.get(&object.name_any(), &GetParams::default())).await? {
            Some(there) => Ok(Some((there, error))),
            None => Err(error),
        }
    }

    /// Reads a fleet from the API server, not from a watch that may be behind.
    pub(crate) async fn fresh_fleet(&self, key: &Key) -> Result<(), WriteError> {
        let request = of::<RayClusterFleet>(&key.namespace).get(&key.name, &GetParams::default());
        gone_is_fine(self.enter::<RayClusterFleet>("get fleet", request, Index::apply).await)
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
        if kept < groups { Err(WriteError::Dropped("write status", "status.groups")) } else { Ok(()) }
    }

    /// Opens or closes the serving gate of a head pod.
    pub(crate) async fn set_gate(&self, pod: &PodKey, uid: &str, gate: Gate<'_>) -> Result<(), WriteError> {
        let patch = gate.patch(uid, clock::now());
        let (parameters, patch) = (PatchParams::default(), Patch::Strategic(&patch));
        let request =
            of::<k8s::Pod>(&pod.namespace).patch_subresource("status", &pod.name, &parameters, &patch);
        gone_is_fine(self.enter::<Pod>("set gate", request, Index::changed).await)
    }
}

#[cfg(test)]
mod tests;
