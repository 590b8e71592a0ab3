//! Rules of placement: by example, as properties of random clusters, and against brute force on small ones.
#![allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ray_bridge::NodeId;
use ray_bridge::placement::{
    FreeGpus, Hop, Level, Placement, Policy, RayNode, Shape, Strategy as Share, hops, plan,
};

fn node(name: &str, free: u32, total: u32) -> RayNode {
    RayNode {
        id: NodeId(format!("id-{name}")),
        ip: format!("ip-{name}"),
        name: name.to_owned(),
        is_head: name == "head",
        alive: true,
        state_message: None,
        gpus_total: total,
        gpus_free: free,
        labels: BTreeMap::new(),
    }
}

fn shape(tensor: u32, pipeline: u32) -> Shape {
    Shape::new(tensor, pipeline).unwrap()
}

fn stages(placement: &Placement) -> Vec<&str> {
    let tensor = placement.shape.tensor() as usize;
    placement.ranks.iter().step_by(tensor).map(|r| r.node_ip.trim_start_matches("ip-")).collect()
}

fn place(shape: Shape, nodes: &[RayNode]) -> Vec<String> {
    let placement = plan(shape, nodes, &Policy::default()).unwrap();
    stages(&placement).into_iter().map(str::to_owned).collect()
}

fn refusal(shape: Shape, nodes: &[RayNode]) -> String {
    plan(shape, nodes, &Policy::default()).unwrap_err().to_string()
}

#[test]
fn two_nodes_of_eight_get_a_stage_each_the_head_first() {
    let nodes = [node("worker-1", 8, 8), node("head", 8, 8)];
    let placement = plan(shape(8, 2), &nodes, &Policy::default()).unwrap();
    assert_eq!(stages(&placement), ["head", "worker-1"]);
    assert_eq!(placement.api_server_node, NodeId::from("id-head"));
    let ninth = &placement.ranks[8];
    assert_eq!((ninth.rank, ninth.stage, ninth.tensor_rank), (8, 1, 0));
}

#[test]
fn a_head_without_gpus_runs_the_api_server_only() {
    let nodes = [node("head", 0, 0), node("w2", 4, 4), node("w1", 4, 4)];
    let placement = plan(shape(4, 2), &nodes, &Policy::default()).unwrap();
    assert_eq!(stages(&placement), ["w1", "w2"]);
    assert_eq!(placement.api_server_node, NodeId::from("id-head"));
}

#[test]
fn stages_fill_a_node_before_they_spread() {
    assert_eq!(place(shape(2, 3), &[node("head", 4, 4), node("w1", 8, 8)]), ["w1", "w1", "w1"]);
    assert_eq!(place(shape(2, 3), &[node("head", 4, 4), node("w1", 4, 4)]), ["head", "head", "w1"]);
}

#[test]
fn data_parallel_engines_follow_each_other() {
    let nodes = [node("head", 4, 4), node("w1", 4, 4), node("w2", 8, 8)];
    let placement = plan(Shape::of(2, 2, 2).unwrap(), &nodes, &Policy::default()).unwrap();
    let slots: Vec<(u32, Option<u32>, u32, u32)> =
        placement.ranks.iter().map(|s| (s.rank, s.data_rank, s.stage, s.tensor_rank)).collect();
    assert_eq!(slots[..3], [(0, Some(0), 0, 0), (1, Some(0), 0, 1), (2, Some(0), 1, 0)]);
    assert_eq!(slots[4..6], [(4, Some(1), 0, 0), (5, Some(1), 0, 1)]);
    assert_eq!(place(Shape::of(2, 2, 2).unwrap(), &nodes), ["w2", "w2", "w2", "w2"]);
    assert_eq!(place(Shape::of(2, 4, 1).unwrap(), &nodes[..2]), ["head", "w1"]);
    assert_eq!(place(shape(2, 2), &nodes).len(), 2, "without data parallelism");
    let refused = plan(Shape::of(3, 4, 1).unwrap(), &nodes[..2], &Policy::default()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "DP3×TP4×PP1 needs room for 3 stages of 4 GPUs, each on one node; free: head 4, w1 4 (room for 2 of 3 stages)"
    );
}

#[test]
fn engines_are_near_each_other() {
    let nodes = [
        node("head", 0, 0),
        at("a", 8, &[(ZONE, "z1"), (LEAF, "l1")]),
        at("b", 8, &[(ZONE, "z2"), (LEAF, "l2")]),
        at("c", 8, &[(ZONE, "z2"), (LEAF, "l2")]),
    ];
    assert_eq!(place(Shape::of(2, 8, 1).unwrap(), &nodes), ["b", "c"], "one rack");
}

