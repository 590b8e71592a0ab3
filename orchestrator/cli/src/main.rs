//! `kubectl rayfleet`: status, diagnosis, plans and rollouts of `RayClusterFleets`, and manifests of them.
//!
//! `args` defines the command line, `connect` and `fleets` call the API server, `view` parses its replies and
//! `render` turns them into text; the commands are in modules of their names (`port-forward`: `forward`). `lint` calls no API
//! server, and `template` only with `--from-cluster`. `completion` and `docs` are made from `args`.
//! Every command that reads takes a `bundle` in place of the API server.

mod apply;
mod args;
mod bundle;
mod completion;
mod connect;
mod diagnose;
mod docs;
mod drain;
mod error;
mod events;
mod fleets;
mod follow;
mod forward;
mod global;
mod lines;
mod lint;
mod listing;
mod logs;
mod map;
mod object_names;
mod plan;
mod render;
mod revisions;
mod rollout;
#[cfg(test)]
mod sample;
mod screen;
#[cfg(test)]
mod simulated;
mod status;
mod template;
mod top;
mod view;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use rayfleet_cli_kit::terminal::note;
use rayfleet_cli_kit::{CliError, Format, Terminal};

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    // Before the runtime, in which the completion's own calls could not wait.
    if completion::answer() {
        return ExitCode::SUCCESS;
    }
    start()
}

#[tokio::main(flavor = "current_thread")]
async fn start() -> ExitCode {
    let cli = Cli::parse();
    // Only this program could have installed a provider other than ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // On the heap: what all commands need together is too much for a stack.
    match Box::pin(run(cli)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // As kubectl does it, for people in every format.
            Terminal::find(Format::Text).fault(&fault);
            ExitCode::from(fault.code())
        }
    }
}

async fn run(cli: Cli) -> Result<(), CliError> {
    let Cli { global, mut command } = cli;
    let mut recorded = None;
    if global.from.is_some() {
        command.takes_bundle()?;
        let mut fleets = connect::connect(&global).await?;
        note(&format!("from {}", fleets.server));
        if global.namespace.is_none() {
            bundle::choose(&mut command, &mut fleets).await?;
        }
        recorded = Some(fleets);
    }
    let fleets = async {
        match recorded {
            Some(fleets) => Ok(fleets),
            None => connect::connect(&global).await,
        }
    };
    match &command {
        Command::Status(args) => status::run(args, &fleets.await?, &Terminal::find(args.format())).await,
        Command::Diagnose(args) => diagnose::run(args, &fleets.await?, &Terminal::find(args.output)).await,
        Command::Map(args) => map::run(args, &fleets.await?, &Terminal::find(args.format())).await,
        Command::Top(args) => top::run(args, &fleets.await?, &Terminal::find(args.format())).await,
        Command::Events(args) => events::run(args, &fleets.await?, &Terminal::find(args.format())).await,
        Command::Logs(args) => logs::run(args, &fleets.await?, &Terminal::find(args.output)).await,
        Command::SupportBundle(args) => {
            bundle::run(args, &fleets.await?, &Terminal::find(Format::Text)).await
        }
        Command::Plan(args) => plan::run(args, &fleets.await?, &Terminal::find(args.output)).await,
        Command::Rollout(command) => {
            rollout::run(command, &fleets.await?, &Terminal::find(Format::Text)).await
        }
        Command::PortForward(args) => forward::run(args, &fleets.await?, &Terminal::find(Format::Text)).await,
        Command::Apply(args) => apply::run(args, &fleets.await?, &Terminal::find(Format::Text)).await,
        Command::Drain(args) => drain::run(args, &fleets.await?, &Terminal::find(Format::Text)).await,
        Command::Lint(args) => lint::lint(args, &Terminal::find(args.output.format())),
        Command::Migrate(args) => lint::migrate(args, &Terminal::find(Format::Text)),
        Command::Completion(args) => completion::run(args, &Terminal::find(Format::Text)),
        Command::Docs(command) => docs::run(command, Cli::command(), &Terminal::find(Format::Text)),
        Command::Template(args) => {
            // A manifest says how it was written, whatever the words are made of.
            let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
            let words: Vec<String> = words.collect();
            template::run(args, &global, &words, &Terminal::find(args.out.output), fleets).await
        }
    }
}
