//! The planner: which groups should exist, serve, swap their engine or be deleted. It handles whole groups
//! only and sets goals; how a group reaches its goal is defined in `group`.
//!
//! Guarantees about its own decisions: the number of available groups never falls below `replicas -
//! maxUnavailable`, the number of existing groups never exceeds `replicas + maxSurge`, and broken groups go
//! first and cost no budget. Groups whose machines are about to end are not its own decision: they are
//! drained whatever the budget.

mod admission;
mod avoid;
mod blocked;
mod blocker;
mod budget;
mod classify;
mod closing_nodes;
mod conditions;
mod counts;
mod create;
mod moving;
mod obsolete_goals;
mod pend;
mod pend_failures;
mod planner;
mod progress;
mod progress_deadline;
mod progress_made;
mod replace;
mod retirement_order;
mod scale_down;
mod size;
mod summary;
mod target;

#[cfg(test)]
mod tests;

use rayfleet_api::EngineRevision;
use rayfleet_api::status::{Goal, GroupStatus};

pub(crate) use planner::{Inputs, Planner};
pub(crate) use summary::summarize;
pub(crate) use target::RolloutTarget;

/// Sets the goals of all groups, and adds new ones, for this pass.
///
/// One rule may enable another one (a retired group makes a new one wanted), so the rules are repeated until
/// none changes anything: a second pass over the same state has no effect.
pub(crate) fn plan(planner: &mut Planner<'_>) {
    // Every round sets at least one goal or is the last one, and goals hardly ever change twice.
    for _ in 0..=2 * planner.groups.len() {
        let before = goals(planner);
        round(planner);
        if goals(planner) == before {
            break;
        }
    }
}

/// Everything that the rules set: goals, reasons, the engine revision of a group without an engine, new
/// groups.
fn goals(planner: &Planner<'_>) -> Vec<(Goal, Option<String>, Option<EngineRevision>)> {
    let of = |group: &GroupStatus| (group.goal, group.goal_reason.clone(), group.engine_revision.clone());
    planner.groups.iter().map(of).collect()
}

fn round(planner: &mut Planner<'_>) {
    obsolete_goals::cancel_obsolete_goals(planner);
    replace::before_machines_end(planner);
    avoid::leave(planner);
    pend::give_up(planner);
    replace::for_free(planner);
    obsolete_goals::cancel_drains(planner);
    scale_down::scale_down(planner);
    create::create(planner);
    replace::within_budget(planner);
}
