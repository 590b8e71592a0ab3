//! RayClusters of groups: made, adopted, tried, deleted, set back to their size.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use kube::ResourceExt;
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::request::Error as BadRequest;
use kube::core::{DynamicObject, Request, Status};
use rayfleet_api::status::GroupStatus;
use rayfleet_api::{RayClusterFleet, ValidFleet, names};
use rayfleet_text::pieces::fields;
use serde_json::{Value, json};

use super::{Executor, Made, WriteError, body, gone_is_fine};
use crate::kubernetes::objects::{Watched, any};
use crate::kubernetes::owners::{controls, owner_in_words};
use crate::kubernetes::{GroupKey, Index, build, rayclusters};

/// A RayCluster of a fleet's template, to be tried and not made.
pub(crate) struct Trial {
    namespace: String,
    cluster: DynamicObject,
    /// What this fleet's objects are called, and the hash in that.
    own: [String; 4],
}

impl Trial {
    /// Of what a fleet asks for now.
    pub(crate) fn of(fleet: &ValidFleet) -> Self {
        let name = names::group_name(&fleet.name, &fleet.revision.pod, 9999, 999);
        let own = [name.to_string(), fleet.revision.pod.to_string(), fleet.uid.clone(), fleet.name.clone()];
        let group = GroupStatus { name, revision: fleet.revision.pod.clone(), ..GroupStatus::default() };
        let cluster = build::ray_cluster(fleet, &group, None);
        Self { namespace: fleet.namespace.clone(), cluster, own }
    }

    /// Namespace, and a hash of all but the fleet's own names, whose lengths count, as there are limits on them. A name counts as the fleet's
    /// where it is a whole value, like that of a label; one that is a part of another text, like an image, stays.
    pub(crate) fn fingerprint(&self) -> (String, u64) {
        let mut cluster = serde_json::to_value(&self.cluster).unwrap_or_default();
        blank(&mut cluster, &self.own);
        let mut hash = DefaultHasher::new();
        cluster.to_string().hash(&mut hash);
        self.own.each_ref().map(String::len).hash(&mut hash);
        (self.namespace.clone(), hash.finish())
    }
}

/// Empties every text that is one of these names. As deep as a template may be nested.
fn blank(value: &mut Value, names: &[String]) {
    match value {
        Value::String(text) if names.contains(text) => text.clear(),
        Value::Array(items) => items.iter_mut().for_each(|item| blank(item, names)),
        Value::Object(fields) => fields.values_mut().for_each(|field| blank(field, names)),
        _ => {}
    }
}

impl Executor {
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
        let cluster = build::ray_cluster(fleet, group, port_name);
        let request = if strict {
            strictly(&at, &cluster, false)
        } else {
            body(&cluster).and_then(|body| at.create(&PostParams::default(), body))
        };
        let error = match self.enter::<DynamicObject>("create RayCluster", request, Index::made).await {
            Err(error) if error.status().is_some_and(Status::is_already_exists) => error,
            other => return other.map(|()| Made::Ours),
        };
        let request = at.get(&group.name, &GetParams::default());
        let text = match self.writer.send("get RayCluster", request).await {
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
        if !controls(&fleet.uid, &there) {
            return Ok(Made::Taken(owner_in_words(&there)));
        }
        self.index.made(there);
        Ok(Made::Ours)
    }

    /// Makes a RayCluster the fleet's that has its labels and no owner, if it is still the one that was observed: what
    /// `kubectl delete --cascade=orphan` left serves on.
    pub(crate) async fn adopt_cluster(
        &self,
        fleet: &RayClusterFleet,
        cluster: &DynamicObject,
    ) -> Result<(), WriteError> {
        let patch = json!({"metadata": {
            "uid": cluster.uid(),
            "resourceVersion": cluster.resource_version(),
            "ownerReferences": [build::owner_of(fleet)],
        }});
        let at = rayclusters::at(&cluster.namespace().unwrap_or_default());
        let request = at.patch(&cluster.name_any(), &PatchParams::default(), &Patch::Merge(&patch));
        self.enter::<DynamicObject>("adopt RayCluster", request, Index::made).await
    }

    /// Asks the API server whether a RayCluster of this template could be created.
    pub(crate) async fn try_cluster(&self, trial: &Trial) -> Result<(), WriteError> {
        let request = strictly(&rayclusters::at(&trial.namespace), &trial.cluster, true);
        self.writer.send("try RayCluster", request).await.map(|_| ())
    }

    /// Deletes a RayCluster if it is still the one that was observed; its pods follow. What the answer says is entered in the index at
    /// once, so that it is not deleted again before the watch tells of it.
    pub(crate) async fn delete_cluster(
        &self,
        key: &GroupKey,
        uid: String,
        resource_version: String,
    ) -> Result<(), WriteError> {
        let preconditions = Preconditions { uid: Some(uid), resource_version: Some(resource_version) };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let request = rayclusters::at(&key.namespace).delete(&key.name, &parameters);
        match self.writer.send("delete RayCluster", request).await {
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

    /// Sets a RayCluster back to the size that it was made with, if it is still the one that was observed. It is read again for that:
    /// KubeRay writes its status whenever pods come and go, and worker groups can only be given as a whole list.
    /// A worker group that is gone is taken from the fleet as it was when the group was made, if that is known.
    pub(crate) async fn repair_cluster(
        &self,
        key: &GroupKey,
        uid: &str,
        made: Option<(&ValidFleet, &GroupStatus)>,
    ) -> Result<(), WriteError> {
        let at = rayclusters::at(&key.namespace);
        let request = at.get(&key.name, &GetParams::default());
        let text = match self.writer.send("get RayCluster", request).await {
            Ok(text) => text,
            Err(error) => return gone_is_fine(Err(error)),
        };
        // Whole: worker groups are given back as they are, with the pod templates that the index does not keep.
        let (Ok(Some(known)), Ok(found)) = (DynamicObject::read(&text), any(&text)) else { return Ok(()) };
        let same = found.uid().as_deref() == Some(uid);
        let made = made.map(|(fleet, group)| build::ray_cluster(fleet, group, None));
        let made = made.as_ref().map(|made| &made.data["spec"]);
        let repair = rayclusters::repair(&found, made).filter(|_| same);
        let Some(spec) = repair else {
            self.index.changed(known);
            return Ok(());
        };
        // The version makes the API server refuse the patch if somebody else was faster.
        let patch =
            json!({"metadata": {"uid": uid, "resourceVersion": found.resource_version()}, "spec": spec});
        let request = at.patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch));
        gone_is_fine(self.enter::<DynamicObject>("repair RayCluster", request, Index::changed).await)
    }
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

/// Whether an answer is a word about what was done, and no object.
fn is_status(answer: &str) -> bool {
    fields(answer).into_iter().flatten().any(|field| field == ("\"kind\"", "\"Status\""))
}
