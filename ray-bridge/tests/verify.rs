//! Plan against report: every difference is found and reported, one test each.
#![allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use ray_bridge::NodeId;
use ray_bridge::dashboard::Actor;
use ray_bridge::placement::{
    Difference, GroupState, Life, Placement, Policy, RankName, RayNode, Reported, ReportedBundle,
    ReportedRank, Shape, plan, verify,
};
use serde_json::json;

fn node(name: &str, gpus: u32) -> RayNode {
    RayNode {
        id: NodeId(format!("id-{name}")),
        ip: format!("ip-{name}"),
        name: name.to_owned(),
        is_head: name == "head",
        alive: true,
        state_message: None,
        gpus_total: gpus,
        gpus_free: gpus,
        labels: BTreeMap::new(),
    }
}

/// TP2×PP2 on two workers, the API server on a head without GPUs.
fn planned() -> Placement {
    let nodes = [node("head", 0), node("w1", 2), node("w2", 2)];
    plan(Shape::new(2, 2).unwrap(), &nodes, &Policy::default()).unwrap()
}

fn as_planned(placement: &Placement) -> Reported {
    let nodes = placement.ranks.iter().map(|slot| &slot.node_id);
    let alone = nodes.clone().all(|node| *node != placement.api_server_node);
    let engines = if placement.shape.data() == 1 { 0 } else { placement.shape.data() as usize };
    let cores = nodes.clone().step_by(placement.shape.ranks_each() as usize).take(engines);
    let nodes = nodes.chain(cores).chain(alone.then_some(&placement.api_server_node));
    let rank = |slot: &ray_bridge::placement::RankSlot| ReportedRank {
        name: RankName { data_rank: slot.data_rank, tensor_rank: slot.tensor_rank, stage: slot.stage },
        node_id: Some(slot.node_id.clone()),
        life: Life::Alive,
    };
    Reported {
        group: Some(GroupState::Created),
        bundles: (0..)
            .zip(nodes)
            .map(|(index, n)| ReportedBundle { index, node_id: Some(n.clone()) })
            .collect(),
        ranks: placement.ranks.iter().map(rank).collect(),
        foreign: Vec::new(),
    }
}

/// The differences after this change.
fn said(change: impl Fn(&mut Reported)) -> Vec<String> {
    let placement = planned();
    let mut seen = as_planned(&placement);
    assert_eq!(verify(&placement, &seen), []);
    change(&mut seen);
    verify(&placement, &seen).iter().map(Difference::to_string).collect()
}

/// DP2×TP2: an engine on each of two workers, the API server on a head without GPUs.
fn said_of_engines(change: impl Fn(&mut Reported)) -> Vec<String> {
    let nodes = [node("head", 0), node("w1", 2), node("w2", 2)];
    let placement = plan(Shape::of(2, 2, 1).unwrap(), &nodes, &Policy::default()).unwrap();
    let mut seen = as_planned(&placement);
    assert_eq!(verify(&placement, &seen), []);
    assert_eq!(seen.bundles.len(), 4 + 2 + 1, "ranks, cores, API server");
    change(&mut seen);
    verify(&placement, &seen).iter().map(Difference::to_string).collect()
}

#[test]
fn a_rank_of_a_data_parallel_engine_is_named_with_it() {
    let died = |s: &mut Reported| s.ranks[2].life = Life::Dead("SIGKILL".to_owned());
    assert_eq!(said_of_engines(died), ["rank 2 (DP1 TP0 PP0) is dead: SIGKILL"]);
    let mixed_up = said_of_engines(|s| s.ranks[3].name.data_rank = Some(0));
    assert_eq!(
        mixed_up,
        ["rank 1 (DP0 TP1 PP0) has several living actors", "rank 3 (DP1 TP1 PP0) has no actor"]
    );
    let more = said_of_engines(|s| s.ranks[3].name.data_rank = Some(2));
    assert_eq!(
        more,
        ["rank 3 (DP1 TP1 PP0) has no actor", "a rank DP2 TP1 PP0 lives that the plan does not have"]
    );
}

#[test]
fn the_core_of_an_engine_is_with_its_first_rank() {
    let moved = |s: &mut Reported| s.bundles[5].node_id = Some("id-w1".into());
    assert_eq!(said_of_engines(moved), ["the bundle of core DP1 is on node id-w1, planned node id-w2"]);
    let server = |s: &mut Reported| s.bundles[6].node_id = Some("id-w1".into());
    assert_eq!(said_of_engines(server), ["the API server's bundle is on node id-w1, planned node id-head"]);
    let more = |s: &mut Reported| s.bundles.push(ReportedBundle { index: 7, node_id: None });
    assert_eq!(said_of_engines(more), ["the placement group has a bundle 7 that the plan does not have"]);
}

#[test]
fn a_dead_rank_is_a_difference() {
    let died = |s: &mut Reported| s.ranks[1].life = Life::Dead("ray.kill".to_owned());
    assert_eq!(said(died), ["rank 1 (TP1 PP0) is dead: ray.kill"]);
}

#[test]
fn a_starting_rank_is_a_difference() {
    assert_eq!(said(|s| s.ranks[1].life = Life::Starting), ["rank 1 (TP1 PP0) is starting"]);
}

#[test]
fn a_missing_rank_is_a_difference() {
    assert_eq!(said(|s| drop(s.ranks.remove(2))), ["rank 2 (TP0 PP1) has no actor"]);
}

#[test]
fn a_doubled_rank_is_a_difference() {
    assert_eq!(said(|s| s.ranks.push(s.ranks[0].clone())), ["rank 0 (TP0 PP0) has several living actors"]);
}

