//! The planner against a small simulation of groups: scenarios that a reader can follow, and properties of
//! random fleets, spec changes, faults and crashes.

mod adoption;
mod avoid;
mod blockers;
mod deadline;
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

use rayfleet_api::{GroupName, ValidFleet};

use super::{Inputs, RolloutTarget};
use crate::observed::ObservedGroup;
use crate::testing::at;

/// Inputs of a planner at second 100, without another revision, capacity or avoided nodes.
fn inputs<'a>(
    fleet: &'a ValidFleet,
    target: &'a RolloutTarget<'a>,
    observed: &'a BTreeMap<GroupName, ObservedGroup>,
) -> Inputs<'a> {
    Inputs {
        fleet,
        stable: None,
        target,
        held: None,
        failed_writes: &[],
        observed,
        removed: &[],
        capacity: None,
        nodes: &[],
        now: at(100),
    }
}
