//! One pass over one fleet: adopt what is there, let the planner set goals, let every group take its
//! step, and sum it up in a status. No rule of its own lives here.

use std::collections::BTreeMap;

use jiff::Timestamp;
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
