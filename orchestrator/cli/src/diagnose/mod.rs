//! `kubectl rayfleet diagnose`: the first thing that is wrong between the CRD and the rank. Read-only.
//!
//! `read` makes all calls and gives `facts`; `judge` walks the links of `chain` over them, without a call or a
//! clock; `show` writes what came of it.

pub(crate) mod args;
mod chain;
mod facts;
mod finding;
mod judge;
mod read;
mod show;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use rayfleet_cli_kit::{CliError, Terminal};

use self::args::DiagnoseArgs;
use crate::fleets::Fleets;

/// Reads, judges and prints; the exit code says whether anything is wrong.
pub(crate) async fn run(
    args: &DiagnoseArgs,
    fleets: &Fleets,
    terminal: &Terminal,
) -> Result<ExitCode, CliError> {
    let facts = Box::pin(read::facts(args, fleets)).await;
    let steps = judge::judge(&facts);
    terminal.result(&show::document(&steps), &show::text(&steps, terminal.color))?;
    Ok(if judge::first(&steps).is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
