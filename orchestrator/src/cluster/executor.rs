//! Performs writes to the API server: the only place that changes anything there. Every call has a
//! time-out and needs the lease; every write may be repeated without harm.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Api, Client, Resource, ResourceExt};
use rayfleet_api::status::GroupStatus;
use rayfleet_api::{RayClusterFleet, RayClusterFleetStatus, ValidFleet, names};
use serde_json::json;

use super::events::{Telling, Told, Written};
use super::gate::Gate;
use super::history::HistoryChange;
use super::route::{self, Listener};
use super::{Index, Key, builds, rayclusters};
use crate::clock;
use crate::lease::Leadership;
use crate::metrics::Metrics;

/// Longest time for one call. The client itself would wait for minutes.
const CALL: Duration = Duration::from_secs(10);

/// A write that did not happen, or of which it is not known whether it did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// Another replica leads, or may soon.
    #[error("{0}: this replica does not lead")]
    NotLeader(&'static str),
    /// No answer in time.
    #[error("{0}: the API server did not answer within {1:?}")]
    TimedOut(&'static str, Duration),
    /// The API server said no.
    #[error("{0}: {1}")]
    Api(&'static str, #[source] Box<kube::Error>),
}

impl WriteError {
    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Api(_, error) => match &**error {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    /// The object is of a newer version than was looked at: look again.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409 && !status.is_already_exists())
    }

    /// The API server's reason why the object itself can not be: trying again does not help.
    pub(crate) fn rejected(&self) -> Option<&str> {
        self.status()
            .filter(|status| matches!(status.code, 400 | 403 | 413 | 422))
            .map(|status| &*status.message)
    }
}

/// Performs writes.
#[derive(Clone)]
pub(crate) struct Executor {
    client: Client,
    index: Arc<Index>,
    leadership: Leadership,
    told: Arc<Told>,
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
        let told = Arc::new(Told::new(std::env::var("POD_NAME").ok()));
        Self { client, index, leadership, told, metrics }
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

    /// Reads a fleet from the API server, not from a watch that may be behind.
    pub(crate) async fn fresh_fleet(&self, key: &Key) -> Result<(), WriteError> {
        let api: Api<RayClusterFleet> = Api::namespaced(self.client.clone(), &key.namespace);
        if let Some(fleet) = self.call("get fleet", api.get_opt(&key.name)).await? {
            self.index.apply(fleet);
        }
        Ok(())
    }

    /// Writes the status, if the fleet is still the one that was looked at. The answer is entered in the
    /// index at once, so that no later decision is based on an older ledger.
    pub(crate) async fn write_status(
        &self,
        fleet: &RayClusterFleet,
        status: RayClusterFleetStatus,
    ) -> Result<(), WriteError> {
        let api: Api<RayClusterFleet> =
            Api::namespaced(self.client.clone(), &fleet.namespace().unwrap_or_default());
        let mut next = fleet.clone();
        next.status = Some(status);
        let parameters = PostParams::default();
        let written =
            self.call("write status", api.replace_status(&fleet.name_any(), &parameters, &next)).await?;
        self.index.changed(written);
        Ok(())
    }

    /// Creates a group's RayCluster. One of this name and owner that is there already is the same.
    pub(crate) async fn create_cluster(
        &self,
        fleet: &ValidFleet,
        group: &GroupStatus,
        port_name: Option<&str>,
    ) -> Result<(), WriteError> {
        let api = rayclusters::api(&self.client, &fleet.namespace);
        let cluster = builds::ray_cluster(fleet, group, port_name);
        let created = self.call("create RayCluster", self.create_strictly(&api, &cluster, false)).await;
        match created {
            Ok(created) => self.index.made(created),
            Err(error) if error.status().is_some_and(kube::core::Status::is_already_exists) => {
                if let Some(there) = self.call("get RayCluster", api.get_opt(&group.name)).await? {
                    if !there.owner_references().iter().any(|owner| owner.uid == fleet.uid) {
                        return Err(error);
                    }
                    self.index.made(there);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Asks the API server whether a RayCluster of this template could be created.
    pub(crate) async fn try_cluster(&self, fleet: &ValidFleet) -> Result<(), WriteError> {
        let api = rayclusters::api(&self.client, &fleet.namespace);
        let name = names::group_name(&fleet.name, &fleet.revision.pod, 9999, 999);
        let group = GroupStatus { name, revision: fleet.revision.pod.clone(), ..GroupStatus::default() };
        let cluster = builds::ray_cluster(fleet, &group, None);
        self.call("try RayCluster", self.create_strictly(&api, &cluster, true)).await.map(|_| ())
    }

    /// Creates a RayCluster, or tries to, with every field of it. The API server drops a field that KubeRay's CRD does not know and
    /// creates the rest unless it is asked to be strict, which the client's own create cannot ask for.
    async fn create_strictly(
        &self,
        api: &Api<DynamicObject>,
        cluster: &DynamicObject,
        dry_run: bool,
    ) -> Result<DynamicObject, kube::Error> {
        let body = serde_json::to_vec(cluster).map_err(kube::Error::SerdeError)?;
        let parameters = PostParams { dry_run, ..PostParams::default() };
        let mut request = kube::core::Request::new(api.resource_url())
            .create(&parameters, body)
            .map_err(kube::Error::BuildRequest)?;
        let joint = if dry_run { "&" } else { "" };
        let strict = format!("{}{joint}fieldValidation=Strict", request.uri());
        let uri = strict.parse().map_err(http::Error::from).map_err(kube::core::request::Error::BuildRequest);
        *request.uri_mut() = uri.map_err(kube::Error::BuildRequest)?;
        self.client.request(request).await
    }

    /// Deletes a RayCluster if it is still the one that was seen; its pods follow. What the answer says is entered in the index at
    /// once, so that it is not deleted again before the watch tells of it.
    pub(crate) async fn delete_cluster(
        &self,
        key: &Key,
        uid: String,
        resource_version: String,
    ) -> Result<(), WriteError> {
        let api = rayclusters::api(&self.client, &key.namespace);
        let preconditions = Preconditions { uid: Some(uid), resource_version: Some(resource_version) };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match self.call("delete RayCluster", api.delete(&key.name, &parameters)).await {
            // Either the object, which something still keeps, or a word that it is gone.
            Ok(answer) => match answer.left() {
                Some(ending) => self.index.changed(ending),
                None => self.index.gone::<DynamicObject>(key),
            },
            Err(error) => {
                gone_is_fine(Err(error))?;
                self.index.gone::<DynamicObject>(key);
            }
        }
        Ok(())
    }

    /// Opens or closes the serving gate of a head pod.
    pub(crate) async fn set_gate(&self, pod: &Key, uid: &str, gate: Gate<'_>) -> Result<(), WriteError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let condition = gate.condition(clock::now());
        // The uid makes the API server refuse the patch for another pod of the same name.
        let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [condition]}});
        let (parameters, patch) = (PatchParams::default(), Patch::Strategic(&patch));
        match self.call("set gate", api.patch_status(&pod.name, &parameters, &patch)).await {
            Ok(pod) => {
                self.index.changed(pod);
                Ok(())
            }
            Err(error) => gone_is_fine(Err(error)),
        }
    }

    /// Makes the fleet's Service what it should be. A Service of somebody else is left alone: its name is given.
    pub(crate) async fn ensure_service(
        &self,
        fleet: &ValidFleet,
        heads: &[Listener],
        going_to: Option<u16>,
    ) -> Result<Option<String>, WriteError> {
        let key = Key::new(&fleet.namespace, &fleet.name);
        let there = self.index.read(|known| known.services.get(&key).cloned());
        // A fleet that has no model any more keeps the Service that it had.
        let Some(port) = going_to.or(fleet.own_engine_port.filter(|_| there.is_some())) else {
            return Ok(None);
        };
        let wanted = builds::service(fleet, route::ports(port, heads, there.as_deref()));
        if there.as_deref().is_some_and(|there| same_service(there, &wanted)) {
            return Ok(None);
        }
        let api: Api<Service> = Api::namespaced(self.client.clone(), &fleet.namespace);
        if there.is_none() {
            let created = self.call("create Service", api.create(&PostParams::default(), &wanted)).await;
            match created {
                Ok(created) => {
                    self.index.made(created);
                    return Ok(None);
                }
                Err(error) if error.status().is_some_and(kube::core::Status::is_already_exists) => {}
                Err(error) => return Err(error),
            }
            let found = self.call("get Service", api.get_opt(&fleet.name)).await?;
            let ours = found.is_some_and(|found| found.owner_references().iter().any(|o| o.uid == fleet.uid));
            if !ours {
                return Ok(Some(key.to_string()));
            }
        }
        let patch = json!({"metadata": {"labels": wanted.metadata.labels}, "spec": wanted.spec});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let patched = self.call("patch Service", api.patch(&fleet.name, &parameters, &patch)).await?;
        self.index.apply(patched);
        Ok(None)
    }

    /// Writes the history of revisions.
    pub(crate) async fn write_history(
        &self,
        namespace: &str,
        change: HistoryChange,
    ) -> Result<(), WriteError> {
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), namespace);
        if let Some(record) = change.create {
            let created =
                self.call("create ControllerRevision", api.create(&PostParams::default(), &record)).await;
            match created {
                Ok(created) => self.index.made(created),
                // The watch has not delivered it yet.
                Err(error) if error.status().is_some_and(kube::core::Status::is_already_exists) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some((name, number)) = change.renumber {
            let patch = json!({"revision": number});
            let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
            let call = api.patch(&name, &parameters, &patch);
            let patched = self.call("renumber ControllerRevision", call).await?;
            self.index.changed(patched);
        }
        for name in change.delete {
            let parameters = DeleteParams::default();
            let call = api.delete(&name, &parameters);
            gone_is_fine(self.call("delete ControllerRevision", call).await.map(|_| ()))?;
        }
        Ok(())
    }

    /// Tells people. A failure is only logged: an event is no reason to hold anything up.
    pub(crate) async fn tell(&self, fleet: &RayClusterFleet, warning: bool, reason: &str, message: &str) {
        let about = fleet.object_ref(&());
        let telling = Telling {
            about: about.uid.clone().unwrap_or_default(),
            warning,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &fleet.namespace().unwrap_or_default());
        let written = match self.told.next(telling, &about, clock::now()) {
            Written::New(event) => self.call("event", api.create(&PostParams::default(), &event)).await,
            Written::Again(event) => {
                let (name, count) = (event.name_any(), json!({"series": event.series}));
                let (parameters, patch) = (PatchParams::default(), Patch::Merge(&count));
                self.call("event", api.patch(&name, &parameters, &patch)).await
            }
        };
        if let Err(error) = written {
            tracing::warn!(%error, reason, "an event could not be written");
        }
    }
}

/// What is not there any more need not be deleted or changed; what changed since is looked at again.
fn gone_is_fine(outcome: Result<(), WriteError>) -> Result<(), WriteError> {
    match outcome {
        Err(error) if error.status().is_some_and(kube::core::Status::is_not_found) => Ok(()),
        other => other,
    }
}

fn same_service(there: &Service, wanted: &Service) -> bool {
    let core = |service: &Service| {
        let spec = service.spec.clone().unwrap_or_default();
        let ports: Vec<_> =
            spec.ports.unwrap_or_default().into_iter().map(|p| (p.port, p.name, p.target_port)).collect();
        (spec.selector, ports)
    };
    core(there) == core(wanted)
}

#[cfg(test)]
mod tests;
