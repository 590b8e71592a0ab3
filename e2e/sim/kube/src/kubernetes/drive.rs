//! The loop that runs every simulator: step, then sleep until something changes or is due.

use std::time::Duration;

use jiff::Timestamp;

use super::switches::Switches;
use crate::api::{ApiServer, Kind};

/// A controller. It keeps only its own memory, and reads everything else from the API server at each step.
pub(super) trait Simulator: Send {
    /// Kinds of the objects that it watches.
    fn kinds(&self) -> &'static [Kind];

    /// Does what is due at `now`; returns when it is due again if nothing changes before. A step after
    /// which nothing changed must write nothing.
    fn step(&mut self, api: &ApiServer, now: Timestamp) -> Option<Timestamp>;
}

/// Shortest sleep: a simulator that is due again at the same moment must not stop simulated time.
const SHORTEST: Duration = Duration::from_millis(1);

/// Runs a simulator forever.
pub(super) async fn drive(mut simulator: Box<dyn Simulator>, api: ApiServer, switches: Switches) {
    let mut flips = switches.flips();
    loop {
        flips.mark_unchanged();
        let version = api.version();
        let wake = simulator.step(&api, api.now());
        let sleep = async {
            match wake {
                Some(wake) => tokio::time::sleep(until(wake, api.now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The order of polling is part of what a seed reproduces.
            biased;
            () = flips.changed() => {}
            () = changed(&api, version, simulator.kinds()) => {}
            () = sleep => {}
        }
    }
}

/// Waits until an object of one of the kinds has changed since `version`.
async fn changed(api: &ApiServer, mut version: u64, kinds: &[Kind]) {
    loop {
        let newer = api.changed_since(version).await;
        if api.may_have_changed(kinds, version) {
            return;
        }
        version = newer;
    }
}

fn until(wake: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(wake.duration_since(now)).unwrap_or_default().max(SHORTEST)
}

/// The earlier of two moments; `None` is never.
pub(super) fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
