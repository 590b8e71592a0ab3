//! `kubectl rayfleet logs`: the logs of a fleet's engines, ranks and pods as one.
//!
//! `watched` follows the fleet, `facts` and `source` say which logs it has, `readings` begins to read them: `container` and `ray` read
//! one each, by `pods/log` and through `dashboard`. `merge`, `show` and `printer` bring the lines into an order and out. This file ties
//! them together.

pub(crate) mod args;
mod container;
mod context;
pub(crate) mod dashboard;
pub(crate) mod facts;
mod job;
mod kuberay;
mod line;
mod merge;
mod printer;
mod ray;
mod readings;
mod show;
mod source;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::BTreeSet;

use rayfleet_cli_kit::{CliError, Terminal};
use tokio::sync::mpsc;

use self::args::LogsArgs;
use self::context::Said;
use self::facts::World;
use self::merge::Merge;
use self::printer::{Outcome, Printer};
use self::readings::{Readings, WAITING};
use self::watched::Watched;
use crate::fleets::Fleets;

/// When a line of an engine's log was written, if it says so.
pub(crate) fn time(line: &str, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
    job::time(line, now)
}

/// Prints the logs; with `-f` until it is interrupted.
pub(crate) async fn run(args: &LogsArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    tokio::select! {
        done = read(args, fleets, terminal) => done,
        // Ctrl-C is how `-f` ends.
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn read(args: &LogsArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let mut watched = Watched::new(args, fleets).await?;
    let operators = if args.kuberay { kuberay::find(fleets).await? } else { BTreeSet::new() };
    let mut readings = Readings::new(args, fleets, watched.world(), operators);
    let mut printer = Printer::new(args, terminal);
    printer.show.expect(&readings.labels());
    if args.follow {
        let (out, mut said) = mpsc::channel(WAITING);
        readings.start(&out);
        loop {
            tokio::select! {
                Some(first) = said.recv() => printer.take(first, &mut said_more(&mut said))?,
                changed = watched.changed() => {
                    readings.update(changed?);
                    readings.start(&out);
                }
                () = readings.ended() => readings.start(&out),
            }
            if let Some(fault) = printer.nothing_but_refusals(readings.count()) {
                return Err(fault);
            }
        }
    }
    let logs = readings.start_apart();
    if logs.is_empty() {
        return Err(nothing(args, fleets, &watched.world()));
    }
    let mut merge = Merge::new(logs);
    while let Some(said) = merge.next().await {
        printer.take(said, &mut std::iter::empty())?;
    }
    match printer.outcome() {
        Outcome::Read => Ok(()),
        Outcome::Said => Err(CliError::said()),
        Outcome::Nothing => Err(nothing(args, fleets, &watched.world())),
    }
}

/// What has arrived beside what was received.
fn said_more(said: &mut mpsc::Receiver<Said>) -> impl Iterator<Item = Said> {
    std::iter::from_fn(|| said.try_recv().ok()).take(WAITING)
}

/// Why there is no log.
fn nothing(args: &LogsArgs, fleets: &Fleets, world: &World) -> CliError {
    let named = fleets.named(&args.fleet);
    let groups: Vec<&str> = world.groups.keys().map(String::as_str).collect();
    match &args.group {
        Some(group)
            if !world.groups.contains_key(group) && !world.pods.values().any(|pod| pod.group == *group) =>
        {
            CliError::failed(
                format!("fleet \"{}\" has no group \"{group}\"", args.fleet),
                if groups.is_empty() {
                    format!("see kubectl rayfleet status {named}")
                } else {
                    format!("its groups: {}", groups.join(", "))
                },
            )
        }
        _ if args.previous => CliError::failed(
            format!("nothing of fleet \"{}\" has ended and started again", args.fleet),
            "leave --previous out for the present logs",
        ),
        _ => CliError::failed(
            format!("fleet \"{}\" has no such log now", args.fleet),
            format!("wait for it with -f, or see what it waits for: kubectl rayfleet diagnose {named}"),
        ),
    }
}
