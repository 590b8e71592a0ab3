//! What one replica group is and does: a pure step from what the ledger says and what was observed to
//! what the ledger says next and what is to be done. Each part of a group's life has a file of its own.
//! Nothing here knows of other groups: that is the planner's part (`rollout`).

mod blame;
mod bring_up;
mod drain;
mod engine;
mod evict;
mod facts;
mod fail;
mod finalizer;
mod patience;
mod plain;
mod pods;
mod ray;
mod reach;
mod repair;
mod serve;
mod stage;
mod stop;
mod suspend;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use rayfleet_api::ValidFleet;
use rayfleet_api::status::{Goal, GroupStatus, Phase};

use crate::effect::Effect;
use crate::seen::GroupSeen;

pub(crate) use engine::not_started as no_engine_yet;
pub use fail::backoff;
pub(crate) use finalizer::{Hold, hold};
pub(crate) use patience::pulls_its_image;
pub(crate) use pods::{no_image, not_attached, pulls};
pub(crate) use reach::{UNREACHABLE, deaf, in_words as deaf_in_words};
pub use stage::Blamed;
use stage::Stage;

/// What follows for one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its entry in the ledger.
    pub group: GroupStatus,
    /// What is to be done.
    pub effects: Vec<Effect>,
    /// When to look again although nothing happened.
    pub wake: Option<Timestamp>,
    /// Requests that a drain deadline cut off in this step.
    pub lost_requests: u32,
    /// Nodes that a failure in this step came from.
    pub blamed: Option<Blamed>,
}

/// One step of one group towards its goal.
pub fn step(fleet: &ValidFleet, group: &GroupStatus, seen: &GroupSeen, now: Timestamp) -> Step {
    let mut stage = Stage::new(fleet, group, seen, now);
    stage.retire_if_deleted();
    repair::repair(&mut stage);
    match stage.group.goal {
        Goal::Serve => {
            serve::serve(&mut stage);
            // It failed or gave up: what can be ended now is ended now.
            if stage.group.goal == Goal::Retire {
                leave(&mut stage);
            } else if stage.group.phase == Phase::Failed && group.phase != Phase::Failed {
                serve::serve(&mut stage);
            }
        }
        // There is no engine to swap to any more: the planner replaces the whole group.
        Goal::SwapEngine if fleet.model.is_none() && group.phase != Phase::Stopping => {
            stage.group.goal = Goal::Serve;
            stage.group.goal_reason = None;
            serve::serve(&mut stage);
        }
        Goal::SwapEngine
            if fleet.model.is_some()
                && (engine::not_started(&stage.group) || suspend::is_suspended(&stage)) =>
        {
            engine::retarget(&mut stage);
            serve::serve(&mut stage);
        }
        Goal::SwapEngine | Goal::Retire => leave(&mut stage),
    }
    facts::refresh(&mut stage);
    stage.into_step()
}

/// A group that was told to end its engine: it drains if it serves, else there is nothing to wait for.
fn leave(stage: &mut Stage<'_>) {
    stage.group.ready_since = None;
    match stage.group.phase {
        Phase::Draining => drain::drain(stage),
        Phase::Stopping => stop::stop(stage),
        Phase::Ready if stage.pods.head().is_some() => drain::start(stage),
        // It lost its traffic a moment ago, and may still be answering what it had.
        _ if stage.group.wavers_since.is_some() && drain::answers(stage) => drain::start(stage),
        _ => stop::start(stage),
    }
}
