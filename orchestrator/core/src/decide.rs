//! One pass over one fleet: adopt what is there, let the planner set goals, let every group take its
//! step, and sum it up in a status. No rule of its own lives here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rayfleet_api::names;
use rayfleet_api::status::GroupStatus;
use rayfleet_api::{RayClusterFleetStatus, ValidFleet};

use crate::capacity::Capacity;
use crate::effect::Effect;
use crate::seen::GroupSeen;

/// Everything that a decision may depend on.
#[derive(Clone, Debug)]
pub struct World<'a> {
    /// The fleet.
    pub fleet: &'a ValidFleet,
    /// Its status: the ledger of groups.
    pub status: &'a RayClusterFleetStatus,
    /// What was observed, by group name: every group of the ledger and every RayCluster or pod that
    /// the fleet owns.
    pub groups: &'a BTreeMap<String, GroupSeen>,
    /// What the nodes have room for. `None`: not known yet, so do not create surge groups.
    pub capacity: Option<&'a Capacity>,
    /// Now.
    pub now: Timestamp,
}

/// What is to be done about one fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The status to write. It must be written, when it differs, before any effect is performed.
    pub status: RayClusterFleetStatus,
    /// What to do then, in this order.
    pub effects: Vec<Effect>,
    /// When to look again although nothing happened.
    pub wake: Option<Timestamp>,
}

/// One pass over one fleet.
pub fn decide(world: &World<'_>) -> Decision {
    let mut status = world.status.clone();
    let mut effects = Vec::new();
    let fleet = world.fleet;
    if fleet.deleting {
        return Decision { status, effects, wake: None };
    }
    for slot in 0..fleet.replicas {
        if status.groups.iter().any(|group| group.slot == slot) {
            continue;
        }
        let group = GroupStatus {
            name: names::group_name(&fleet.name, &fleet.revision.pod, slot, 0),
            slot,
            revision: fleet.revision.pod.clone(),
            engine_revision: fleet.revision.engine.clone(),
            ..GroupStatus::default()
        };
        effects.push(Effect::CreateCluster { group: group.clone() });
        status.groups.push(group);
    }
    Decision { status, effects, wake: None }
}
