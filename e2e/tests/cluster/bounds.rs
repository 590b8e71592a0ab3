//! Runs a change while checking bounds on the fleet. Failures are reported with the fleet's status.

use std::time::Duration;

use anyhow::{Context, ensure};
use rayfleet_e2e::cluster::availability::{Lowest, Seen};
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::journal::Journal;
use rayfleet_e2e::cluster::plan_check::Foretold;
use rayfleet_e2e::cluster::steps::Step;
use rayfleet_e2e::cluster::{ready, until};

const FIRST_LOOK: Duration = Duration::from_secs(30);

/// The promised bounds.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Fewest groups that take traffic.
    pub(crate) ready: i32,
    /// Most groups.
    pub(crate) groups: i32,
}

/// Observations during the change.
pub(crate) struct Account {
    pub(crate) seen: Seen,
    pub(crate) steps: Vec<Step>,
    /// The last changes of the status, for a failure that is found later.
    pub(crate) tale: String,
}

impl Account {
    /// Compares the observations with a prediction; `gpus` is the number of GPUs of one group.
    pub(crate) fn is_as(&self, predicted: &Foretold, gpus: u32) -> anyhow::Result<()> {
        let held = predicted.hold_against(&self.steps, &self.seen, gpus);
        held.with_context(|| format!("the last changes:\n{}what was predicted", self.tale))
    }
}

/// Runs a change of a fleet within bounds.
pub(crate) async fn within(
    fleet: &Fleet,
    bounds: Bounds,
    change: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Account> {
    let (journal, lowest) = (Journal::watch(fleet), Lowest::watch(fleet, &fleet.name));
    until("a first state of the fleet", FIRST_LOOK, async || {
        Ok((journal.has_started() && lowest.so_far().is_whole()).then_some(()))
    })
    .await?;
    let outcome = match change().await {
        Ok(()) => account(fleet, &journal, &lowest, bounds).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok((seen, steps)) => Ok(Account { seen, steps, tale: journal.last_lines() }),
        Err(error) => {
            let says =
                fleet.get().await.map_or_else(|error| format!("{error:#}"), |fleet| ready::words(&fleet));
            let changes = journal.last_lines();
            Err(error).with_context(|| {
                format!("the last changes:\n{changes}the fleet's status now:\n{says}\nwhat failed")
            })
        }
    }
}

async fn account(
    fleet: &Fleet,
    journal: &Journal,
    lowest: &Lowest,
    bounds: Bounds,
) -> anyhow::Result<(Seen, Vec<Step>)> {
    let steps = journal.steps_up_to(&fleet.get().await?).await?;
    let seen = lowest.so_far();
    never_beyond(&seen, bounds)?;
    Ok((seen, steps))
}

fn never_beyond(seen: &Seen, bounds: Bounds) -> anyhow::Result<()> {
    let Bounds { ready: promised, groups: allowed } = bounds;
    ensure!(
        seen.ready.is_some_and(|ready| ready >= promised),
        "{:?} groups were ready by the fleet's status, {promised} are promised",
        seen.ready
    );
    let in_endpoints = seen.addresses.and_then(|ready| i32::try_from(ready).ok());
    ensure!(
        in_endpoints.is_some_and(|ready| ready >= promised),
        "{in_endpoints:?} groups were in the endpoints, {promised} are promised"
    );
    ensure!(seen.most <= allowed, "{} groups existed at one time, at most {allowed} allowed", seen.most);
    Ok(())
}
