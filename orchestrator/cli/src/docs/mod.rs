//! `kubectl rayfleet docs`, which help does not list: man pages for packages, and the page `docs/cli.md`. Both are
//! written from the definition in `args`, which decides flags, help and completion too.

mod man;
mod markdown;

use std::path::PathBuf;

use clap::{Command, Subcommand};
use rayfleet_cli_kit::{CliError, Terminal};

/// What to write.
#[derive(Debug, Subcommand)]
pub(crate) enum DocsCommand {
    /// Write a man page for every command into a directory
    #[command(after_help = "Examples:
  kubectl rayfleet docs man ~/.local/share/man/man1
  man kubectl-rayfleet-rollout-undo")]
    Man {
        /// Directory; it must exist
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Print all commands and flags as Markdown
    #[command(after_help = "Examples:
  kubectl rayfleet docs markdown")]
    Markdown,
}

/// Writes them of a program.
pub(crate) fn run(command: &DocsCommand, program: Command, terminal: &Terminal) -> Result<(), CliError> {
    match command {
        DocsCommand::Man { directory } => man::write(program, directory),
        DocsCommand::Markdown => terminal.print(&markdown::page(program)),
    }
}
