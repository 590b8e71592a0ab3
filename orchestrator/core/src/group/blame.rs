//! Which nodes a failure came from. Only what is known for sure: a node is named if its kubelet is lost, if Ray or the
//! launcher name it, or if its pod or Ray node is missing. What follows from that is the fleet's business.

use std::collections::BTreeSet;

use rayfleet_api::NodeName;

use super::context::{Blamed, StepContext};
use super::pods::may_be_the_nodes;
use super::ray::{self, Ray};
use crate::observed::ObservedPod;

/// Notes the nodes that this failure came from, if that is known.
pub(super) fn blame(ctx: &mut StepContext<'_>, cause: &str) {
    let nodes = culprits(ctx);
    // A failure of all nodes at once has a cause that no node has.
    if nodes.len() == ctx.pods.wanted() {
        return;
    }
    // Nor has a machine failed that said that it would end.
    let ending = self::nodes(ctx.pods.all().filter(|pod| pod.node_ends()));
    let nodes: Vec<NodeName> = nodes.difference(&ending).cloned().collect();
    if nodes.is_empty() {
        return;
    }
    let served = ctx.group.ready_since.is_some() || ctx.group.not_ready_since.is_some();
    ctx.blamed = Some(Blamed { nodes, cause: cause.to_owned(), served });
}

fn culprits(ctx: &StepContext<'_>) -> BTreeSet<NodeName> {
    let found = [lost_nodes(ctx), named_by_ray(ctx), without_pod(ctx), not_ready(ctx), not_in_ray(ctx)];
    found.into_iter().find(|nodes| !nodes.is_empty()).unwrap_or_default()
}

fn nodes<'a>(pods: impl Iterator<Item = &'a ObservedPod>) -> BTreeSet<NodeName> {
    pods.filter_map(|pod| pod.node.clone()).collect()
}

fn lost_nodes(ctx: &StepContext<'_>) -> BTreeSet<NodeName> {
    nodes(ctx.pods.all().filter(|pod| pod.node_lost))
}

fn named_by_ray(ctx: &StepContext<'_>) -> BTreeSet<NodeName> {
    let Ray::Alive(alive) = ray::ray(ctx) else { return BTreeSet::new() };
    let Some(engine) = ray::engine(&ctx.group, alive) else { return BTreeSet::new() };
    let Some(failure) = &engine.failure else { return BTreeSet::new() };
    nodes(ctx.pods.live().filter(|pod| pod.ip.as_ref().is_some_and(|ip| failure.nodes.contains(ip))))
}

/// Nodes of the group on which no pod of it is left.
fn without_pod(ctx: &StepContext<'_>) -> BTreeSet<NodeName> {
    let left = nodes(ctx.pods.live());
    if left.is_empty() {
        return left;
    }
    ctx.group.nodes.iter().filter(|node| !left.contains(*node)).cloned().collect()
}

fn not_ready(ctx: &StepContext<'_>) -> BTreeSet<NodeName> {
    nodes(ctx.pods.live().filter(|pod| !pod.containers_ready && may_be_the_nodes(pod)))
}

fn not_in_ray(ctx: &StepContext<'_>) -> BTreeSet<NodeName> {
    let Ray::Alive(alive) = ray::ray(ctx) else { return BTreeSet::new() };
    let missing = |pod: &&ObservedPod| pod.ip.is_some() && !ray::is_in(ctx, alive, pod);
    nodes(ctx.pods.live().filter(missing).filter(|pod| may_be_the_nodes(pod)))
}
