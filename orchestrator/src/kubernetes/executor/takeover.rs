//! Calls about what AIBrix left: whether the API server keeps our ledger, RayClusterReplicaSets, and making groups of their RayClusters.
//! What is listed is read object by object, as the watches do.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::{DynamicObject, Request};
use kube::{Resource, ResourceExt};
use rayfleet_api::status::GroupStatus;
use rayfleet_api::{RayClusterFleet, names};
use rayfleet_runtime::watch::Stub;
use rayfleet_text::pieces::Page;

use super::{Executor, WriteError, body, clock, gone_is_fine, of};
use crate::kubernetes::objects::any;
use crate::kubernetes::{Index, aibrix, rayclusters};

/// How long AIBrix's CRD counts as absent once it was, for fleets that have no status yet.
const ABSENT: Duration = Duration::from_secs(30);
/// Objects in a page of a list. etcd keeps none above 1.5 MiB, so no page is larger than 30 MiB.
const PAGE: u32 = 20;

impl Executor {
    /// Whether the API server keeps the ledger that a status is written with. AIBrix's CRD of the same name drops it without a word.
    /// It is asked by a trial, as any write would make that loss one for good. A server that refuses the trial has not dropped anything.
    pub(crate) async fn keeps_ledger(&self, fleet: &RayClusterFleet) -> Result<bool, WriteError> {
        let at = of::<RayClusterFleet>(&fleet.namespace().unwrap_or_default());
        let mut trial = fleet.clone();
        let entry = GroupStatus { name: "asks-whether-the-ledger-is-kept".into(), ..GroupStatus::default() };
        trial.status.get_or_insert_default().groups = vec![entry];
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        let request = body(&trial)
            .and_then(|body| at.replace_subresource("status", &fleet.name_any(), &parameters, body));
        match self.ask::<RayClusterFleet>("try status", request).await {
            Ok(answer) => {
                Ok(answer.and_then(|fleet| fleet.status).is_some_and(|status| !status.groups.is_empty()))
            }
            Err(error) if error.is_conflict() || error.status().is_none() => Err(error),
            Err(_) => Ok(true),
        }
    }

    /// RayClusterReplicaSets that a fleet controls, the newest first. Where AIBrix's CRD is not there, none. That it is not there is asked
    /// once for all fleets for a while, unless `again` says otherwise: `None` then.
    pub(crate) async fn replica_sets(
        &self,
        fleet: &RayClusterFleet,
        again: bool,
    ) -> Result<Option<Vec<DynamicObject>>, WriteError> {
        let now = clock::monotonic();
        let absent = *self.aibrix_absent.lock();
        if !again && absent.is_some_and(|asked| now.saturating_duration_since(asked) < ABSENT) {
            return Ok(None);
        }
        let (namespace, uid) = (fleet.namespace().unwrap_or_default(), fleet.uid().unwrap_or_default());
        let listed = self
            .list("list RayClusterReplicaSets", &sets_at(&namespace), |set| aibrix::controls(&uid, set))
            .await;
        let is = |error: &WriteError, code| error.status().is_some_and(|status| status.code == code);
        *self.aibrix_absent.lock() = listed.as_ref().err().filter(|error| is(error, 404)).map(|_| now);
        let mut sets = match listed {
            Ok(sets) => sets,
            Err(error) if is(&error, 404) => Vec::new(),
            Err(error) => return Err(error),
        };
        sets.sort_by_key(|set| {
            std::cmp::Reverse((set.creation_timestamp().map(|time| time.0), set.name_any()))
        });
        Ok(Some(sets))
    }

    /// Makes groups of the RayClusters of RayClusterReplicaSets, and removes those. No pod is touched. Broken off anywhere, it is gone
    /// on with: what is a group already keeps its slot, and a RayClusterReplicaSet goes after its RayClusters.
    pub(crate) async fn take_over(
        &self,
        fleet: &RayClusterFleet,
        sets: &[DynamicObject],
    ) -> Result<(), WriteError> {
        let (namespace, uid) = (fleet.namespace().unwrap_or_default(), fleet.uid().unwrap_or_default());
        let of_sets: BTreeSet<String> = sets.iter().filter_map(ResourceExt::uid).collect();
        let concerns = |cluster: &DynamicObject| {
            aibrix::controls(&uid, cluster) || of_sets.iter().any(|of| aibrix::controls(of, cluster))
        };
        let (clusters_at, sets_at) = (rayclusters::at(&namespace), sets_at(&namespace));
        let all = self.list("list RayClusters", &clusters_at, concerns).await?;
        let slot_of = |cluster: &DynamicObject| cluster.labels().get(names::LABEL_SLOT)?.parse().ok();
        let ours = all.iter().filter(|cluster| aibrix::controls(&uid, *cluster));
        let mut slots: BTreeSet<u32> = ours.filter_map(slot_of).collect();
        for set in sets {
            let (name, of) = (set.name_any(), set.uid().unwrap_or_default());
            let revision = aibrix::pod_revision(set).unwrap_or_default();
            let of_set = |cluster: &&DynamicObject| {
                aibrix::controls(&of, *cluster) && cluster.metadata.deletion_timestamp.is_none()
            };
            for cluster in all.iter().filter(of_set) {
                let slot = (0..=u32::MAX).find(|slot| !slots.contains(slot)).unwrap_or_default();
                let change = aibrix::as_group(fleet, cluster, slot, &revision);
                let request =
                    clusters_at.patch(&cluster.name_any(), &PatchParams::default(), &Patch::Merge(&change));
                self.enter::<DynamicObject>("take over RayCluster", request, Index::made).await?;
                slots.insert(slot);
            }
            let parameters = DeleteParams {
                propagation_policy: Some(PropagationPolicy::Orphan),
                preconditions: Some(Preconditions { uid: Some(of), resource_version: None }),
                ..DeleteParams::default()
            };
            let deleted =
                self.writer.send("delete RayClusterReplicaSet", sets_at.delete(&name, &parameters)).await;
            gone_is_fine(deleted.map(|_| ()))?;
        }
        Ok(())
    }

    /// The objects of a list that are wanted. One that cannot be read hides no other; its name is logged.
    async fn list(
        &self,
        what: &'static str,
        at: &Request,
        is_wanted: impl Fn(&DynamicObject) -> bool,
    ) -> Result<Vec<DynamicObject>, WriteError> {
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let parameters =
                ListParams { limit: Some(PAGE), continue_token: token.take(), ..ListParams::default() };
            let text = self.writer.send(what, at.list(&parameters)).await?;
            let page = Page::of(&text).ok_or(WriteError::Unreadable(what))?;
            for item in page.items {
                match any(item) {
                    Ok(object) if is_wanted(&object) => found.push(object),
                    Ok(_) => {}
                    // The error itself may quote the object.
                    Err(_) => {
                        let object = Stub::read(item).map(|stub| stub.key().to_string());
                        tracing::warn!(what, object, "an object cannot be read and is passed over");
                    }
                }
            }
            token = page.metadata.token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
    }
}

/// Requests for the RayClusterReplicaSets of a namespace.
fn sets_at(namespace: &str) -> Request {
    Request::new(DynamicObject::url_path(&aibrix::REPLICA_SET, Some(namespace)))
}
