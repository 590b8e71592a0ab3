//! What one replica group is and does: a pure step from what the ledger says and what was observed to
//! what the ledger says next and what is to be done. Each part of a group's life has a file of its own.
//! Nothing here knows of other groups: that is the planner's part (`rollout`).

mod blame;
mod bring_up;
mod context;
mod drain;
mod engine;
mod evict;
mod fail;
mod failure;
mod finalizer;
mod formation_timeout;
mod own_engine;
mod pods;
mod ray;
mod reachability;
mod repair;
mod serve;
mod status_fields;
mod stop;
mod suspend;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use rayfleet_api::ValidFleet;
use rayfleet_api::status::{FailureKind, Goal, GroupStatus, Phase};

use crate::effect::Effect;
use crate::observed::ObservedGroup;

pub use context::Blamed;
use context::StepContext;
pub(crate) use engine::not_started as no_engine_yet;
pub use fail::backoff;
pub(crate) use finalizer::{Hold, hold};
pub(crate) use formation_timeout::pulls_its_image;
pub(crate) use reachability::{UNREACHABLE, deaf, in_words as deaf_in_words};

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
    /// The kind of a failure in this step.
    pub failure: Option<FailureKind>,
    /// Nodes that this failure came from.
    pub blamed: Option<Blamed>,
}

/// One step of one group towards its goal.
pub fn step(fleet: &ValidFleet, group: &GroupStatus, observed: &ObservedGroup, now: Timestamp) -> Step {
    let mut ctx = StepContext::new(fleet, group, observed, now);
    ctx.retire_if_deleted();
    repair::repair(&mut ctx);
    match ctx.group.goal {
        Goal::Serve => {
            serve::serve(&mut ctx);
            // It failed or gave up: what can be ended now is ended now.
            if ctx.group.goal == Goal::Retire {
                leave(&mut ctx);
            } else if ctx.group.phase == Phase::Failed && group.phase != Phase::Failed {
                serve::serve(&mut ctx);
            }
        }
        // There is no engine to swap to any more: the planner replaces the whole group.
        Goal::SwapEngine if fleet.model.is_none() && group.phase != Phase::Stopping => {
            ctx.group.goal = Goal::Serve;
            ctx.group.goal_reason = None;
            serve::serve(&mut ctx);
        }
        Goal::SwapEngine
            if fleet.model.is_some() && (engine::not_started(&ctx.group) || suspend::is_suspended(&ctx)) =>
        {
            engine::retarget(&mut ctx);
            serve::serve(&mut ctx);
        }
        Goal::SwapEngine | Goal::Retire => leave(&mut ctx),
    }
    status_fields::refresh(&mut ctx);
    ctx.into_step()
}

/// A group that was told to end its engine: it drains if it serves, else there is nothing to wait for.
fn leave(ctx: &mut StepContext<'_>) {
    ctx.group.ready_since = None;
    match ctx.group.phase {
        Phase::Draining => drain::drain(ctx),
        Phase::Stopping => stop::stop(ctx),
        Phase::Ready if ctx.pods.head().is_some() => drain::start(ctx),
        // It lost its traffic a moment ago, and may still be answering what it had.
        _ if ctx.group.not_ready_since.is_some() && drain::answers(ctx) => drain::start(ctx),
        _ => stop::start(ctx),
    }
}
