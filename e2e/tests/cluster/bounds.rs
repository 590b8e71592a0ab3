//! Runs a change while checking bounds on the fleet. Failures are reported with the fleet's status.

use std::time::Duration;

use anyhow::{Context, ensure};
use rayfleet_e2e::cluster::availability::{Availability, Extremes};
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::journal::Journal;
use rayfleet_e2e::cluster::plan_check::Prediction;
use rayfleet_e2e::cluster::steps::GroupChange;
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
pub(crate) struct Observations {
    pub(crate) extremes: Extremes,
    pub(crate) steps: Vec<GroupChange>,
    /// The last changes of the status, for a failure that is found later.
    pub(crate) last_changes: String,
}

impl Observations {
    /// Compares the observations with a prediction; `gpus` is the number of GPUs of one group.
    pub(crate) fn is_as(&self, predicted: &Prediction, gpus: u32) -> anyhow::Result<()> {
        let held = predicted.hold_against(&self.steps, &self.extremes, gpus);
        held.with_context(|| format!("the last changes:\n{}what was predicted", self.last_changes))
    }
}

/// Runs a change of a fleet within bounds.
pub(crate) async fn within(
    fleet: &Fleet,
    bounds: Bounds,
    change: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Observations> {
    let (journal, availability) = (Journal::watch(fleet), Availability::watch(fleet, &fleet.name));
    until("a first state of the fleet", FIRST_LOOK, async || {
        Ok((journal.has_started() && availability.so_far().is_whole()).then_some(()))
    })
    .await?;
    let outcome = match change().await {
        Ok(()) => observations(fleet, &journal, &availability, bounds).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok((extremes, steps)) => Ok(Observations { extremes, steps, last_changes: journal.last_lines() }),
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

async fn observations(
    fleet: &Fleet,
    journal: &Journal,
    availability: &Availability,
    bounds: Bounds,
) -> anyhow::Result<(Extremes, Vec<GroupChange>)> {
    let steps = journal.steps_up_to(&fleet.get().await?).await?;
    let extremes = availability.so_far();
    never_beyond(&extremes, bounds)?;
    Ok((extremes, steps))
}

fn never_beyond(extremes: &Extremes, bounds: Bounds) -> anyhow::Result<()> {
    let Bounds { ready: promised, groups: allowed } = bounds;
    ensure!(
        extremes.ready.is_some_and(|ready| ready >= promised),
        "{:?} groups were ready by the fleet's status, {promised} are promised",
        extremes.ready
    );
    let in_endpoints = extremes.addresses.and_then(|ready| i32::try_from(ready).ok());
    ensure!(
        in_endpoints.is_some_and(|ready| ready >= promised),
        "{in_endpoints:?} groups were in the endpoints, {promised} are promised"
    );
    ensure!(
        extremes.most <= allowed,
        "{} groups existed at one time, at most {allowed} allowed",
        extremes.most
    );
    Ok(())
}