#[test]
fn stages_of_one_rack_are_consecutive() {
    let mut nodes = [node("head", 0, 0), node("a", 2, 2), node("b", 2, 2), node("c", 2, 2), node("d", 2, 2)];
    for (i, rack) in [(1, "r2"), (2, "r1"), (4, "r1")] {
        nodes[i].labels.insert("rack".to_owned(), rack.to_owned());
    }
    let policy = Policy { levels: vec![Level::of("rack")], ..Policy::default() };
    assert_eq!(stages(&plan(shape(2, 4), &nodes, &policy).unwrap()), ["a", "b", "d", "c"]);
    assert_eq!(place(shape(2, 4), &nodes), ["a", "b", "c", "d"], "no default level uses this label");
    assert_eq!(stages(&plan(shape(2, 2), &nodes, &policy).unwrap()), ["b", "d"]);
}

/// A node with labels.
fn at(name: &str, gpus: u32, labels: &[(&str, &str)]) -> RayNode {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    RayNode { labels, ..node(name, gpus, gpus) }
}

const CLIQUE: &str = "nvidia.com/gpu.clique";
const LEAF: &str = "network.topology.nvidia.com/leaf";
const ZONE: &str = "topology.kubernetes.io/zone";

#[test]
fn distance_is_read_from_the_labels_of_clouds_and_tools() {
    let nodes = [
        node("head", 0, 0),
        at("a", 8, &[(ZONE, "z1"), (LEAF, "l1")]),
        at("b", 8, &[(ZONE, "z2"), (LEAF, "l2")]),
        at("c", 8, &[("ray.io/availability-zone", "z1"), (LEAF, "l3")]),
        at("d", 8, &[(ZONE, "z2"), (LEAF, "l2")]),
    ];
    assert_eq!(place(shape(8, 2), &nodes), ["b", "d"], "one rack");
    assert_eq!(place(shape(8, 2), &nodes[..4]), ["a", "c"], "one zone, by either label");
    assert_eq!(place(shape(8, 3), &nodes), ["a", "b", "d"], "one hop between zones, one within a rack");
    let placement = plan(shape(8, 3), &nodes, &Policy::default()).unwrap();
    let reported = hops(&placement, &nodes, &Policy::default());
    let rack = Hop::Within { level: "rack".to_owned(), domain: "l2".to_owned(), cost: 2 };
    assert_eq!(reported, [Hop::Beyond { cost: 16 }, rack]);
}

#[test]
fn one_far_hop_is_weighed_against_several_near_ones() {
    let rack = |name, gpus, rack| at(name, gpus, &[(ZONE, "z"), (LEAF, rack)]);
    let small = || (1..=4).map(|i| rack(["a", "b", "c", "d"][i - 1], 2, "l1"));
    let large = [rack("x", 4, "l2"), rack("y", 4, "l3")];
    let nodes: Vec<RayNode> = [node("head", 0, 0)].into_iter().chain(small()).chain(large).collect();
    assert_eq!(
        place(shape(2, 4), &nodes),
        ["a", "b", "c", "d"],
        "3 × 2 within the rack, not 8 between racks"
    );
}

#[test]
fn the_only_node_of_a_rack_costs_no_more_than_another() {
    let alone = |name, rack| at(name, 6, &[(CLIQUE, rack), (LEAF, rack), (ZONE, rack)]);
    let plain = [node("a", 4, 4), node("b", 4, 4), node("c", 4, 4)];
    let nodes: Vec<RayNode> =
        [node("head", 0, 0)].into_iter().chain(plain).chain([alone("x", "1"), alone("y", "2")]).collect();
    assert_eq!(
        place(shape(2, 6), &nodes),
        ["x", "x", "x", "y", "y", "y"],
        "a, b and c would cost one more hop"
    );
}

#[test]
fn the_same_rack_in_two_zones_is_two_racks() {
    let nodes = [
        node("head", 0, 0),
        at("a", 8, &[(ZONE, "z1"), (LEAF, "1")]),
        at("b", 8, &[(ZONE, "z2"), (LEAF, "1")]),
        at("c", 8, &[(ZONE, "z2"), (LEAF, "2")]),
    ];
    assert_eq!(place(shape(8, 2), &nodes), ["b", "c"]);
}

