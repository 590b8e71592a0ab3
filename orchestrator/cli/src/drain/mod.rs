//! `kubectl rayfleet drain`: one group, or all groups of a node, moved with care by the orchestrator; this command asks and follows.

pub(crate) mod args;
mod group;
mod node;
mod steps;
mod target;

#[cfg(test)]
mod tests;

use rayfleet_cli_kit::{CliError, Terminal};
use target::Target;

use crate::fleets::Fleets;

pub(crate) async fn run(
    args: &args::DrainArgs,
    fleets: &Fleets,
    terminal: &Terminal,
) -> Result<(), CliError> {
    match target::find(&args.name, fleets).await? {
        Target::Group(target) => group::run(&target, args.timeout, fleets, terminal).await,
        Target::Node(target) => node::run(&target, args.timeout, fleets, terminal).await,
    }
}
