//! `ray-bridge`: places, runs, verifies and watches one large engine on any Ray cluster.
//!
//! `args` defines the command line, `connect` finds the cluster, `model` reads the model file, `view` turns
//! Ray's replies into documents and `render` those into text; every command is a module of its name.

mod args;
mod connect;
mod deploy;
mod doctor;
mod drain;
mod error;
#[cfg(test)]
mod fake;
mod follow;
mod logs;
mod model;
mod plan;
mod render;
mod status;
mod stop;
mod tail;
#[cfg(test)]
mod tests;
mod verify;
mod view;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use rayfleet_cli_kit::{CliError, Terminal};

use crate::args::{Cli, Command};
use crate::connect::Session;

/// The result of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Yes, or done.
    Yes,
    /// No; the result says why.
    No,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::find(cli.global.output);
    let answer = match Session::open(&cli.global, |name| std::env::var(name).ok()) {
        Ok(session) => run(&cli.command, &session, &terminal).await,
        Err(fault) => Err(fault),
    };
    match answer {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::FAILURE,
        Err(fault) => {
            terminal.fault(&fault);
            ExitCode::from(fault.code())
        }
    }
}

async fn run(command: &Command, session: &Session, terminal: &Terminal) -> Result<Answer, CliError> {
    match command {
        Command::Plan(args) => plan::run(args, session, terminal).await,
        Command::Deploy(args) => deploy::run(args, session, terminal).await,
        Command::Status(args) => status::run(args, session, terminal).await,
        Command::Verify(args) => verify::run(&args.name, session, terminal).await,
        Command::Watch(args) => watch::run(args, session, terminal).await,
        Command::Drain(args) => drain::run(args, session, terminal).await,
        Command::Stop(args) => stop::run(args, session, terminal).await,
        Command::Logs(args) => logs::run(args, session, terminal).await,
        Command::Doctor(args) => doctor::run(args, session, terminal).await,
    }
}