#[test]
fn a_tensor_group_may_fill_a_domain_but_never_leaves_it() {
    let tray = |name, gpus, clique| at(name, gpus, &[(CLIQUE, clique)]);
    let nodes = [
        node("head", 0, 0),
        tray("a1", 4, "a"),
        tray("a2", 4, "a"),
        tray("a3", 3, "a"),
        tray("b1", 4, "b"),
        tray("b2", 4, "b"),
        node("loner", 4, 4),
    ];
    let policy = Policy { tensor_domain: Some(CLIQUE.to_owned()), ..Policy::default() };
    let placement = plan(shape(8, 2), &nodes, &policy).unwrap();
    let on: Vec<&str> = placement.ranks.iter().map(|r| r.node_ip.trim_start_matches("ip-")).collect();
    let four = |name| [name; 4];
    assert_eq!(on, [four("a1"), four("a2"), four("b1"), four("b2")].concat());
    assert_eq!(placement.gpus(), [0, 1, 2, 3].repeat(4));

    assert!(plan(shape(8, 1), &nodes, &Policy::default()).is_err(), "no node has 8");
    let refused = plan(shape(8, 3), &nodes, &policy).unwrap_err().to_string();
    assert_eq!(
        refused,
        "TP8×PP3 needs room for 3 stages of 8 GPUs, each on one node or within one nvidia.com/gpu.clique; free: \
         head 0, a 11 of 11 (3 nodes), b 8 of 8 (2 nodes), loner 4 (room for 2 of 3 stages)"
    );
}

#[test]
fn among_equally_cheap_nodes_the_fullest_are_chosen() {
    let nodes = [node("head", 0, 0), node("a", 8, 8), node("b", 4, 8), node("c", 6, 8)];
    assert_eq!(place(shape(2, 2), &nodes), ["b", "b"]);
    let fabrics = [
        node("head", 0, 0),
        at("a1", 8, &[(CLIQUE, "a")]),
        at("a2", 8, &[(CLIQUE, "a")]),
        at("a3", 8, &[(CLIQUE, "a")]),
        at("b1", 8, &[(CLIQUE, "b")]),
        at("b2", 8, &[(CLIQUE, "b")]),
    ];
    assert_eq!(place(shape(8, 2), &fabrics), ["b1", "b2"], "three nodes of one fabric stay together");
}

#[test]
fn spread_gives_every_node_as_few_stages_as_possible() {
    let nodes = [node("head", 8, 8), node("a", 8, 8), node("b", 2, 2)];
    let spread = |pipeline| {
        let policy = Policy { strategy: Share::Spread, ..Policy::default() };
        plan(shape(2, pipeline), &nodes, &policy).map(|p| stages(&p).join(" ")).unwrap()
    };
    assert_eq!(place(shape(2, 3), &nodes), ["head"; 3]);
    assert_eq!(spread(1), "head");
    assert_eq!(spread(3), "head a b");
    assert_eq!(spread(4), "head head a a", "two nodes with two stages each cost one hop less");
    assert_eq!(spread(9), "head head head head a a a a b");
}

#[test]
fn excluded_nodes_get_no_ranks_and_are_named_if_they_are_missing() {
    let nodes = [node("head", 2, 2), node("w1", 2, 2), node("w2", 2, 2)];
    let policy = Policy { exclude: BTreeSet::from(["head".to_owned()]), ..Policy::default() };
    let around = plan(shape(2, 2), &nodes, &policy).unwrap();
    assert_eq!((stages(&around), &around.api_server_node), (vec!["w1", "w2"], &NodeId::from("id-head")));
    assert_eq!(
        plan(shape(2, 3), &nodes, &policy).unwrap_err().to_string(),
        "TP2×PP3 needs room for 3 stages of 2 GPUs, each on one node; free: w1 2, w2 2 (room for 2 of 3 stages); \
         excluded: head 2"
    );
}

#[test]
fn dead_nodes_get_no_ranks() {
    let mut nodes = [node("head", 2, 2), node("w1", 8, 8)];
    nodes[1].alive = false;
    assert_eq!(
        refusal(shape(2, 2), &nodes),
        "TP2×PP2 needs room for 2 stages of 2 GPUs, each on one node; free: head 2 (room for 1 of 2 stages)"
    );
}

#[test]
fn missing_gpus_are_reported_with_numbers() {
    let nodes = [node("head", 8, 8), node("worker-1", 4, 8)];
    assert_eq!(
        refusal(shape(8, 2), &nodes),
        "TP8×PP2 needs room for 2 stages of 8 GPUs, each on one node; free: head 8, worker-1 4 of 8 (room for 1 of 2 stages)"
    );
    assert_eq!(
        refusal(shape(16, 1), &nodes),
        "TP16×PP1 needs 16 free GPUs on one node; free: head 8, worker-1 4 of 8"
    );
    assert_eq!(refusal(shape(1, 1), &[]), "TP1×PP1: no Ray node is alive");
    assert_eq!(refusal(shape(1, 1), &[node("w", 8, 8)]), "TP1×PP1: none of 1 living Ray nodes is the head");
}

