//! Which launch of its engine a group stands at, and what becomes of it with the next one. Nothing here asks Ray.

use rayfleet_api::status::{Goal, GroupStatus, Phase};

use super::context::StepContext;

/// No engine of the current launch number was ever asked for, or it is known to be over.
pub(crate) fn not_started(group: &GroupStatus) -> bool {
    let ended = matches!(group.phase, Phase::Ready | Phase::Failed | Phase::Draining | Phase::Stopping);
    !ended && group.start_deadline.is_none()
}

/// An engine that the loss of a pod ends.
pub(super) fn started(ctx: &StepContext<'_>) -> bool {
    ctx.launched() && !not_started(&ctx.group)
}

/// The next launch is another one. It starts when the Ray cluster is whole.
pub(super) fn next_launch(group: &mut GroupStatus) {
    group.launch = group.launch.saturating_add(1);
    group.start_deadline = None;
    group.unreachable_since = None;
    group.not_ready_since = None;
    group.retry_after = None;
    group.left_endpoints_at = None;
    group.ranks = None;
    group.placement.clear();
    group.misplaced.clear();
}

/// From now on the group is to run the engine revision that the fleet asks for.
pub(super) fn retarget(ctx: &mut StepContext<'_>) {
    ctx.group.engine_revision.clone_from(&ctx.fleet.revision.engine);
    ctx.group.goal = Goal::Serve;
    ctx.group.goal_reason = None;
    ctx.group.restarts = 0;
    ctx.group.failed_starts = 0;
}

/// Ray had all nodes of this RayCluster: an engine was launched on it.
pub(super) fn has_launched(ctx: &StepContext<'_>) -> bool {
    ctx.group.launch > 1
}

/// Nothing is due any more: the engine is launched, the group serves or has failed.
pub(super) fn forming_ends(ctx: &mut StepContext<'_>) {
    ctx.group.forming_since = None;
    ctx.group.waiting_since = None;
}
