//! The step function, phase by phase: what was, what is observed, what follows.

mod ending;
mod evicting;
mod failing;
mod hung_and_lost;
mod leaving;
mod outside;
mod starting;
mod unreachable;
mod waiting;

use rayfleet_api::ValidFleet;
use rayfleet_api::status::GroupStatus;

use super::GroupDecision;
use crate::effect::Effect;
use crate::observed::ObservedGroup;
use crate::testing::at;

fn step(fleet: &ValidFleet, group: &GroupStatus, observed: &ObservedGroup, seconds: i64) -> GroupDecision {
    let mut observed = observed.clone();
    if let Some(ray) = &mut observed.ray {
        ray.at = at(seconds);
    }
    super::step(fleet, group, &observed, at(seconds))
}

/// The short names of effects, in order.
fn kinds(step: &GroupDecision) -> Vec<String> {
    step.effects
        .iter()
        .map(|effect| match effect {
            Effect::CreateCluster { .. } => "create".to_owned(),
            Effect::DeleteCluster { .. } => "delete".to_owned(),
            Effect::RepairCluster { .. } => "repair".to_owned(),
            Effect::SetGate { open, .. } => format!("gate {open}"),
            Effect::LaunchEngine { launch } => format!("launch {launch}"),
            Effect::SetDraining { draining, .. } => format!("draining {draining}"),
            Effect::StopEngine { .. } => "stop".to_owned(),
            Effect::Probe { .. } => "probe".to_owned(),
            Effect::Event { reason, .. } => (*reason).to_owned(),
        })
        .collect()
}
