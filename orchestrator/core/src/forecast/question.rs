//! What a forecast starts from.

use jiff::Timestamp;
use rayfleet_api::{RayClusterFleetStatus, ValidFleet};

use super::Pace;
use crate::capacity::Capacity;

/// The input of a forecast.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The fleet with the new spec.
    pub fleet: &'a ValidFleet,
    /// The fleet at its last complete revision; see [`ReconcileInput::stable`](crate::decide::ReconcileInput::stable).
    pub stable: Option<&'a ValidFleet>,
    /// Its status now.
    pub status: &'a RayClusterFleetStatus,
    /// The capacity of the nodes.
    pub capacity: &'a Capacity,
    /// Duration of each step.
    pub pace: Pace,
    /// Now.
    pub now: Timestamp,
}
