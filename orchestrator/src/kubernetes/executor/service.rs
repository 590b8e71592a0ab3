//! The fleet's Service.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use rayfleet_api::ValidFleet;
use serde_json::json;

use super::{Executor, Made, WriteError, of};
use crate::kubernetes::owners::{controls, is_orphan, owner_in_words};
use crate::kubernetes::route::{self, Listener};
use crate::kubernetes::{Index, Key, build};

impl Executor {
    /// Makes the fleet's Service what it should be. One with Rayfleet's labels and no owner becomes the fleet's; any other is left
    /// alone.
    pub(crate) async fn ensure_service(
        &self,
        fleet: &ValidFleet,
        heads: &[Listener],
        going_to: Option<u16>,
    ) -> Result<Made, WriteError> {
        let key = Key::new(&fleet.namespace, &fleet.name);
        let mut there = self.index.read(|store| store.services.get(&key).cloned());
        // A fleet that has no model any more keeps the Service that it had.
        let Some(port) = going_to.or(fleet.own_engine_port.filter(|_| there.is_some())) else {
            return Ok(Made::Ours);
        };
        let wanted = build::service(fleet, route::ports(port, heads, there.as_deref()));
        let at = of::<Service>(&fleet.namespace);
        if there.is_none() {
            let Some((found, _)) = self.create(["create Service", "get Service"], &at, &wanted).await? else {
                return Ok(Made::Ours);
            };
            there = Some(Arc::new(found));
        }
        let owned = there.as_deref().is_some_and(|there| controls(&fleet.uid, there));
        if let Some(foreign) = there.as_deref().filter(|there| !owned && !is_orphan(*there, &fleet.name)) {
            return Ok(Made::Taken(owner_in_words(foreign)));
        }
        if owned && there.as_deref().is_some_and(|there| same_service(there, &wanted)) {
            return Ok(Made::Ours);
        }
        // Somebody may have deleted it and made one of their own under its name.
        let metadata = json!({
            "uid": there.as_deref().and_then(ResourceExt::uid),
            "labels": wanted.metadata.labels,
            "ownerReferences": wanted.metadata.owner_references,
        });
        let patch = json!({"metadata": metadata, "spec": wanted.spec});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let request = at.patch(&fleet.name, &parameters, &patch);
        self.enter::<Service>("patch Service", request, Index::apply).await?;
        Ok(Made::Ours)
    }
}

pub(super) fn same_service(there: &Service, wanted: &Service) -> bool {
    let core = |service: &Service| {
        let spec = service.spec.clone().unwrap_or_default();
        let ports: Vec<_> =
            spec.ports.unwrap_or_default().into_iter().map(|p| (p.port, p.name, p.target_port)).collect();
        (spec.selector, ports)
    };
    core(there) == core(wanted)
}
