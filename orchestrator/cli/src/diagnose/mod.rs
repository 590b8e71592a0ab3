//! `kubectl rayfleet diagnose`: the first thing that is wrong between the CRD and the rank. Read-only.
//!
//! `read` asks by the `calls` and gives `facts`; `judge` walks the links of `chain` over a `case` of them, without a
//! call or a clock; `show` writes what came of it.

mod answer;
pub(crate) mod args;
mod calls;
mod case;
mod chain;
mod facts;
mod finding;
mod judge;
mod objects;
mod read;
mod show;
#[cfg(test)]
mod tests;

use rayfleet_cli_kit::{CliError, Terminal};

use self::args::DiagnoseArgs;
use crate::fleets::Fleets;

/// Reads, judges and prints. An error without words says that something is wrong, or that not everything was read.
pub(crate) async fn run(args: &DiagnoseArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let facts = Box::pin(read::facts(args, fleets)).await;
    let (steps, cut) = (judge::judge(&facts), facts.is_cut());
    terminal.result(&show::document(&steps, cut), &show::text(&steps, cut, terminal.color))?;
    if cut || !judge::first(&steps).is_empty() { Err(CliError::said()) } else { Ok(()) }
}
