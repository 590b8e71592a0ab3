//! The goal Serve: how far has the group come, and what is the next thing it needs? The answer is taken
//! from what is observed, not from the phase of before, so a restarted controller lands where it was.

use rayfleet_api::status::Phase;

use super::context::StepContext;
use super::{bring_up, drain, engine, evict, fail, own_engine, reachability, readiness, suspend};
use crate::time;

pub(super) fn serve(ctx: &mut StepContext<'_>) {
    if suspend::waits(ctx) || evict::evicted(ctx) {
        return;
    }
    reachability::bear(ctx);
    if ctx.group.phase == Phase::Failed && !fail::recover(ctx) {
        return;
    }
    if ctx.group.phase == Phase::Draining && !drain::cancel(ctx) {
        return;
    }
    if opened(ctx) {
        ctx.set_phase(Phase::Ready, None);
        ctx.group.start_deadline = None;
    }
    // The planner spares a group that is not ready for this long.
    let spared = time::end_of(ctx.group.not_ready_since.as_ref(), ctx.fleet.failure.hung_after);
    ctx.reached(spared);
    if !bring_up::on_living_nodes(ctx)
        || !bring_up::cluster(ctx)
        || !bring_up::one_head(ctx)
        || engine::died(ctx)
        || !bring_up::pods(ctx)
        || !bring_up::ray_nodes(ctx)
    {
        return;
    }
    if ctx.launched() {
        engine::bring_up(ctx);
    } else {
        own_engine::bring_up(ctx);
    }
}

/// The group was ready, and the ledger does not know: gates open before it is reported, and whoever led then may have ended in between. A
/// group that is not ready is known to have served.
fn opened(ctx: &StepContext<'_>) -> bool {
    readiness::is_open(ctx) && ctx.group.phase < Phase::Ready && ctx.group.not_ready_since.is_none()
}
