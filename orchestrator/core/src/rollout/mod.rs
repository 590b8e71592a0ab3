//! The planner: which groups are to exist, serve, swap their engine or go. It looks at whole groups only
//! and sets goals; how a group gets there is its own business (`group`).
//!
//! What it guarantees, by its own doing: available groups never fall below `replicas - maxUnavailable`,
//! groups existing never rise above `replicas + maxSurge`, broken groups go first and cost no budget.
//! Groups whose machines are about to end are not its own doing: they are drained whatever the budget says.

mod admission;
mod avoid;
mod board;
mod budget;
mod conditions;
mod course;
mod create;
mod moved;
mod moving;
mod obstacle;
mod pend;
mod progress;
mod redirect;
mod replace;
mod size;
mod standing;
mod summary;
mod trim;
mod view;

#[cfg(test)]
mod tests;

use rayfleet_api::status::{Goal, GroupStatus};

pub(crate) use board::{Board, Inputs};
pub(crate) use course::Course;
pub(crate) use summary::summarize;

/// Sets the goals of all groups, and reserves new ones, for this pass.
///
/// What one rule does may let another one act (a group that is retired makes another one wanted), so the
/// rules go round until none has anything to do: a second pass over the same world finds nothing either.
pub(crate) fn plan(board: &mut Board<'_>) {
    // Every round sets at least one goal or is the last, and goals hardly ever change twice.
    for _ in 0..=2 * board.groups.len() {
        let before = goals(board);
        round(board);
        if goals(board) == before {
            break;
        }
    }
}

/// All that rules set: a goal, its reason, the engine of a group that has none yet, a new group.
fn goals(board: &Board<'_>) -> Vec<(Goal, Option<String>, Option<String>)> {
    let of = |group: &GroupStatus| (group.goal, group.goal_reason.clone(), group.engine_revision.clone());
    board.groups.iter().map(of).collect()
}

fn round(board: &mut Board<'_>) {
    redirect::redirect(board);
    replace::before_machines_end(board);
    avoid::leave(board);
    pend::give_up(board);
    replace::for_free(board);
    redirect::take_back(board);
    trim::trim(board);
    create::create(board);
    replace::within_budget(board);
}
