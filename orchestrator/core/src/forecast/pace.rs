//! Durations of a forecast: observed, or assumed from the size of a group.

use std::time::Duration;

use rayfleet_api::{RayClusterFleetStatus, ValidFleet};

use crate::startup_times;

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From a group's entry until its pods run and Ray lists its nodes, if there is room.
    pub pods: Duration,
    /// From the launch of an engine until it takes traffic.
    pub start: Duration,
    /// Until the requests in flight have ended.
    pub drain: Duration,
    /// From the stop of an engine until it has ended.
    pub stop: Duration,
    /// Until the pods have ended.
    pub end: Duration,
    /// Whether `pods` and `start` were observed for this model; otherwise they are assumed.
    pub observed: bool,
    /// Whether `drain` and `end` were observed; otherwise they are assumed.
    pub observed_end: bool,
}

impl Pace {
    /// The durations known for a fleet; for the rest, assumptions that grow with the size of a group.
    pub fn of(fleet: &ValidFleet, status: &RayClusterFleetStatus) -> Self {
        let observed = startup_times::observed(fleet, status);
        let seconds = |known: Option<u32>, else_: u64| Duration::from_secs(known.map_or(else_, u64::from));
        let start = observed.and_then(|pace| pace.start_seconds);
        let in_pods = fleet.model.is_none() && start.is_some();
        let ends = status.ending_times.clone().unwrap_or_default();
        let stop = seconds(ends.stop_seconds, 0);
        Self {
            pods: if in_pods {
                Duration::ZERO
            } else {
                seconds(observed.and_then(|pace| pace.pods_seconds), 60)
            },
            start: seconds(start, 60 + 15 * u64::from(fleet.shape.gpus())),
            drain: seconds(ends.drain_seconds, 30).min(fleet.drain_timeout),
            stop,
            // What was observed begins with the end of the engine.
            end: seconds(ends.end_seconds, 30).saturating_sub(stop),
            observed: start.is_some(),
            observed_end: ends.drain_seconds.is_some() && ends.end_seconds.is_some(),
        }
    }
}
