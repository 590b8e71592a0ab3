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
    let Some((cluster, drift)) = ctx.observed.cluster.as_ref().and_then(|c| Some((c, c.drift.as_ref()?)))
    else {
        return;
    };
    let next = time::end_of(ctx.group.repaired_at.as_ref(), AGAIN);
    if next.is_some() && !ctx.reached(next) {
        return;
    }
    ctx.group.repaired_at = Some(time::began(ctx.now));
    let name = ctx.group.name.clone();
    let message = format!("RayCluster {name} was changed from outside: {}; it is set back", drift.words);
    ctx.event(true, "RayClusterChanged", message);
    ctx.act(Effect::RepairCluster { name, uid: cluster.uid.clone() });
}

/// What keeps the pods from being as they should be, while somebody else's size holds.
pub(super) fn in_words(ctx: &StepContext<'_>) -> Option<String> {
    let drift = ctx.observed.cluster.as_ref()?.drift.as_ref()?;
    Some(format!("RayCluster {} was changed from outside: {}; it is set back", ctx.group.name, drift.words))
}
