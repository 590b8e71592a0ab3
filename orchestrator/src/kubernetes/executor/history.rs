//! ControllerRevisions: the fleet's history.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use rayfleet_api::ValidFleet;
use serde_json::json;

use super::{Executor, Made, WriteError, gone_is_fine, if_it_is, of};
use crate::kubernetes::owners::{controls, is_orphan, owner_in_words};
use crate::kubernetes::{HistoryChange, Index, Key};

impl Executor {
    /// Writes the history of revisions. A record that `kubectl delete --cascade=orphan` left becomes the fleet's.
    pub(crate) async fn write_history(
        &self,
        fleet: &ValidFleet,
        change: HistoryChange,
    ) -> Result<Made, WriteError> {
        let at = of::<ControllerRevision>(&fleet.namespace);
        let uid = |name: &str| {
            let key = Key::new(&fleet.namespace, name);
            self.index.read(|store| store.revisions.get(&key).and_then(|record| record.uid()))
        };
        if let Some(record) = change.create {
            let what = ["create ControllerRevision", "get ControllerRevision"];
            if let Some((there, _)) = self.create(what, &at, &record).await? {
                let name = record.name_any();
                if is_orphan(&there, &fleet.name) {
                    let owners = &record.metadata.owner_references;
                    let metadata = json!({"uid": there.uid(), "ownerReferences": owners});
                    let patch = json!({"metadata": metadata, "revision": record.revision});
                    let request = at.patch(&name, &PatchParams::default(), &Patch::Merge(&patch));
                    let enter = Index::made::<ControllerRevision>;
                    self.enter("adopt ControllerRevision", request, enter).await?;
                } else if controls(&fleet.uid, &there) {
                    // The watch has not delivered it yet.
                    self.index.made(there);
                } else {
                    return Ok(Made::Taken(format!("{} ({name})", owner_in_words(&there))));
                }
            }
        }
        if let Some((name, number)) = change.renumber {
            let patch = json!({"metadata": {"uid": uid(&name)}, "revision": number});
            let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
            let request = at.patch(&name, &parameters, &patch);
            let enter = Index::changed::<ControllerRevision>;
            self.enter("renumber ControllerRevision", request, enter).await?;
        }
        for name in change.delete {
            let request = at.delete(&name, &if_it_is(uid(&name)));
            gone_is_fine(self.writer.send("delete ControllerRevision", request).await.map(|_| ()))?;
        }
        Ok(Made::Ours)
    }
}
