//! A RayCluster that somebody else resized is set back: its ranks, or the engine of its template, are made for exactly these
//! pods. Whoever goes on resizing it is answered once in a while, not at the speed of the watch.

use std::time::Duration;

use rayfleet_api::status::Goal;

use super::{context::StepContext, suspend};
use crate::effect::Effect;
use crate::time;

/// Wait between two repairs of one RayCluster.
const AGAIN: Duration = Duration::from_secs(10);

pub(super) fn repair(ctx: &mut StepContext<'_>) {
    if ctx.group.goal == Goal::Retire || !ctx.cluster_alive() || suspend::is_suspended(ctx) {
        return;
    }
    let Some((cluster, message)) = ctx.observed.cluster.as_ref().zip(in_words(ctx)) else { return };
    let next = time::end_of(ctx.group.repaired_at.as_ref(), AGAIN);
    if next.is_some() && !ctx.reached(next) {
        return;
    }
    ctx.group.repaired_at = Some(time::began(ctx.now));
    ctx.event(true, "RayClusterChanged", message);
    ctx.act(Effect::RepairCluster { name: ctx.group.name.clone(), uid: cluster.uid.clone() });
}

/// What keeps the pods from being as they should be, while somebody else's size holds, and what is done about it.
pub(super) fn in_words(ctx: &StepContext<'_>) -> Option<String> {
    let drift = ctx.observed.cluster.as_ref()?.drift.as_ref()?;
    Some(format!("RayCluster {} was changed from outside: {drift}; it is set back", ctx.group.name))
}
