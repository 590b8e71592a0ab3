//! `kubectl rayfleet top`: what every engine does now. Read-only.
//!
//! `target` says whom to ask, `ask` makes one call, `sampler` all of them side by side, `window` keeps what came of it and makes rates,
//! `rows` and `show` write it.

pub(crate) mod args;
mod ask;
mod rows;
mod sampler;
mod show;
pub(crate) mod target;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use rayfleet_cli_kit::{CliError, Format, Terminal};
use serde::Serialize;

use self::args::TopArgs;
use self::ask::Fault;
use self::rows::{Answers, Row};
use self::sampler::{Asked, Sampler};
use self::show::Shape;
use self::target::{RayPod, Target};
use crate::fleets::Fleets;
use crate::follow::{Follow, Scope};
use crate::{error, screen};

/// Clears the screen, once, before the first output.
const CLEAR: &str = "\u{1b}[2J";
/// Intervals between two readings of GPUs, and of the list of pods.
const GPUS_EVERY: u64 = 5;

/// The result as a document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    time: Timestamp,
    interval_seconds: f64,
    groups: &'a [Row],
}

/// Measures once, or again and again.
pub(crate) async fn run(args: &TopArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    if args.watch { watch(args, fleets, terminal).await } else { once(args, fleets, terminal).await }
}

async fn once(args: &TopArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let objects = match &args.fleet {
        Some(name) => vec![fleets.get(name).await?],
        None => fleets.list(args.all_namespaces).await?,
    };
    let targets: Vec<Target> = objects.iter().flat_map(Target::all).collect();
    if targets.is_empty() && terminal.format == Format::Text {
        terminal.progress(&nothing(args, fleets));
        return Ok(());
    }
    if terminal.tty {
        terminal.progress(&format!(
            "measuring {} groups for {}s",
            targets.len(),
            args.interval.as_secs_f64()
        ));
    }
    let sampler = Sampler::new(fleets);
    let pods = pods(args, fleets, terminal).await;
    let answers = sampler.twice(&targets, &pods, &fleets.namespace, args.interval).await;
    print(
        (args, fleets.now()),
        &rows::rows(&targets, &pods, &answers),
        terminal,
        |terminal, document, text| terminal.result(document, text),
    )?;
    verdict(&answers)
}

/// Nothing could be read: what is in the way, if it is the same everywhere.
fn verdict(answers: &Answers) -> Result<(), CliError> {
    let windows: Vec<_> = answers.engines.values().collect();
    if windows.is_empty() || windows.iter().any(|window| window.fault().is_none()) {
        return Ok(());
    }
    let namespace = |fault: &Fault| match fault {
        Fault::Forbidden { namespace } => Some(namespace.clone()),
        Fault::Silent(_) | Fault::Said(_) => None,
    };
    let forbidden: Option<Vec<String>> =
        windows.iter().filter_map(|window| window.fault()).map(namespace).collect();
    let Some(namespace) = forbidden.and_then(|all| all.into_iter().next()) else {
        return Err(CliError::said());
    };
    Err(CliError::failed(
        "no engine could be read: you may not get pods/proxy",
        format!(
            "ask for it: kubectl -n {namespace} create role rayfleet-top --verb=get --resource=pods/proxy; kubectl -n \
             {namespace} create rolebinding rayfleet-top --role=rayfleet-top --user=YOU"
        ),
    ))
}

async fn watch(args: &TopArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let scope = match &args.fleet {
        Some(name) => Scope::One(name),
        None if args.all_namespaces => Scope::All,
        None => Scope::Namespace,
    };
    let mut follow = Follow::new(fleets, scope);
    let mut sampler = Sampler::new(fleets);
    let (mut targets, mut pods): (Vec<Target>, Vec<RayPod>) = (Vec::new(), Vec::new());
    let mut answers = Answers::default();
    let (mut known, mut changed, mut drawn, mut ticks) = (false, false, false, 0_u64);
    let mut ticker = tokio::time::interval(args.interval);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // Drawn as soon as all have answered, and at the latest when they are asked again: a silent one holds up nobody.
        let draw = tokio::select! {
            change = follow.next() => {
                let objects = change?;
                if let (Some(name), true) = (&args.fleet, objects.is_empty()) {
                    return Err(error::gone(name, &fleets.namespace, known));
                }
                // Fleets of a large cluster change all the time: whom to ask is reckoned when they are asked.
                changed = true;
                if !std::mem::replace(&mut known, true) {
                    ticker.reset_immediately();
                }
                false
            }
            () = sampler.next(&mut answers), if sampler.is_asking() => !sampler.is_asking(),
            _ = ticker.tick(), if known => {
                let is_late = sampler.is_asking();
                if std::mem::take(&mut changed) {
                    targets = follow.known().values().flat_map(Target::all).collect();
                    let keys: BTreeSet<_> = targets.iter().map(rows::key).collect();
                    answers.engines.retain(|key, _| keys.contains(key));
                }
                if ticks.is_multiple_of(GPUS_EVERY) && args.fleet.is_some() {
                    pods = self::pods(args, fleets, terminal).await;
                    answers.gpus.retain(|(_, pod), _| pods.iter().any(|it| it.name == *pod));
                    sampler.ask(pods.iter().map(|pod| Asked::gpus(&fleets.namespace, pod)));
                }
                ticks += 1;
                sampler.ask(targets.iter().filter_map(Asked::engine));
                is_late || !sampler.is_asking()
            }
        };
        if draw {
            if terminal.tty && !std::mem::replace(&mut drawn, true) {
                terminal.print(CLEAR)?;
            }
            print(
                (args, fleets.now()),
                &rows::rows(&targets, &pods, &answers),
                terminal,
                |terminal, document, text| {
                    if terminal.tty && terminal.format == Format::Text {
                        terminal.redraw(text)
                    } else {
                        terminal.entry(document, text)
                    }
                },
            )?;
        }
    }
}

/// The pods of the fleet that was asked for; none if that cannot be read, which only costs the table of GPUs.
async fn pods(args: &TopArgs, fleets: &Fleets, terminal: &Terminal) -> Vec<RayPod> {
    let Some(fleet) = &args.fleet else { return Vec::new() };
    sampler::pods(fleets, fleet).await.unwrap_or_else(|fault| {
        if !args.watch {
            terminal.progress(&format!("warning: no GPU memory: {}", fault.message));
        }
        Vec::new()
    })
}

fn print(
    (args, now): (&TopArgs, Timestamp),
    rows: &[Row],
    terminal: &Terminal,
    write: impl Fn(&Terminal, &Document<'_>, &str) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let shape = Shape { namespaces: args.all_namespaces, fleets: args.fleet.is_none(), wide: args.wide() };
    let text = show::text(rows, shape, terminal.color);
    let text = match screen::size().filter(|_| terminal.tty) {
        Some(size) if args.watch => screen::cut_screen(&text, size),
        Some((width, _)) => screen::cut_lines(&text, width),
        None => text,
    };
    let seconds = |interval: Duration| interval.as_secs_f64();
    let document = Document { time: now, interval_seconds: seconds(args.interval), groups: rows };
    write(terminal, &document, &text)
}

fn nothing(args: &TopArgs, fleets: &Fleets) -> String {
    match &args.fleet {
        Some(fleet) => format!("fleet {fleet} has no groups"),
        None if args.all_namespaces => "No groups found.".to_owned(),
        None => format!("No groups found in namespace \"{}\"; all namespaces: -A", fleets.namespace),
    }
}
