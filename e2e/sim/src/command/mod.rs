//! The subcommands of `rayfleet-sim`, and their output.

mod arguments;
mod figures;
mod grids;
mod one;

use std::fmt::Display;
use std::io::Write;

pub(crate) use self::arguments::Arguments;
use self::arguments::Command;

/// Runs a subcommand; returns whether all runs succeeded.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<bool> {
    match arguments.command {
        Command::Run(run) => one::run(&run),
        Command::Grid(grid) => grids::grid(&grid),
        Command::Soak(seeds) => grids::soak(&seeds),
        Command::Walk(seeds) => grids::walks(&seeds),
        Command::Figures => figures::figures(),
    }
}

/// Prints a line of output. A closed pipe is not an error.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints why nothing could be run.
pub(crate) fn print_error(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}