#[test]
fn with_all_gpus_a_plan_does_not_wait_for_free_ones() {
    let nodes = [node("head", 0, 8)];
    let all = Policy { free: FreeGpus::All, ..Policy::default() };
    assert!(plan(shape(8, 1), &nodes, &Policy::default()).is_err());
    assert!(plan(shape(8, 1), &nodes, &all).is_ok());
}

#[test]
fn nodes_to_avoid_are_used_only_if_the_others_have_no_room() {
    let nodes = [node("head", 0, 0), node("w1", 2, 2), node("w2", 2, 2), node("w3", 2, 2)];
    for name in ["id-w1", "ip-w1", "w1"] {
        let policy = Policy { avoid: BTreeSet::from([name.to_owned()]), ..Policy::default() };
        let around = plan(shape(2, 2), &nodes, &policy).unwrap();
        assert_eq!((stages(&around), around.avoided(&nodes, &policy).len()), (vec!["w2", "w3"], 0), "{name}");
        let all = plan(shape(2, 3), &nodes, &policy).unwrap();
        assert_eq!(all.avoided(&nodes, &policy), [&nodes[1]], "{name}");
    }
}

#[test]
fn a_plan_is_unchanged_by_its_json() {
    let placement = plan(shape(2, 2), &[node("head", 4, 4)], &Policy::default()).unwrap();
    let json = serde_json::to_string(&placement).unwrap();
    assert_eq!(serde_json::from_str::<Placement>(&json).unwrap(), placement);
    assert!(json.contains(r#""apiServerNode":"id-head""#) && json.contains(r#""nodeId""#), "{json}");
}

/// Fewest nodes, over all subsets.
fn fewest_by_brute_force(shape: Shape, nodes: &[RayNode]) -> Option<u32> {
    (1u32..1 << nodes.len())
        .filter(|set| {
            let rooms = nodes.iter().enumerate().filter(|(i, _)| set & (1 << i) != 0);
            rooms.map(|(_, n)| n.gpus_free / shape.tensor()).sum::<u32>() >= shape.pipeline()
        })
        .map(u32::count_ones)
        .min()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap()
}

prop_compose! {
    fn cluster()(gpus in prop::collection::vec((0u32..9, 0u32..3), 1..8)) -> Vec<RayNode> {
        gpus.iter().enumerate().map(|(i, (free, more))| {
            let name = if i == 0 { "head".to_owned() } else { format!("w{i}") };
            node(&name, *free, free + more)
        }).collect()
    }
}

proptest! {
    #[test]
    fn a_plan_obeys_every_rule_with_the_fewest_nodes(
        nodes in cluster(), tensor in 1u32..5, pipeline in 1u32..6,
    ) {
        let shape = shape(tensor, pipeline);
        let best = fewest_by_brute_force(shape, &nodes);
        let Ok(placement) = plan(shape, &nodes, &Policy::default()) else {
            prop_assert_eq!(best, None);
            return Ok(());
        };

        prop_assert_eq!(count(placement.ranks.len()), shape.ranks());
        for (i, slot) in (0..).zip(&placement.ranks) {
            prop_assert_eq!((slot.rank, slot.stage * tensor + slot.tensor_rank), (i, i));
        }
        for stage in placement.ranks.chunks(tensor as usize) {
            prop_assert!(stage.iter().all(|s| s.node_id == stage[0].node_id), "a stage left its node");
        }
        for n in &nodes {
            let placed = count(placement.ranks.iter().filter(|s| s.node_id == n.id).count());
            prop_assert!(placed <= n.gpus_free, "{} ranks on {}", placed, n.name);
        }
        let used: BTreeSet<&str> = stages(&placement).into_iter().collect();
        prop_assert_eq!(Some(count(used.len())), best);
        let hops = stages(&placement).windows(2).filter(|w| w[0] != w[1]).count();
        prop_assert_eq!(hops, used.len() - 1, "a node is left and entered again");
        if used.contains("head") {
            prop_assert_eq!(stages(&placement)[0], "head");
        }
    }

    #[test]
    fn a_plan_does_not_depend_on_the_order_of_nodes(nodes in cluster().prop_shuffle(), tensor in 1u32..5, pipeline in 1u32..6) {
        let mut sorted = nodes.clone();
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        let shape = shape(tensor, pipeline);
        prop_assert_eq!(plan(shape, &nodes, &Policy::default()), plan(shape, &sorted, &Policy::default()));
    }
}
