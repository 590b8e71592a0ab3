//! `kubectl rayfleet apply`: server-side apply of fleets, with what it will come to before it, and its rollout after it.

pub(crate) mod args;
mod managers;
mod manifest;
mod write;

use std::time::Duration;

use args::ApplyArgs;
use manifest::Wanted;
use rayfleet_cli_kit::{CliError, Terminal, input};
use write::Writer;

use crate::error::OBJECT;
use crate::fleets::Fleets;
use crate::rollout::args::RolloutStatusArgs;
use crate::{plan, rollout};

/// Largest manifest that is read, in bytes.
const LARGEST: u64 = 4 << 20;

pub(crate) async fn run(args: &ApplyArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let file = args.file.display().to_string();
    let text = input::read(&args.file, LARGEST).map_err(|error| {
        CliError::usage(
            format!("cannot read {file}: {error}"),
            "give a manifest of fleets with -f, or - for input",
        )
    })?;
    let wanted = manifest::fleets(&text, &file, &fleets.namespace)
        .map_err(|(problem, cure)| CliError::usage(problem, cure))?;
    apply(args, &wanted, fleets, terminal).await
}

/// Everything is tried before anything is written.
async fn apply(
    args: &ApplyArgs,
    wanted: &[Wanted],
    fleets: &Fleets,
    terminal: &Terminal,
) -> Result<(), CliError> {
    let writer = Writer { fleets, force: args.force_conflicts };
    let mut tried = Vec::new();
    for fleet in wanted {
        tried.push(writer.tried(fleet).await?);
    }
    for (fleet, object) in wanted.iter().zip(&tried).filter(|_| args.plan) {
        match plan::outcome(object, &of(fleet, fleets), terminal.color).await {
            Ok(line) => terminal.print(&format!("plan of {}/{}: {line}\n", fleet.namespace, fleet.name))?,
            // It is a courtesy: whoever may not list nodes may apply.
            Err(fault) => terminal
                .progress(&format!("no plan of {}/{}: {}", fleet.namespace, fleet.name, fault.message)),
        }
    }
    for fleet in wanted {
        writer.write(fleet).await?;
        terminal.print(&format!("{OBJECT}/{} serverside-applied\n", fleet.name))?;
    }
    if args.wait { wait(args, wanted, fleets, terminal).await } else { Ok(()) }
}

/// Follows one rollout after the other, all within one time limit.
async fn wait(
    args: &ApplyArgs,
    wanted: &[Wanted],
    fleets: &Fleets,
    terminal: &Terminal,
) -> Result<(), CliError> {
    let end = tokio::time::sleep(args.timeout).deadline();
    for fleet in wanted {
        let now = tokio::time::sleep(Duration::ZERO).deadline();
        // No time left is not the same as no limit.
        let left = end.saturating_duration_since(now).max(Duration::from_millis(1));
        let timeout = if args.timeout.is_zero() { Duration::ZERO } else { left };
        let status = RolloutStatusArgs { fleet: fleet.name.clone(), watch: true, timeout };
        rollout::status::run(&status, &of(fleet, fleets), terminal).await?;
    }
    Ok(())
}

/// The fleets of a fleet's namespace.
fn of(fleet: &Wanted, fleets: &Fleets) -> Fleets {
    Fleets { namespace: fleet.namespace.clone(), ..fleets.clone() }
}

#[cfg(test)]
mod tests;
