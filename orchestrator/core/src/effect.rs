//! What is to be done: the only way in which decisions reach the world. The orchestrator's executor
//! performs effects after the ledger (the fleet's status) that they follow from has been written.

use rayfleet_api::status::GroupStatus;
use rayfleet_api::{GroupName, LaunchId, PodName};

/// One thing to do. Each may be repeated without harm.
#[expect(clippy::large_enum_variant, reason = "a pass has a handful of effects")]
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Create the RayCluster of a group that the ledger holds.
    CreateCluster {
        /// The ledger's entry: name, slot, attempt, revision.
        group: GroupStatus,
    },
    /// Delete a RayCluster, if it is still the one that was observed.
    DeleteCluster {
        /// Name.
        name: GroupName,
        /// Precondition.
        uid: String,
        /// Precondition.
        resource_version: String,
        /// Why, for the event.
        reason: String,
    },
    /// Set a RayCluster back to the size that it was made with, if it still differs.
    RepairCluster {
        /// Name.
        name: GroupName,
        /// Precondition.
        uid: String,
    },
    /// Patch the serving gate of a head pod.
    SetGate {
        /// Pod.
        pod: PodName,
        /// Precondition.
        pod_uid: String,
        /// New value.
        open: bool,
        /// The engine's launch, which is written beside it: that the launch was ready is known from then on.
        launch: LaunchId,
        /// One word for the condition's reason.
        reason: &'static str,
    },
    /// Place and launch the engine.
    LaunchEngine {
        /// The launch; a repeated one finds the same job.
        launch: LaunchId,
    },
    /// Tell the engine to drain (`true`) or not to (`false`).
    SetDraining {
        /// Group.
        group: GroupName,
        /// New value.
        draining: bool,
    },
    /// Stop the engine's job.
    StopEngine {
        /// Its launch.
        launch: LaunchId,
    },
    /// Send the probe prompt.
    Probe {
        /// The launch that the outcome belongs to.
        launch: LaunchId,
    },
    /// Tell people: a Kubernetes event on the fleet.
    Event {
        /// `true` for a warning.
        warning: bool,
        /// One word: `GroupReady`, `EngineFailed`, …
        reason: &'static str,
        /// Object, field and cure.
        message: String,
    },
}

impl Effect {
    /// Whether it takes traffic from a group that cannot serve it. That never waits, not even for the ledger: closed too early, the
    /// gate is opened again by the next pass. A group that drains goes by a decision, which has to be written first.
    pub fn ends_traffic_of_the_dead(&self) -> bool {
        matches!(self, Self::SetGate { open: false, reason, .. } if !matches!(*reason, "Draining" | "Stopping"))
    }

    /// Whether it takes traffic from a group.
    pub fn closes(&self) -> bool {
        matches!(self, Self::SetGate { open: false, .. })
    }
}
