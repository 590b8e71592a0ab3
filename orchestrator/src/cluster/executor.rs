//! Performs writes to the API server: the only place that changes anything there. Every call has a
//! time-out and needs the lease; every write may be repeated without harm.

mod takeover;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{self as k8s, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::request::Error as BadRequest;
use kube::core::{DynamicObject, Request};
use kube::{Client, Resource, ResourceExt};
use rayfleet_api::pieces::fields;
use rayfleet_api::status::GroupStatus;
use rayfleet_api::{RayClusterFleet, RayClusterFleetStatus, ValidFleet, names};
use serde::Serialize;
use serde_json::json;

use super::budgets::Budgets;
use super::events::{Telling, Told, Written};
use super::gate::Gate;
use super::history::HistoryChange;
use super::notes::{Note, Notes};
use super::objects::{Watched, controller};
use super::pods::Pod;
use super::route::{self, Listener};
use super::write_error::WriteError;
use super::{Index, Key, builds, rayclusters};
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
    told: Arc<Told>,
    notes: Arc<Notes>,
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
        Self { client, index, leadership, told, notes: Arc::default(), metrics }
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

    /// Creates a group's RayCluster. One of this name and owner that is there already is the same. Strict: a field that KubeRay's CRD
    /// does not know is refused, not dropped.
    pub(crate) async fn create_cluster(
        &self,
        fleet: &ValidFleet,
        group: &GroupStatus,
        port_name: Option<&str>,
        strict: bool,
    ) -> Result<Made, WriteError> {
        let at = rayclusters::at(&fleet.namespace);
        let cluster = builds::ray_cluster(fleet, group, port_name);
        let request = if strict {
            strictly(&at, &cluster, false)
        } else {
            body(&cluster).and_then(|body| at.create(&PostParams::default(), body))
        };
        match self.ask::<DynamicObject>("create RayCluster", request).await {
            Ok(Some(created)) => self.index.made(created),
            Ok(None) => {}
            Err(error) if error.status().is_some_and(kube::core::Status::is_already_exists) => {
                let request = at.get(&group.name, &GetParams::default());
                let text = match self.send("get RayCluster", request).await {
                    Ok(text) => text,
                    Err(gone) => {
                        gone_is_fine(Err(gone))?;
                        return Err(error);
                    }
                };
                // What no fleet controls and nothing marks as a fleet's is not read.
                let Some(there) = DynamicObject::read(&text).ok().flatten() else {
                    return Ok(Made::Taken("not made by Rayfleet".to_owned()));
                };
                if !is_owned(&there, &fleet.uid) {
                    return Ok(Made::Taken(owner_of(&there)));
                }
                self.index.made(there);
            }
            Err(error) => return Err(error),
        }
        Ok(Made::Ours)
    }

    /// Makes a RayCluster the fleet's that has its labels and no owner, if it is still the one that was seen: what
    /// `kubectl delete --cascade=orphan` left serves on.
    pub(crate) async fn adopt_cluster(
        &self,
        fleet: &RayClusterFleet,
        key: &Key,
        uid: &str,
        version: &str,
    ) -> Result<(), WriteError> {
        let patch = json!({"metadata": {
            "uid": uid, "resourceVersion": version, "ownerReferences": [builds::owner_of(fleet)],
        }});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let request = rayclusters::at(&key.namespace).patch(&key.name, &parameters, &patch);
        if let Some(adopted) = self.ask::<DynamicObject>("adopt RayCluster", request).await? {
            self.index.made(adopted);
        }
        Ok(())
    }

    /// Asks the API server whether a RayCluster of this template could be created.
    pub(crate) async fn try_cluster(&self, fleet: &ValidFleet) -> Result<(), WriteError> {
        let name = names::group_name(&fleet.name, &fleet.revision.pod, 9999, 999);
        let group = GroupStatus { name, revision: fleet.revision.pod.clone(), ..GroupStatus::default() };
        let cluster = builds::ray_cluster(fleet, &group, None);
        let request = strictly(&rayclusters::at(&fleet.namespace), &cluster, true);
        self.send("try RayCluster", request).await.map(|_| ())
    }

