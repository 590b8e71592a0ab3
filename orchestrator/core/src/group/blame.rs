//! Which nodes a failure came from. Only what is known for sure: a node is named if its kubelet is lost, if Ray or the
//! launcher name it, or if its pod or Ray node is missing. What follows from that is the fleet's business.

use std::collections::BTreeSet;

use super::pods::may_be_the_nodes;
use super::ray::{self, Ray};
use super::stage::{Blamed, Stage};
use crate::seen::PodSeen;

/// Notes the nodes that this failure came from, if that is known.
pub(super) fn blame(stage: &mut Stage<'_>, cause: &str) {
    let nodes = culprits(stage);
    // A failure of all nodes at once has a cause that no node has.
    if nodes.len() == stage.pods.wanted() {
        return;
    }
    // Nor has a machine failed that said that it would end.
    let ending = self::nodes(stage.pods.all().filter(|pod| pod.node_ends()));
    let nodes: Vec<String> = nodes.difference(&ending).cloned().collect();
    if nodes.is_empty() {
        return;
    }
    let served = stage.group.ready_since.is_some() || stage.group.wavers_since.is_some();
    stage.blamed = Some(Blamed { nodes, cause: cause.to_owned(), served });
}

fn culprits(stage: &Stage<'_>) -> BTreeSet<String> {
    let found =
        [lost_nodes(stage), named_by_ray(stage), without_pod(stage), not_ready(stage), not_in_ray(stage)];
    found.into_iter().find(|nodes| !nodes.is_empty()).unwrap_or_default()
}

fn nodes<'a>(pods: impl Iterator<Item = &'a PodSeen>) -> BTreeSet<String> {
    pods.filter_map(|pod| pod.node.clone()).collect()
}

fn lost_nodes(stage: &Stage<'_>) -> BTreeSet<String> {
    nodes(stage.pods.all().filter(|pod| pod.node_lost))
}

fn named_by_ray(stage: &Stage<'_>) -> BTreeSet<String> {
    let Ray::Alive(alive) = ray::ray(stage) else { return BTreeSet::new() };
    let Some(engine) = ray::engine(&stage.group, alive) else { return BTreeSet::new() };
    nodes(stage.pods.live().filter(|pod| pod.ip.as_ref().is_some_and(|ip| engine.blamed.contains(ip))))
}

/// Nodes of the group on which no pod of it is left.
fn without_pod(stage: &Stage<'_>) -> BTreeSet<String> {
    let left = nodes(stage.pods.live());
    if left.is_empty() {
        return left;
    }
    stage.group.nodes.iter().filter(|node| !left.contains(*node)).cloned().collect()
}

fn not_ready(stage: &Stage<'_>) -> BTreeSet<String> {
    nodes(stage.pods.live().filter(|pod| !pod.containers_ready && may_be_the_nodes(pod)))
}

fn not_in_ray(stage: &Stage<'_>) -> BTreeSet<String> {
    let Ray::Alive(alive) = ray::ray(stage) else { return BTreeSet::new() };
    let missing = |pod: &&PodSeen| pod.ip.is_some() && !ray::is_in(stage, alive, pod);
    nodes(stage.pods.live().filter(missing).filter(|pod| may_be_the_nodes(pod)))
}
