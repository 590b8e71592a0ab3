//! `kubectl rayfleet`: status, diagnosis, plans and rollouts of `RayClusterFleets`, and manifests of them.
//!
//! `args` defines the command line, `connect` and `fleets` call the API server, `view` parses its replies and
//! `render` turns them into text; `status`, `diagnose`, `plan` and `rollout` are the commands. `template` and `lint` call no API
//! server.

mod apply;
mod args;
mod connect;
mod diagnose;
mod drain;
mod error;
mod fleets;
mod follow;
mod lines;
mod lint;
mod plan;
mod render;
mod revisions;
mod rollout;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod simulated;
mod status;
mod template;
mod view;

use std::process::ExitCode;

use clap::Parser;
use rayfleet_cli_kit::{CliError, Format, Terminal};

use crate::args::{Cli, Command};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Only this program could have installed a provider other than ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(&cli).await {
        Ok(code) => code,
        Err(fault) => {
            // As kubectl does it, for people in every format.
            Terminal::find(Format::Text).fault(&fault);
            ExitCode::from(fault.code())
        }
    }
}

async fn run(cli: &Cli) -> Result<ExitCode, CliError> {
    let fleets = connect::connect(&cli.global);
    let done = match &cli.command {
        Command::Status(args) => status::run(args, &fleets.await?, &Terminal::find(args.format())).await,
        Command::Diagnose(args) => {
            return diagnose::run(args, &fleets.await?, &Terminal::find(args.output)).await;
        }
        Command::Plan(args) => plan::run(args, &fleets.await?, &Terminal::find(args.output)).await,
        Command::Rollout(command) => {
            rollout::run(command, &fleets.await?, &Terminal::find(Format::Text)).await
        }
        Command::Apply(args) => apply::run(args, &fleets.await?, &Terminal::find(Format::Text)).await,
        Command::Drain(args) => drain::run(args, &fleets.await?, &Terminal::find(Format::Text)).await,
        Command::Lint(args) => lint::lint(args, &Terminal::find(args.output.format())),
        Command::Migrate(args) => lint::migrate(args, &Terminal::find(Format::Text)),
        Command::Template(args) => {
            // A manifest says how it was written, whatever the words are made of.
            let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
            let words: Vec<String> = words.collect();
            template::run(args, &cli.global, &words, &Terminal::find(args.out.output))
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}
