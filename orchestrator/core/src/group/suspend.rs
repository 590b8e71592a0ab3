//! A group whose RayCluster is suspended. Kueue admits and preempts by `spec.suspend`, and people save money by it; KubeRay then
//! deletes all pods and keeps the RayCluster. That is somebody's will and no failure: the group stays, takes no traffic, and comes
//! up with a new launch once it is resumed.

use rayfleet_api::status::Phase;

use super::context::StepContext;
use super::launch;

/// The RayCluster is suspended, or on its way there or back.
pub(super) fn is_suspended(ctx: &StepContext<'_>) -> bool {
    ctx.cluster_alive() && ctx.observed.cluster.as_ref().is_some_and(|cluster| cluster.suspended.is_some())
}

/// Whether the group waits to be resumed; then it is said so.
pub(super) fn waits(ctx: &mut StepContext<'_>) -> bool {
    if !is_suspended(ctx) {
        if ctx.group.phase == Phase::Suspended {
            let message = format!("group {} is resumed", ctx.group.name);
            ctx.event(false, "GroupResumed", message);
            ctx.set_phase(Phase::Provisioning, None);
        }
        return false;
    }
    let why = ctx.observed.cluster.as_ref().and_then(|cluster| cluster.suspended.clone()).unwrap_or_default();
    ctx.gate(false, "Suspended");
    if ctx.group.phase != Phase::Suspended {
        ctx.event(false, "GroupSuspended", format!("group {}: {why}", ctx.group.name));
        leave_behind(ctx);
    }
    ctx.set_phase(Phase::Suspended, why);
    true
}

/// What ran is gone with its pods, whether it served, started or had failed.
fn leave_behind(ctx: &mut StepContext<'_>) {
    launch::forming_ends(ctx);
    if launch::started(ctx) {
        launch::next_launch(&mut ctx.group);
    }
    ctx.group.unreachable_since = None;
    ctx.group.not_ready_since = None;
    ctx.group.retry_after = None;
    ctx.group.left_endpoints_at = None;
    ctx.group.in_flight = None;
}
