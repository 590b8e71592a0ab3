//! A group whose RayCluster is suspended. Kueue admits and preempts by `spec.suspend`, and people save money by it; KubeRay then
//! deletes all pods and keeps the RayCluster. That is somebody's will and no failure: the group stays, takes no traffic, and comes
//! up with a new launch once it is resumed.

use rayfleet_api::status::Phase;

use super::stage::Stage;
use super::{engine, patience};

/// The RayCluster is suspended, or on its way there or back.
pub(super) fn is_suspended(stage: &Stage<'_>) -> bool {
    stage.cluster_alive() && stage.seen.cluster.as_ref().is_some_and(|cluster| cluster.suspended.is_some())
}

/// Whether the group waits to be resumed; then it is said so.
pub(super) fn waits(stage: &mut Stage<'_>) -> bool {
    if !is_suspended(stage) {
        if stage.group.phase == Phase::Suspended {
            let message = format!("group {} is resumed", stage.group.name);
            stage.tell(false, "GroupResumed", message);
            stage.enter(Phase::Provisioning, None);
        }
        return false;
    }
    let why = stage.seen.cluster.as_ref().and_then(|cluster| cluster.suspended.clone()).unwrap_or_default();
    stage.gate(false, "Suspended");
    if stage.group.phase != Phase::Suspended {
        stage.tell(false, "GroupSuspended", format!("group {}: {why}", stage.group.name));
        leave_behind(stage);
    }
    stage.enter(Phase::Suspended, why);
    true
}

/// What ran is gone with its pods, whether it served, started or had failed.
fn leave_behind(stage: &mut Stage<'_>) {
    patience::end(stage);
    if engine::started(stage) {
        engine::next_launch(&mut stage.group);
    }
    stage.group.unreachable_since = None;
    stage.group.wavers_since = None;
    stage.group.retry_after = None;
    stage.group.closed_since = None;
    stage.group.in_flight = None;
}
