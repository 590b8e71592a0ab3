//! Where the engines of a fleet's groups listen, by what each group runs: from the index to what the Service is made of.

use std::collections::{BTreeMap, BTreeSet};

use rayfleet_api::status::{GroupStatus, RayClusterFleetStatus};
use rayfleet_api::{EngineRevision, ValidFleet};

use super::FleetReconciler;
use crate::kubernetes::{GroupKey, Key, Listener, name_to_share, own_port};

impl FleetReconciler {
    /// The heads of these groups. A group whose port nobody knows is left out.
    pub(super) fn listeners(&self, fleet: &ValidFleet, groups: &[GroupStatus]) -> Vec<Listener> {
        let engines = self.engine_ports(fleet, groups);
        let listener = |group: &GroupStatus| {
            let key = GroupKey::new(&fleet.namespace, group.name.clone());
            let ports = self.index.read(|known| known.head_ports(&key, group.uid.as_deref()))?;
            Some(Listener::new(&ports, self.port_of(fleet, group, &engines)?))
        };
        groups.iter().filter_map(listener).collect()
    }

    /// Ports of the engine revisions that groups run. The record of an older one is read once for all of them, not for each.
    pub(super) fn engine_ports(
        &self,
        fleet: &ValidFleet,
        groups: &[GroupStatus],
    ) -> BTreeMap<EngineRevision, u16> {
        let revisions: BTreeSet<&EngineRevision> =
            groups.iter().filter_map(|group| group.engine_revision.as_ref()).collect();
        let port = |revision: &EngineRevision| Some((revision.clone(), self.model(fleet, revision)?.port));
        revisions.into_iter().filter_map(port).collect()
    }

    /// Port of the engine that a group runs.
    fn port_of(
        &self,
        fleet: &ValidFleet,
        group: &GroupStatus,
        engines: &BTreeMap<EngineRevision, u16>,
    ) -> Option<u16> {
        if let Some(revision) = &group.engine_revision {
            return engines.get(revision).copied();
        }
        let key = GroupKey::new(&fleet.namespace, group.name.clone());
        let cluster = self.index.read(|known| known.clusters.get(&key).cloned());
        cluster.and_then(|cluster| own_port(&cluster)).or(fleet.own_engine_port)
    }

    /// The name that a new group has to give to its port, if any.
    pub(super) fn shared_port_name(
        &self,
        fleet: &ValidFleet,
        groups: &[GroupStatus],
        group: &GroupStatus,
    ) -> Option<String> {
        let port = self.port_of(fleet, group, &self.engine_ports(fleet, std::slice::from_ref(group)))?;
        let key = Key::<String>::new(&fleet.namespace, &fleet.name);
        let service = self.index.read(|known| known.services.get(&key).cloned());
        name_to_share(port, &self.listeners(fleet, groups), service.as_deref())
    }
}

/// The port that the fleet is on its way to: during a rollback that of the revision which it goes back to.
pub(super) fn going_to(
    fleet: &ValidFleet,
    stable: Option<&ValidFleet>,
    status: &RayClusterFleetStatus,
) -> Option<u16> {
    let rollout = status.rollout.as_ref().filter(|rollout| rollout.rollback.is_some());
    let back = stable.filter(|stable| rollout.is_some_and(|rollout| rollout.to == stable.revision));
    back.unwrap_or(fleet).model.as_ref().map(|model| model.port)
}
