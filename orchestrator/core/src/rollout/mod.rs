//! The planner: which groups are to exist, serve, swap their engine or go. It looks at whole groups only
//! and sets goals; how a group gets there is its own business (`group`).
//!
//! What it guarantees, by its own doing: available groups never fall below `replicas - maxUnavailable`,
//! groups existing never rise above `replicas + maxSurge`, broken groups go first and cost no budget.
//! Groups whose machines are about to end are not its own doing: they are drained whatever the budget says.

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
mod progress_made;
mod replace;
mod retirement_order;
mod scale_down;
mod size;
mod summary;
mod target;

#[cfg(test)]
mod tests;

use rayfleet_api::status::{Goal, GroupStatus};

pub(crate) use planner::{Inputs, Planner};
pub(crate) use summary::summarize;
pub(crate) use target::RolloutTarget;

/// Sets the goals of all groups, and reserves new ones, for this pass.
///
/// What one rule does may let another one act (a group that is retired makes another one wanted), so the
/// rules go round until none has anything to do: a second pass over the same world finds nothing either.
pub(crate) fn plan(planner: &mut Planner<'_>) {
    // Every round sets at least one goal or is the last, and goals hardly ever change twice.
    for _ in 0..=2 * planner.groups.len() {
        let before = goals(planner);
        round(planner);
        if goals(planner) == before {
            break;
        }
    }
}

/// All that rules set: a goal, its reason, the engine of a group that has none yet, a new group.
fn goals(planner: &Planner<'_>) -> Vec<(Goal, Option<String>, Option<String>)> {
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