    /// Deletes a RayCluster if it is still the one that was seen; its pods follow. What the answer says is entered in the index at
    /// once, so that it is not deleted again before the watch tells of it.
    pub(crate) async fn delete_cluster(
        &self,
        key: &Key,
        uid: String,
        resource_version: String,
    ) -> Result<(), WriteError> {
        let preconditions = Preconditions { uid: Some(uid), resource_version: Some(resource_version) };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let request = rayclusters::at(&key.namespace).delete(&key.name, &parameters);
        match self.send("delete RayCluster", request).await {
            // Either the object, which something still keeps, or a word that it is gone.
            Ok(answer) if is_status(&answer) => self.index.gone::<DynamicObject>(key),
            Ok(answer) => {
                if let Ok(Some(ending)) = DynamicObject::read(&answer) {
                    self.index.changed(ending);
                }
            }
            Err(error) => {
                gone_is_fine(Err(error))?;
                self.index.gone::<DynamicObject>(key);
            }
        }
        Ok(())
    }

    /// Sets a RayCluster back to the size that it was made with, if it is still the one that was seen. It is read again for that:
    /// KubeRay writes its status whenever pods come and go, and worker groups can only be given as a whole list.
    /// A worker group that is gone is taken from the fleet as it was when the group was made, if that is known.
    pub(crate) async fn repair_cluster(
        &self,
        key: &Key,
        uid: &str,
        made: Option<(&ValidFleet, &GroupStatus)>,
    ) -> Result<(), WriteError> {
        let at = rayclusters::at(&key.namespace);
        let request = at.get(&key.name, &GetParams::default());
        let found = match self.ask::<DynamicObject>("get RayCluster", request).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(error) => return gone_is_fine(Err(error)),
        };
        let same = found.uid().as_deref() == Some(uid);
        let made = made.map(|(fleet, group)| builds::ray_cluster(fleet, group, None));
        let made = made.as_ref().map(|made| &made.data["spec"]);
        let repair = rayclusters::repair(&found, made).filter(|_| same);
        let Some(spec) = repair else {
            self.index.changed(found);
            return Ok(());
        };
        // The version makes the API server refuse the patch if somebody else was faster.
        let patch =
            json!({"metadata": {"uid": uid, "resourceVersion": found.resource_version()}, "spec": spec});
        let request = at.patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch));
        match self.ask::<DynamicObject>("repair RayCluster", request).await {
            Ok(patched) => {
                if let Some(patched) = patched {
                    self.index.changed(patched);
                }
                Ok(())
            }
            Err(error) => gone_is_fine(Err(error)),
        }
    }

    /// Opens or closes the serving gate of a head pod.
    pub(crate) async fn set_gate(&self, pod: &Key, uid: &str, gate: Gate<'_>) -> Result<(), WriteError> {
        let condition = gate.condition(clock::now());
        // The uid makes the API server refuse the patch for another pod of the same name.
        let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [condition]}});
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

    /// Makes the fleet's Service what it should be. One with Rayfleet's labels and no owner becomes the fleet's; any other is left
    /// alone.
    pub(crate) async fn ensure_service(
        &self,
        fleet: &ValidFleet,
        heads: &[Listener],
        going_to: Option<u16>,
    ) -> Result<Made, WriteError> {
        let key = Key::new(&fleet.namespace, &fleet.name);
        let mut there = self.index.read(|known| known.services.get(&key).cloned());
        // A fleet that has no model any more keeps the Service that it had.
        let Some(port) = going_to.or(fleet.own_engine_port.filter(|_| there.is_some())) else {
            return Ok(Made::Ours);
        };
        let wanted = builds::service(fleet, route::ports(port, heads, there.as_deref()));
        let at = of::<Service>(&fleet.namespace);
        if there.is_none() {
            let request = body(&wanted).and_then(|body| at.create(&PostParams::default(), body));
            match self.ask::<Service>("create Service", request).await {
                Ok(created) => {
                    if let Some(created) = created {
                        self.index.made(created);
                    }
                    return Ok(Made::Ours);
                }
                Err(error) if error.status().is_some_and(kube::core::Status::is_already_exists) => {
                    let request = at.get(&fleet.name, &GetParams::default());
                    let found = self.ask::<Service>("get Service", request).await?;
                    there = Some(Arc::new(found.ok_or(error)?));
                }
                Err(error) => return Err(error),
            }
        }
        let owned = there.as_deref().is_some_and(|there| is_owned(there, &fleet.uid));
        if let Some(foreign) = there.as_deref().filter(|there| !owned && !is_orphan(*there, &fleet.name)) {
            return Ok(Made::Taken(owner_of(foreign)));
        }
        if owned && there.as_deref().is_some_and(|there| same_service(there, &wanted)) {
            return Ok(Made::Ours);
        }
        let metadata =
            json!({"labels": wanted.metadata.labels, "ownerReferences": wanted.metadata.owner_references});
        let patch = json!({"metadata": metadata, "spec": wanted.spec});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let request = at.patch(&fleet.name, &parameters, &patch);
        if let Some(patched) = self.ask::<Service>("patch Service", request).await? {
            self.index.apply(patched);
        }
        Ok(Made::Ours)
    }

    /// Deletes and makes `PodDisruptionBudgets`, each whatever becomes of the others; deletions first, as a quota may need the room.
    /// Gives the first failure.
    pub(crate) async fn write_budgets(&self, fleet: &ValidFleet, change: Budgets) -> Result<(), WriteError> {
        let mut failed = None;
        for name in change.delete {
            if let Err(error) = self.delete_budget(&fleet.namespace, &name).await {
                failed.get_or_insert(error);
            }
        }
        for budget in change.create {
            if let Err(error) = self.create_budget(fleet, &budget).await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn delete_budget(&self, namespace: &str, name: &str) -> Result<(), WriteError> {
        let request = of::<PodDisruptionBudget>(namespace).delete(name, &DeleteParams::default());
        gone_is_fine(self.send("delete PodDisruptionBudget", request).await.map(|_| ()))?;
        self.index.gone::<PodDisruptionBudget>(&Key::new(namespace, name));
        Ok(())
    }

    /// One that `kubectl delete --cascade=orphan` left gives way, and is made at the next pass; one of somebody else is a failure.
    async fn create_budget(
        &self,
        fleet: &ValidFleet,
        budget: &PodDisruptionBudget,
    ) -> Result<(), WriteError> {
        let at = of::<PodDisruptionBudget>(&fleet.namespace);
        let request = body(budget).and_then(|body| at.create(&PostParams::default(), body));
        let error = match self.ask::<PodDisruptionBudget>("create PodDisruptionBudget", request).await {
            Ok(created) => {
                if let Some(created) = created {
                    self.index.made(created);
                }
                return Ok(());
            }
            Err(error) if error.status().is_some_and(kube::core::Status::is_already_exists) => error,
            Err(error) => return Err(error),
        };
        let name = budget.name_any();
        let request = at.get(&name, &GetParams::default());
        match self.ask::<PodDisruptionBudget>("get PodDisruptionBudget", request).await? {
            // The watch has not delivered it yet.
            Some(there) if is_owned(&there, &fleet.uid) => self.index.made(there),
            Some(there) if is_orphan(&there, &fleet.name) => {
                self.delete_budget(&fleet.namespace, &name).await?;
            }
            Some(_) => return Err(error),
            None => {}
        }
        Ok(())
    }

    /// Writes the history of revisions. A record that `kubectl delete --cascade=orphan` left becomes the fleet's.
    pub(crate) async fn write_history(
        &self,
        fleet: &ValidFleet,
        change: HistoryChange,
    ) -> Result<Made, WriteError> {
        let at = of::<ControllerRevision>(&fleet.namespace);
        if let Some(record) = change.create {
            let request = body(&record).and_then(|body| at.create(&PostParams::default(), body));
            match self.ask::<ControllerRevision>("create ControllerRevision", request).await {
                Ok(Some(created)) => self.index.made(created),
                Ok(None) => {}
                Err(error) if error.status().is_some_and(kube::core::Status::is_already_exists) => {
                    let name = record.name_any();
                    let request = at.get(&name, &GetParams::default());
                    let there = self.ask::<ControllerRevision>("get ControllerRevision", request).await?;
                    let there = there.ok_or(error)?;
                    if is_orphan(&there, &fleet.name) {
                        let metadata = json!({"ownerReferences": record.metadata.owner_references});
                        let patch = json!({"metadata": metadata, "revision": record.revision});
                        let request = at.patch(&name, &PatchParams::default(), &Patch::Merge(&patch));
                        let adopted =
                            self.ask::<ControllerRevision>("adopt ControllerRevision", request).await?;
                        if let Some(adopted) = adopted {
                            self.index.made(adopted);
                        }
                    } else if is_owned(&there, &fleet.uid) {
                        // The watch has not delivered it yet.
                        self.index.made(there);
                    } else {
                        return Ok(Made::Taken(format!("{} ({name})", owner_of(&there))));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if let Some((name, number)) = change.renumber {
            let patch = json!({"revision": number});
            let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
            let request = at.patch(&name, &parameters, &patch);
            let patched = self.ask::<ControllerRevision>("renumber ControllerRevision", request).await?;
            if let Some(patched) = patched {
                self.index.changed(patched);
            }
        }
        for name in change.delete {
            let request = at.delete(&name, &DeleteParams::default());
            gone_is_fine(self.send("delete ControllerRevision", request).await.map(|_| ()))?;
        }
        Ok(Made::Ours)
    }

    /// Has people told, as soon as the events before are written: nothing ever waits for an event. Where too many wait, it is dropped,
    /// counted and logged.
    pub(crate) fn tell(&self, fleet: &RayClusterFleet, warning: bool, reason: &str, message: &str) {
        let about = fleet.object_ref(&());
        let telling = Telling {
            about: about.uid.clone().unwrap_or_default(),
            warning,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        if !self.notes.push(Note { about, telling }) {
            self.metrics.events_dropped.inc();
            tracing::warn!(fleet = %Key::of(fleet), reason, message, "too many events wait: this one is dropped");
        }
    }

    /// Writes events, one after the other, for as long as it is let.
    pub(crate) async fn write_events(self) {
        loop {
            self.write_event().await;
        }
    }

    /// Writes the oldest event that waits. A failure is only logged.
    async fn write_event(&self) {
        let Note { about, telling } = self.notes.next().await;
        let at = of::<Event>(about.namespace.as_deref().unwrap_or_default());
        let reason = telling.reason.clone();
        let written = match self.told.next(telling, &about, clock::now()) {
            Written::New(event) => {
                let request = body(&event).and_then(|body| at.create(&PostParams::default(), body));
                self.send("event", request).await
            }
            Written::Again(event) => {
                let (name, count) = (event.name_any(), json!({"series": event.series}));
                let (parameters, patch) = (PatchParams::default(), Patch::Merge(&count));
                self.send("event", at.patch(&name, &parameters, &patch)).await
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
        Err(error) if error.is_gone() => Ok(()),
        other => other,
    }
}

/// Requests for a kind in a namespace.
fn of<K: Resource<DynamicType = ()>>(namespace: &str) -> Request {
    Request::new(K::url_path(&(), Some(namespace)))
}

/// A request that creates a RayCluster, or tries to, with every field of it. The API server drops a field that KubeRay's CRD does not
/// know and creates the rest unless it is asked to be strict, which the client's own create cannot ask for.
fn strictly(
    at: &Request,
    cluster: &DynamicObject,
    dry_run: bool,
) -> Result<http::Request<Vec<u8>>, BadRequest> {
    let parameters = PostParams { dry_run, ..PostParams::default() };
    let mut request = at.create(&parameters, body(cluster)?)?;
    let joint = if dry_run { "&" } else { "" };
    let strict = format!("{}{joint}fieldValidation=Strict", request.uri());
    *request.uri_mut() = strict.parse().map_err(http::Error::from).map_err(BadRequest::BuildRequest)?;
    Ok(request)
}

/// An object as it is sent.
fn body(object: &impl Serialize) -> Result<Vec<u8>, BadRequest> {
    serde_json::to_vec(object).map_err(BadRequest::SerializeBody)
}

/// Whether an answer is a word about what was done, and no object.
fn is_status(answer: &str) -> bool {
    fields(answer).into_iter().flatten().any(|field| field == ("\"kind\"", "\"Status\""))
}

/// Whether the fleet of this UID controls an object.
fn is_owned(object: &impl ResourceExt, uid: &str) -> bool {
    controller(object.owner_references()).is_some_and(|owner| owner.uid == uid)
}

/// Made for a fleet of this name, and nobody's since.
fn is_orphan(object: &impl ResourceExt, fleet: &str) -> bool {
    let label = |key: &str| object.labels().get(key).map(String::as_str);
    object.owner_references().is_empty()
        && label(names::LABEL_FLEET) == Some(fleet)
        && label(names::LABEL_MANAGED_BY) == Some(names::MANAGED_BY)
}

/// Whose an object is, in words.
fn owner_of(object: &impl ResourceExt) -> String {
    let owner = object.owner_references().iter().find(|owner| owner.controller == Some(true));
    let owner = owner.or(object.owner_references().first());
    owner.map_or_else(
        || "not made by Rayfleet".to_owned(),
        |owner| format!("of {} {}", owner.kind, owner.name),
    )
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
