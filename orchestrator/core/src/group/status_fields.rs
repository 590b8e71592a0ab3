//! What people want to see of a group beside its phase: head, nodes, ranks, requests in flight. At rest
//! none of it changes, so that a fleet at rest is not written.

use std::collections::BTreeMap;
use std::time::Duration;

use rayfleet_api::status::{Phase, RankCount, RankPlacement};

use super::context::StepContext;
use super::ray::{self, Ray};
use crate::observed::ObservedEngine;
use crate::{text, time};

/// The number of requests of a serving group is written this often at most: it changes all the time
/// and nothing is decided by it. Without traffic it stays 0 and nothing is written.
const LOAD_EVERY: Duration = Duration::from_secs(10);

pub(super) fn refresh(ctx: &mut StepContext<'_>) {
    ctx.group.head = ctx.pods.any_head().map(|head| head.name.clone());
    let nodes = ctx.pods.nodes();
    // A group on its way out keeps showing where it was.
    if !nodes.is_empty() || ctx.group.phase != Phase::Stopping {
        ctx.group.nodes = nodes;
    }
    // Nodes have come for its pods.
    if ctx.pods.whole() && ctx.pods.live().all(|pod| pod.node.is_some()) {
        ctx.group.pend_until = None;
    }
    let Ray::Alive(alive) = ray::ray(ctx) else { return };
    if !ctx.launched() {
        load(ctx, &alive.engine);
    } else if let Some(engine) = ray::engine(&ctx.group, alive) {
        ranks(ctx, engine);
        load(ctx, engine);
    }
}

fn ranks(ctx: &mut StepContext<'_>, engine: &ObservedEngine) {
    // Where Ray does not tell, what it reported last stands.
    if engine.job.is_none() || engine.unverified.is_some() {
        return;
    }
    let total = ray::whole(ctx).unwrap_or(engine.ranks_placed);
    ctx.group.ranks = Some(RankCount { placed: engine.ranks_placed, total });
    let nodes: BTreeMap<_, _> = ctx.pods.live().filter_map(|pod| Some((pod.ip.as_ref()?, pod))).collect();
    let node = |ip: &String| {
        nodes.get(ip).and_then(|pod| pod.node.clone()).unwrap_or_else(|| text::short(ip).into())
    };
    // A dashboard may name any number of them.
    let most = usize::try_from(total).unwrap_or(usize::MAX);
    let mut placement: Vec<_> = engine
        .ranks
        .iter()
        .take(most)
        .map(|found| RankPlacement {
            rank: found.rank,
            data: found.data,
            tensor: found.tensor,
            stage: found.stage,
            node: node(&found.ip),
        })
        .collect();
    placement.sort_by_key(|rank| rank.rank);
    ctx.group.placement = placement;
}

fn load(ctx: &mut StepContext<'_>, engine: &ObservedEngine) {
    let observed = engine.load.map(|load| load.in_flight);
    if observed == ctx.group.in_flight {
        return;
    }
    let serving = ctx.group.phase == Phase::Ready;
    let next = time::end_of(ctx.group.in_flight_at.as_ref(), LOAD_EVERY);
    if serving && next.is_some() && !ctx.reached(next) {
        return;
    }
    ctx.group.in_flight = observed;
    ctx.group.in_flight_at = Some(time::began(ctx.now));
}
