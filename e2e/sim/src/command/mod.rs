//! The subcommands of `rayfleet-sim`, and what they print.

mod arguments;
mod figures;
mod grids;
mod one;

use std::fmt::Display;
use std::io::Write;

pub(crate) use self::arguments::Arguments;
use self::arguments::Command;

/// Runs a subcommand; gives whether all was well.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<bool> {
    match arguments.command {
        Command::Run(run) => one::run(&run),
        Command::Grid(grid) => grids::grid(&grid),
        Command::Soak(seeds) => grids::soak(&seeds),
        Command::Walk(seeds) => grids::walks(&seeds),
        Command::Figures => figures::figures(),
    }
}

/// A line of the answer. Who does not read it, needs no word about that.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Why nothing could be run.
pub(crate) fn complain(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}