#[test]
fn a_rank_on_the_wrong_node_is_a_difference() {
    let moved = |s: &mut Reported| s.ranks[3].node_id = Some("id-w1".into());
    assert_eq!(said(moved), ["rank 3 (TP1 PP1) is on node id-w1, planned node id-w2 (ip-w2)"]);
}

#[test]
fn an_unplanned_rank_is_a_difference() {
    let name = RankName { data_rank: None, tensor_rank: 0, stage: 7 };
    let more = |s: &mut Reported| s.ranks.push(ReportedRank { name, ..s.ranks[0].clone() });
    assert_eq!(said(more), ["a rank TP0 PP7 lives that the plan does not have"]);
}

#[test]
fn a_foreign_actor_on_a_gpu_of_the_engine_is_a_difference() {
    let actor = |class: &str, name: &str, state: &str, resource: &str| -> Actor {
        serde_json::from_value(json!({
            "class_name": class, "name": name, "state": state, "node_id": "id-w1",
            "required_resources": {"bundle_group_f4e6": 0.001, resource: 1.0},
        }))
        .unwrap()
    };
    let stranger = actor("Trainer", "", "ALIVE", "GPU_group_3_f4e6");
    assert_eq!(
        said(|s| s.foreign.extend(stranger.foreign())),
        ["actor Trainer holds the GPU of bundle 3 on node id-w1, but is no rank of the engine"]
    );
    for fine in [
        actor("RayWorkerProc", "vllm_Worker_1_TP0_PP0", "ALIVE", "GPU_group_0_f4e6"),
        actor("ApiServer", "chat/api", "ALIVE", "CPU_group_0_f4e6"),
        actor("Trainer", "", "DEAD", "GPU_group_3_f4e6"),
    ] {
        assert_eq!(fine.foreign(), None, "{fine:?}");
    }
}

#[test]
fn a_bundle_on_the_wrong_node_is_a_difference() {
    let moved = |s: &mut Reported| s.bundles[0].node_id = Some("id-w2".into());
    assert_eq!(said(moved), ["bundle 0 is on node id-w2, planned node id-w1 (ip-w1)"]);
}

#[test]
fn a_bundle_without_a_node_is_a_difference() {
    let lost = |s: &mut Reported| s.bundles[0].node_id = None;
    assert_eq!(said(lost), ["bundle 0 is on no node, planned node id-w1 (ip-w1)"]);
}

#[test]
fn an_unplanned_bundle_is_a_difference() {
    let more = |s: &mut Reported| s.bundles.push(ReportedBundle { index: 5, node_id: Some("id-w1".into()) });
    assert_eq!(said(more), ["the placement group has a bundle 5 that the plan does not have"]);
}

#[test]
fn an_api_server_on_the_wrong_node_is_a_difference() {
    let moved = |s: &mut Reported| s.bundles[4].node_id = Some("id-w1".into());
    assert_eq!(said(moved), ["the API server's bundle is on node id-w1, planned node id-head"]);
    let gone = |s: &mut Reported| drop(s.bundles.remove(4));
    assert_eq!(said(gone), ["the API server's bundle is on no node, planned node id-head"]);
}

#[test]
fn a_rescheduled_placement_group_is_a_difference() {
    let again = said(|s| {
        s.group = Some(GroupState::Rescheduling);
        s.bundles[2].node_id = None;
        s.ranks[2].life = Life::Dead("the node died".to_owned());
    });
    assert_eq!(
        again,
        [
            "the placement group is rescheduling: a node of it died",
            "bundle 2 is on no node, planned node id-w2 (ip-w2)",
            "rank 2 (TP0 PP1) is dead: the node died",
        ]
    );
}

#[test]
fn a_pending_placement_group_is_a_difference() {
    let pending = |s: &mut Reported| s.group = Some(GroupState::Pending("NO_RESOURCES".to_owned()));
    assert_eq!(said(pending), ["the placement group is pending (NO_RESOURCES)"]);
}

#[test]
fn a_removed_placement_group_is_a_difference() {
    assert_eq!(said(|s| s.group = Some(GroupState::Removed)), ["the placement group is removed"]);
}

#[test]
fn a_missing_placement_group_is_a_difference() {
    let nothing = said(|s| *s = Reported::default());
    assert_eq!(nothing.len(), 1 + 4, "no group, and no actor of any rank: {nothing:?}");
    assert_eq!(nothing[0], "there is no placement group of the engine's name");
}

#[test]
fn the_dead_actor_of_a_restarted_rank_is_ignored() {
    let restarted = |s: &mut Reported| {
        s.ranks.push(ReportedRank { life: Life::Dead("earlier".to_owned()), ..s.ranks[0].clone() });
    };
    assert!(said(restarted).is_empty());
}

proptest! {
    #[test]
    fn an_executed_plan_has_no_difference_and_any_move_has_one(
        gpus in prop::collection::vec(0u32..9, 1..8), tensor in 1u32..4, pipeline in 1u32..4, data in 1u32..4,
        which in any::<prop::sample::Index>(),
    ) {
        let name = |i: usize| if i == 0 { "head".to_owned() } else { format!("w{i}") };
        let nodes: Vec<RayNode> = gpus.iter().enumerate().map(|(i, gpus)| node(&name(i), *gpus)).collect();
        let shape = Shape::of(data, tensor, pipeline).unwrap();
        let Ok(placement) = plan(shape, &nodes, &Policy::default()) else { return Ok(()) };
        let mut seen = as_planned(&placement);
        prop_assert_eq!(verify(&placement, &seen), vec![]);
        let moved = which.index(seen.ranks.len());
        seen.ranks[moved].node_id = Some("id-elsewhere".into());
        prop_assert_eq!(verify(&placement, &seen).len(), 1);
    }
}
