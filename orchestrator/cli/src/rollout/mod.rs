//! `kubectl rayfleet rollout`: one module for each subcommand that is more than a patch.

mod abort;
pub(crate) mod args;
mod change;
mod diff;
mod history;
mod progress;
mod promote;
pub(crate) mod status;
#[cfg(test)]
pub(crate) mod testing;
mod undo;

use rayfleet_cli_kit::{CliError, Terminal};

use crate::fleets::Fleets;
use crate::rollout::args::RolloutCommand;

pub(crate) async fn run(
    command: &RolloutCommand,
    fleets: &Fleets,
    terminal: &Terminal,
) -> Result<(), CliError> {
    match command {
        RolloutCommand::Status(args) => status::run(args, fleets, terminal).await,
        RolloutCommand::Restart(args) => change::restart(&args.fleet, fleets, terminal).await,
        RolloutCommand::Pause(args) => change::pause(&args.fleet, fleets, terminal).await,
        RolloutCommand::Resume(args) => change::resume(&args.fleet, fleets, terminal).await,
        RolloutCommand::Undo(args) => undo::run(args, fleets, terminal).await,
        RolloutCommand::Diff(args) => diff::run(args, fleets, terminal).await,
        RolloutCommand::Abort(args) => abort::run(args, fleets, terminal).await,
        RolloutCommand::Promote(args) => promote::run(args, fleets, terminal).await,
        RolloutCommand::History(args) => history::run(args, fleets, terminal).await,
    }
}
