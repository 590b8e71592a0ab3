//! Plans against brute force: every assignment of stages to units, for every policy.
#![allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ray_bridge::NodeId;
use ray_bridge::placement::{Hop, Level, Placement, Policy, RayNode, Shape, Strategy as Share, hops, plan};

const LEVELS: [&str; 3] = ["fabric", "rack", "zone"];

fn policy() -> Policy {
    Policy { levels: LEVELS.iter().map(|label| Level::of(label)).collect(), ..Policy::default() }
}

/// The expected cost of a hop, computed without a tree: the innermost level from which outwards all labels
/// agree.
fn hop(a: &RayNode, b: &RayNode, inner: usize) -> u64 {
    let agree = |level: &usize| a.labels.get(LEVELS[*level]) == b.labels.get(LEVELS[*level]);
    let shared = (inner..LEVELS.len()).rev().take_while(agree);
    let named = shared.filter(|level| a.labels.contains_key(LEVELS[*level])).last();
    1 << named.unwrap_or(LEVELS.len())
}

/// A unit: what a stage may not leave.
struct Unit<'a> {
    first: &'a RayNode,
    good: u32,
    avoided: Vec<u32>,
}

fn units<'a>(nodes: &'a [RayNode], policy: &Policy) -> Vec<Unit<'a>> {
    let mut units: BTreeMap<String, Unit<'a>> = BTreeMap::new();
    for node in nodes.iter().filter(|n| !policy.exclude.contains(&n.name)) {
        let domain = policy.tensor_domain.as_ref().and_then(|label| node.labels.get(label));
        let name = domain.map_or_else(|| format!("node {}", node.name), |value| format!("domain {value}"));
        let unit = units.entry(name).or_insert(Unit { first: node, good: 0, avoided: Vec::new() });
        if policy.avoid.contains(&node.name) {
            unit.avoided.push(node.gpus_free);
        } else {
            unit.good += node.gpus_free;
        }
    }
    let mut units: Vec<Unit<'a>> = units.into_values().collect();
    for unit in &mut units {
        unit.avoided.sort_unstable_by(|a, b| b.cmp(a));
    }
    units
}

/// The least number of avoided nodes that a unit needs for this many stages.
fn avoided(unit: &Unit<'_>, stages: u32, tensor: u32) -> Option<usize> {
    let gpus = |count| unit.good + unit.avoided.iter().take(count).sum::<u32>();
    (0..=unit.avoided.len()).find(|count| gpus(*count) / tensor >= stages)
}

/// Least `(avoided nodes, most stages on a unit if that counts, hops)` over all assignments.
fn brute_force(shape: Shape, nodes: &[RayNode], policy: &Policy, inner: usize) -> Option<(usize, u32, u64)> {
    let units = units(nodes, policy);
    let stages = shape.pipeline();
    let mut best = None;
    let count = units.len() as u64;
    for number in 0..count.pow(stages) {
        let at: Vec<usize> =
            (0..stages).map(|s| usize::try_from(number / count.pow(s) % count).unwrap()).collect();
        let on = |unit: usize| u32::try_from(at.iter().filter(|u| **u == unit).count()).unwrap();
        let avoided: Option<usize> =
            units.iter().enumerate().map(|(u, unit)| avoided(unit, on(u), shape.tensor())).sum();
        let Some(avoided) = avoided else { continue };
        let most = (0..units.len()).map(on).max().unwrap_or_default();
        let most = if policy.strategy == Share::Spread { most } else { 0 };
        let hops = at.windows(2).filter(|w| w[0] != w[1]);
        let hops = hops.map(|w| hop(units[w[0]].first, units[w[1]].first, inner)).sum();
        best = best.into_iter().chain([(avoided, most, hops)]).min();
    }
    best
}

