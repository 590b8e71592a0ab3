//! The planner against a small simulation of groups: scenarios that a person can follow, and properties
//! over random fleets, spec changes, faults and crashes.

mod adoption;
mod avoid;
mod held;
mod model;
mod moving;
mod partition;
mod plans;
mod properties;
mod rollback;
mod scenarios;
mod sim;
mod sim_group;
mod size;
mod words;

use std::collections::BTreeMap;

use rayfleet_api::ValidFleet;

use super::{Inputs, RolloutTarget};
use crate::observed::ObservedGroup;
use crate::testing::at;

/// A planner's view of a fleet, at second 100, that knows of no other revision, no room and no bad node.
fn inputs<'a>(
    fleet: &'a ValidFleet,
    target: &'a RolloutTarget<'a>,
    observed: &'a BTreeMap<String, ObservedGroup>,
) -> Inputs<'a> {
    Inputs {
        fleet,
        stable: None,
        target: target,
        held: None,
        failed_writes: &[],
        observed: observed,
        removed: &[],
        capacity: None,
        nodes: &[],
        now: at(100),
    }
}
