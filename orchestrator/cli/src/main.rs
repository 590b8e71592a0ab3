//! `kubectl rayfleet`: status, plans and rollouts of `RayClusterFleets`.
//!
//! `args` defines the command line, `connect` and `fleets` call the API server, `view` parses its replies and
//! `render` turns them into text; `status`, `plan` and `rollout` are the commands.

mod args;
mod clock;
mod connect;
mod error;
mod fleets;
mod follow;
mod lines;
mod plan;
mod render;
mod revisions;
mod rollout;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod simulated;
mod status;
mod terminal;
mod view;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::error::CliError;
use crate::terminal::Terminal;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Only this program could have installed a provider other than ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(&cli).await {
        Ok(()) | Err(CliError::Closed) => ExitCode::SUCCESS,
        Err(fault) => {
            terminal::note(&fault.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<(), CliError> {
    let terminal = Terminal::find();
    let fleets = connect::connect(&cli.global).await?;
    match &cli.command {
        Command::Status(args) => status::run(args, &fleets, &terminal).await,
        Command::Plan(args) => plan::run(args, &fleets, &terminal).await,
        Command::Rollout(command) => rollout::run(command, &fleets, &terminal).await,
    }
}
