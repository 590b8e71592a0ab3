//! The planner: which groups are to exist, serve, swap their engine or go. It looks at whole groups only
//! and sets goals; how a group gets there is its own business (`group`).
//!
//! What it guarantees, by its own doing: available groups never fall below `replicas - maxUnavailable`,
//! groups existing never rise above `replicas + maxSurge`, broken groups go first and cost no budget.

mod board;
mod budget;
mod conditions;
mod create;
mod progress;
mod redirect;
mod replace;
mod summary;
mod trim;
mod view;

#[cfg(test)]
mod tests;

use rayfleet_api::spec::StrategyType;

pub(crate) use board::{Board, Inputs};
pub(crate) use summary::summarize;

/// Sets the goals of all groups, and reserves new ones, for this pass.
pub(crate) fn plan(board: &mut Board<'_>) {
    redirect::redirect(board);
    trim::trim(board);
    create::create(board);
    match board.fleet.strategy.kind {
        _ if board.fleet.paused => {}
        StrategyType::RollingUpdate => replace::rolling(board),
        StrategyType::Recreate => replace::all_at_once(board),
    }
    // Where groups were retired there may be room for their successors already.
    create::create(board);
}
