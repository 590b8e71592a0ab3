//! What people want to see of a group beside its phase: head, nodes, ranks, requests in flight. At rest
//! none of it changes, so that a fleet at rest is not written.

use std::collections::BTreeMap;
use std::time::Duration;

use rayfleet_api::status::{Phase, RankPlacement};

use super::ray::{self, Ray};
use super::stage::Stage;
use crate::seen::EngineSeen;
use crate::{text, time};

/// The number of requests of a serving group is written this often at most: it changes all the time
/// and nothing is decided by it. Without traffic it stays 0 and nothing is written.
const LOAD_EVERY: Duration = Duration::from_secs(10);

pub(super) fn refresh(stage: &mut Stage<'_>) {
    stage.group.head = stage.pods.any_head().map(|head| head.name.clone());
    let nodes = stage.pods.nodes();
    // A group on its way out keeps showing where it was.
    if !nodes.is_empty() || stage.group.phase != Phase::Stopping {
        stage.group.nodes = nodes;
    }
    // Nodes have come for its pods.
    if stage.pods.whole() && stage.pods.live().all(|pod| pod.node.is_some()) {
        stage.group.pend_until = None;
    }
    let Ray::Alive(alive) = ray::ray(stage) else { return };
    if !stage.launched() {
        load(stage, &alive.engine);
    } else if let Some(engine) = ray::engine(&stage.group, alive) {
        ranks(stage, engine);
        load(stage, engine);
    }
}

fn ranks(stage: &mut Stage<'_>, engine: &EngineSeen) {
    // Where Ray does not tell, what it told last stands.
    if engine.job.is_none() || engine.unverified.is_some() {
        return;
    }
    let whole = ray::whole(stage).unwrap_or(engine.ranks_placed);
    stage.group.ranks = Some(format!("{}/{whole}", engine.ranks_placed));
    let nodes: BTreeMap<_, _> = stage.pods.live().filter_map(|pod| Some((pod.ip.as_ref()?, pod))).collect();
    let node =
        |ip: &String| nodes.get(ip).and_then(|pod| pod.node.clone()).unwrap_or_else(|| text::short(ip));
    // A dashboard may name any number of them.
    let most = usize::try_from(whole).unwrap_or(usize::MAX);
    let mut placement: Vec<_> = engine
        .ranks
        .iter()
        .take(most)
        .map(|(rank, tensor, stage, ip)| RankPlacement {
            rank: *rank,
            tensor: *tensor,
            stage: *stage,
            node: node(ip),
        })
        .collect();
    placement.sort_by_key(|rank| rank.rank);
    stage.group.placement = placement;
}

fn load(stage: &mut Stage<'_>, engine: &EngineSeen) {
    let seen = engine.load.map(|load| load.in_flight);
    if seen == stage.group.in_flight {
        return;
    }
    let serving = stage.group.phase == Phase::Ready;
    let next = time::end_of(stage.group.in_flight_at.as_ref(), LOAD_EVERY);
    if serving && next.is_some() && !stage.reached(next) {
        return;
    }
    stage.group.in_flight = seen;
    stage.group.in_flight_at = Some(time::began(stage.now));
}
