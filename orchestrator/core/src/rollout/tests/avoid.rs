//! Avoided nodes: new groups and groups that failed there avoid them, unless there is no room elsewhere.

use std::collections::BTreeMap;

use rayfleet_api::status::{Goal, GroupStatus, NodeFailures, Phase};
use rayfleet_api::{GroupName, RayClusterFleetStatus, ValidFleet};

use super::super::{Inputs, Planner, RolloutTarget, avoid, plan};
use super::inputs;
use crate::capacity::Capacity;
use crate::observed::ObservedGroup;
use crate::testing::*;
use crate::time;

fn against(node: &str) -> NodeFailures {
    let last = Some(time::began(t0()));
    NodeFailures {
        node: node.into(),
        failures: 3,
        last_failure_time: last,
        cause: "rank 1 died".to_owned(),
        avoided: true,
    }
}

fn planned(
    fleet: &ValidFleet,
    groups: Vec<GroupStatus>,
    observed: &BTreeMap<GroupName, ObservedGroup>,
    capacity: &Capacity,
    nodes: &[NodeFailures],
) -> Vec<GroupStatus> {
    let target = RolloutTarget::new(fleet, None, &RayClusterFleetStatus::default(), false);
    let inputs = Inputs { capacity: Some(capacity), nodes, ..inputs(fleet, &target, observed) };
    let mut planner = Planner::new(inputs, groups);
    plan(&mut planner);
    planner.groups
}

#[test]
fn a_new_group_avoids_a_node_while_there_is_room_elsewhere() {
    let fleet = fleet(1);
    let off = |free: &[u32]| {
        let made = planned(&fleet, Vec::new(), &BTreeMap::new(), &nodes(free), &[against("node-1")]);
        made[0].avoid_nodes.clone()
    };
    assert_eq!(off(&[1, 1, 1]), ["node-1"]);
    assert!(off(&[1, 1, 0]).is_empty(), "a bad node is better than no group");
}

/// A group on node-0 and node-1, which failed there; its pods still hold their GPUs.
fn failed(fleet: &ValidFleet, free: &[u32]) -> (GroupStatus, BTreeMap<GroupName, ObservedGroup>, Capacity) {
    let group = GroupStatus {
        phase: Phase::Failed,
        ready_since: None,
        restarts: 1,
        retry_after: Some(time::began(at(200))),
        goal_reason: Some("failed: rank 1 died".to_owned()),
        nodes: vec!["node-0".into(), "node-1".into()],
        ..ready_entry(fleet, 0)
    };
    let observed = BTreeMap::from([(group.name.clone(), healthy(&group, t0()))]);
    let mut capacity = nodes(free);
    for node in &mut capacity.nodes[..2] {
        node.take(&gpus(1));
    }
    (group, observed, capacity)
}

#[test]
fn a_group_that_failed_on_an_avoided_node_is_recreated_elsewhere() {
    let fleet = fleet(1);
    let (group, observed, capacity) = failed(&fleet, &[1, 1, 1]);
    let after = planned(&fleet, vec![group.clone()], &observed, &capacity, &[against("node-1")]);
    assert_eq!((after[0].goal, after[0].failures), (Goal::Retire, 1), "node-0 is free once it is gone");
    assert!(after[0].goal_reason.as_ref().unwrap().contains("without node node-1"));
    let elsewhere = planned(&fleet, vec![group], &observed, &capacity, &[against("node-2")]);
    assert_eq!(elsewhere[0].goal, Goal::Serve);
}

#[test]
fn each_pod_of_a_failed_group_gives_back_its_own_requests() {
    let mut fleet = fleet(1);
    fleet.shape.roles[0].spec = gpu_pod(2).into();
    let (group, observed, mut capacity) = failed(&fleet, &[2, 1, 1]);
    capacity.nodes[0].take(&gpus(1));
    let after = planned(&fleet, vec![group], &observed, &capacity, &[against("node-1")]);
    assert_eq!(after[0].goal, Goal::Retire, "its head's node has room for the next head");
}

#[test]
fn without_room_elsewhere_the_same_nodes_are_used_again() {
    let fleet = fleet(1);
    let (group, observed, capacity) = failed(&fleet, &[1, 1, 0]);
    let after = planned(&fleet, vec![group], &observed, &capacity, &[against("node-1")]);
    assert_eq!(after[0].goal, Goal::Serve);
}

#[test]
fn all_questions_about_room_in_a_pass_share_one_budget() {
    let fleet = fleet(1);
    let (group, observed, capacity) = failed(&fleet, &[1, 1, 1]);
    let target = RolloutTarget::new(&fleet, None, &RayClusterFleetStatus::default(), false);
    let inputs = Inputs { capacity: Some(&capacity), ..inputs(&fleet, &target, &observed) };
    let planner = Planner::new(inputs, vec![group.clone()]);
    let avoided = ["node-1".into()];
    let ask = || avoid::has_room(&planner, &avoided, Some(&group));
    assert!(ask(), "node-0 is free once it is gone");
    let answers = (0..1_000_000).take_while(|_| ask()).count();
    assert!((100..1_000_000).contains(&answers), "{answers}");
    assert!(!ask() && avoid::missing(&planner, &avoided, &group).unwrap().contains("given up"));
    assert!(planner.room().unwrap().place(&fleet.shape).is_err(), "nor for a surge group");
}
