//! Waits for a fleet while a person watches: every change is reported, and when nothing changes for a
//! while, that the wait goes on.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use rayfleet_api::RayClusterFleet;

use crate::clock;
use crate::cluster::fleet::Fleet;
use crate::cluster::narrator::Narrator;
use crate::cluster::ready;
use crate::console::Console;

/// A progress line is printed after this time without output.
const QUIET: Duration = Duration::from_secs(10);

/// Waits until the fleet matches its spec. `also` is appended to every progress line.
pub async fn settle(
    fleet: &Fleet,
    limit: Duration,
    console: Console,
    also: impl Fn() -> Option<String>,
) -> anyhow::Result<RayClusterFleet> {
    let narrator = RefCell::new(Narrator::default());
    let spoken = Cell::new(clock::instant());
    let waits_for = RefCell::new(String::new());
    let settled = fleet.follow("match its spec", limit, |seen| {
        let seen = seen?;
        for line in narrator.borrow_mut().changes(seen) {
            console.say(line);
            spoken.set(clock::instant());
        }
        let unsettled = ready::unsettled(seen);
        waits_for.replace(unsettled.clone().unwrap_or_default());
        unsettled.is_none().then(|| seen.clone())
    });
    tokio::pin!(settled);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            outcome = &mut settled => return outcome,
            _ = tick.tick() => {
                if clock::instant().saturating_duration_since(spoken.get()) >= QUIET {
                    spoken.set(clock::instant());
                    console.say(format_args!("… {}", waits_for.borrow()));
                    if let Some(line) = also() {
                        console.say(format_args!("  {line}"));
                    }
                }
            }
        }
    }
}
