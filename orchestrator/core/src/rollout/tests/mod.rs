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
mod replaced;
mod rollback;
mod scenarios;
mod sim;
mod sim_group;
mod size;
mod words;

use std::collections::BTreeMap;

use rayfleet_api::status::GroupStatus;
use rayfleet_api::{GroupName, ValidFleet, names};

use super::{Inputs, RolloutTarget, replace, scale_down};
use crate::decide::Decision;
use crate::observed::ObservedGroup;
use crate::testing::at;

/// Whether this pass takes a group for the revision that it rolls out.
fn is_replaced(decision: &Decision, group: &GroupStatus) -> bool {
    let to = decision.status.rollout.as_ref().map(|rollout| replace::reason(&rollout.to));
    to.is_some() && group.goal_reason == to
}

/// Whether this pass takes a group by a decision of its own: for the revision, as one too many, or because somebody asked.
fn is_own_decision(fleet: &ValidFleet, decision: &Decision, group: &GroupStatus) -> bool {
    let most = fleet.replicas.saturating_add(fleet.strategy.max_surge);
    let surplus = (0..=most).any(|wanted| group.goal_reason == Some(scale_down::reason(wanted)));
    let asked = group.goal_reason.as_ref().is_some_and(|why| why.contains(names::ANNOTATION_REPLACE));
    surplus || asked || is_replaced(decision, group)
}

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
