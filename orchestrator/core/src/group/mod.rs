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
mod launch;
mod own_engine;
mod pods;
mod ray;
mod reachability;
mod readiness;
mod repair;
mod requests;
mod serve;
mod status_fields;
mod stop;
mod suspend;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use rayfleet_api::ValidFleet;
use rayfleet_api::status::{Goal, GroupStatus, Phase};

use crate::observed::ObservedGroup;

use context::StepContext;
pub use context::{Blamed, GroupDecision};
pub use fail::backoff;
pub(crate) use finalizer::{Hold, hold};
pub(crate) use formation_timeout::pulls_its_image;
pub(crate) use launch::not_started as no_engine_yet;
pub(crate) use reachability::{UNREACHABLE, in_words as unreachable_in_words, unreachable};

/// One step of one group towards its goal.
pub fn step(
    fleet: &ValidFleet,
    group: &GroupStatus,
    observed: &ObservedGroup,
    now: Timestamp,
) -> GroupDecision {
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
            if fleet.model.is_some() && (launch::not_started(&ctx.group) || suspend::is_suspended(&ctx)) =>
        {
            launch::retarget(&mut ctx);
            serve::serve(&mut ctx);
        }
        Goal::SwapEngine | Goal::Retire => leave(&mut ctx),
    }
    status_fields::refresh(&mut ctx);
    ctx.into_decision()
}

/// A group that was told to end its engine: it drains if it serves, else there is nothing to wait for.
fn leave(ctx: &mut StepContext<'_>) {
    ctx.group.ready_since = None;
    match ctx.group.phase {
        Phase::Draining => drain::drain(ctx),
        Phase::Stopping => stop::stop(ctx),
        Phase::Ready if ctx.pods.head().is_some() => drain::start(ctx),
        // It lost its traffic a moment ago, and may still be answering what it had.
        _ if ctx.group.not_ready_since.is_some() && requests::answers(ctx) => drain::start(ctx),
        _ => stop::start(ctx),
    }
    // The old engine is over, and the next one may start on the same pods.
    if ctx.group.goal == Goal::Serve {
        serve::serve(ctx);
    }
}