/// The same for a plan, computed from its ranks alone; also checks that it obeys all rules.
fn measured(placement: &Placement, nodes: &[RayNode], policy: &Policy, inner: usize) -> (usize, u32, u64) {
    let node = |id: &NodeId| nodes.iter().find(|n| n.id == *id).unwrap();
    let (tensor, shape) = (placement.shape.tensor() as usize, placement.shape);
    assert_eq!(placement.ranks.len(), shape.ranks() as usize);
    for (i, slot) in (0..).zip(&placement.ranks) {
        assert_eq!((slot.rank, slot.stage * shape.tensor() + slot.tensor_rank), (i, i));
    }
    let unit_of = |id: &NodeId| {
        let node = node(id);
        let domain = policy.tensor_domain.as_ref().and_then(|label| node.labels.get(label));
        domain.map_or_else(|| format!("node {}", node.name), |value| format!("domain {value}"))
    };
    let mut stages = Vec::new();
    for stage in placement.ranks.chunks(tensor) {
        let of: BTreeSet<String> = stage.iter().map(|slot| unit_of(&slot.node_id)).collect();
        assert_eq!(of.len(), 1, "a stage is torn: {of:?}");
        stages.push(unit_of(&stage[0].node_id));
    }
    let mut used: BTreeMap<&NodeId, u32> = BTreeMap::new();
    for slot in &placement.ranks {
        *used.entry(&slot.node_id).or_default() += 1;
    }
    for (id, count) in &used {
        assert!(*count <= node(id).gpus_free, "{count} ranks on {id}");
        assert!(!policy.exclude.contains(&node(id).name), "{id} is excluded");
    }
    let avoided = used.keys().filter(|id| policy.avoid.contains(&node(id).name)).count();
    assert_eq!(placement.avoided(nodes, policy).len(), avoided);
    let most = stages.iter().map(|s| stages.iter().filter(|other| *other == s).count()).max().unwrap();
    let most = if policy.strategy == Share::Spread { u32::try_from(most).unwrap() } else { 0 };
    // The first node of a unit by name represents it, as in the planner.
    let first =
        |unit: &String| nodes.iter().find(|n| unit_of(&n.id) == *unit && !policy.exclude.contains(&n.name));
    let cost = stages.windows(2).filter(|w| w[0] != w[1]);
    let cost = cost.map(|w| hop(first(&w[0]).unwrap(), first(&w[1]).unwrap(), inner)).sum();
    let reported: u64 = hops(placement, nodes, policy).iter().map(Hop::cost).sum();
    assert_eq!(reported, cost, "the hops reported are not those of the plan");
    (avoided, most, cost)
}

prop_compose! {
    fn node()(
        free in 0u32..7, fabric in 0u32..4, rack in 0u32..4, zone in 0u32..3, to in 0u32..8,
    ) -> (u32, [u32; 3], u32) {
        (free, [fabric, rack, zone], to)
    }
}

prop_compose! {
    /// Labels may be missing and may contradict the nesting; nodes are in the planner's order.
    fn cluster()(found in prop::collection::vec(node(), 1..6)) -> (Vec<RayNode>, BTreeSet<String>, BTreeSet<String>) {
        let mut nodes = Vec::new();
        let (mut avoid, mut exclude) = (BTreeSet::new(), BTreeSet::new());
        for (i, (free, values, to)) in found.into_iter().enumerate() {
            let name = if i == 0 { "head".to_owned() } else { format!("w{i}") };
            let labels = LEVELS.iter().zip(values).filter(|(_, value)| *value > 0);
            if to < 2 {
                avoid.insert(name.clone());
            } else if to == 2 {
                exclude.insert(name.clone());
            }
            nodes.push(RayNode {
                id: NodeId(format!("id-{name}")),
                ip: format!("ip-{name}"),
                is_head: i == 0,
                alive: true,
                state_message: None,
                gpus_total: free,
                gpus_free: free,
                labels: labels.map(|(label, value)| ((*label).to_owned(), format!("{label}-{value}"))).collect(),
                name,
            });
        }
        (nodes, avoid, exclude)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_assignment_is_cheaper(
        (nodes, avoid, exclude) in cluster(), tensor in 1u32..5, pipeline in 1u32..6,
        spread in any::<bool>(), domain in 0usize..4,
    ) {
        let strategy = if spread { Share::Spread } else { Share::Pack };
        let tensor_domain = LEVELS.get(domain).map(|label| (*label).to_owned());
        let inner = if domain < LEVELS.len() { domain + 1 } else { 0 };
        let policy = Policy { strategy, tensor_domain, avoid, exclude, ..policy() };
        let shape = Shape::new(tensor, pipeline).unwrap();
        let best = brute_force(shape, &nodes, &policy, inner);
        let found = plan(shape, &nodes, &policy).ok();
        prop_assert_eq!(found.map(|placement| measured(&placement, &nodes, &policy, inner)), best);
    }
}
