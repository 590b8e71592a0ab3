//! Churn: at a steady rate the oldest fleet is deleted and another is made, under a name that was never there. Memory is read at pauses in
//! which nothing comes or goes, so what it has grown by is kept for fleets that are gone.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use anyhow::Context;
use rayfleet_e2e::clock;
use rayfleet_e2e::console::print_error;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::fleets;
use crate::numbers::Spread;
use crate::phase::{Phase, count, mib, row, spread};
use crate::process;
use crate::run::{Run, TAIL};
use crate::watches::Followed;

/// Parts of the churn; there is a pause before each and after the last.
const PARTS: u32 = 4;

/// Fleets came and went.
#[derive(Debug, Serialize)]
pub(crate) struct Churn {
    /// Fleets that were deleted, and as many that were made.
    pub(crate) turns: u32,
    /// How many should have been: the controller was not up with the others.
    pub(crate) wanted: u32,
    /// At the beginning, after each part, and so at the end.
    pub(crate) pauses: Vec<Pause>,
    /// Seconds of the fleets that were deleted: from the creation until the status said ready, and from the deletion until the
    /// object was gone.
    pub(crate) fleet_start: Option<Spread>,
    pub(crate) fleet_end: Option<Spread>,
    /// All of it, pauses too.
    pub(crate) work: Phase,
}

/// All fleets are up, none is leaving.
#[derive(Debug, Serialize)]
pub(crate) struct Pause {
    /// Before it.
    pub(crate) turns: u32,
    pub(crate) resident_kib: u64,
}

/// Turns of a part, where there are `wanted` in all of them.
fn turns_of(part: u32, wanted: u32) -> u32 {
    wanted * (part + 1) / PARTS - wanted * part / PARTS
}

/// Deletes and makes fleets for so many minutes.
pub(crate) async fn churn(run: &mut Run<'_>, names: &[String], minutes: u16) -> anyhow::Result<Churn> {
    let wanted = u32::from(minutes) * u32::from(run.args.turns);
    print_error(format_args!("All are up; {minutes} min of churn, {} fleets a minute", run.args.turns));
    process::forget_peak(run.args.pid)?;
    let start = run.meters.read().await?;
    let mut fleets: VecDeque<String> = names.iter().cloned().collect();
    let mut pauses = vec![pause(run, 0).await?];
    let mut turns = 0;
    let length = Duration::from_secs(60 * u64::from(minutes)) / PARTS;
    for part in 0..PARTS {
        let began = clock::instant();
        let mut ticks = interval(Duration::from_mins(1) / u32::from(run.args.turns));
        // A late turn is lost: made up for, it would come together with others.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for _ in 0..turns_of(part, wanted) {
            ticks.tick().await;
            if clock::seconds_since(began) > length.as_secs_f64() {
                break;
            }
            let oldest = fleets.pop_front().context("there is no fleet")?;
            let newest = fleets::name(u32::try_from(names.len())? + turns + 1);
            turn(run, &oldest, &newest).await?;
            fleets.push_back(newest);
            turns += 1;
        }
        pauses.push(pause(run, turns).await?);
    }
    let work = run.meters.since(&start).await?;
    let ended = run.followed.progress().ended();
    let (fleet_start, fleet_end) = (Spread::of(ended.starts), Spread::of(ended.ends));
    Ok(Churn { turns, wanted, pauses, fleet_start, fleet_end, work })
}

/// One fleet goes, once it is up, and one comes.
async fn turn(run: &Run<'_>, oldest: &str, newest: &str) -> anyhow::Result<()> {
    run.until(|followed| followed.progress().is_up(oldest), sign).await?;
    run.followed.progress().deleted(oldest, clock::instant());
    run.fleets.delete(oldest).await?;
    let about = |name: &str| run.followed.progress().created(name, clock::instant());
    run.fleets.create(&[newest.to_owned()], about).await
}

async fn pause(run: &Run<'_>, turns: u32) -> anyhow::Result<Pause> {
    let is_quiet = |followed: &Followed| {
        let progress = followed.progress();
        progress.is_done() && progress.leaving() == 0
    };
    run.until(is_quiet, sign).await?;
    sleep(TAIL).await;
    let resident_kib = process::memory(run.args.pid)?.now;
    print_error(format_args!("  after {turns} turns {:.1} MiB are resident", mib(resident_kib)));
    Ok(Pause { turns, resident_kib })
}

fn sign(followed: &Followed) -> String {
    let progress = followed.progress();
    let (pods, status) = progress.ready();
    format!("{pods} fleets are ready by pods, {status} by status, {} are leaving", progress.leaving())
}

impl fmt::Display for Churn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { turns, wanted, pauses, fleet_start, fleet_end, work } = self;
        writeln!(f, "\nCHURN of {turns} turns in {:.0} s; {wanted} were wanted", work.seconds)?;
        for Pause { turns, resident_kib } in pauses {
            row(f, &format!("memory after {turns} turns"), format_args!("{:.1} MiB", mib(*resident_kib)))?;
        }
        spread(f, "a fleet, from its creation", *fleet_start)?;
        spread(f, "a fleet's end, from its deletion", *fleet_end)?;
        work.work(f, count(u64::from(*turns)), "a turn")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_have_all_turns_between_them() {
        for wanted in [0, 1, 3, 30, 90, 144_000] {
            let parts: Vec<u32> = (0..PARTS).map(|part| turns_of(part, wanted)).collect();
            assert_eq!(parts.iter().sum::<u32>(), wanted, "{parts:?}");
            assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1, "{parts:?}");
        }
    }
}
