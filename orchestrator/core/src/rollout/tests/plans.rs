//! The planner's single rules, without time passing.

use std::collections::BTreeMap;

use rayfleet_api::status::{Goal, GroupStatus, Phase};
use rayfleet_api::{RayClusterFleetStatus, ValidFleet};

use super::super::{Board, Course, Inputs, plan};
use crate::capacity::Capacity;
use crate::testing::*;

fn planned(fleet: &ValidFleet, groups: Vec<GroupStatus>, capacity: &Capacity) -> Vec<(u32, Goal)> {
    after_plan(fleet, groups, capacity).iter().map(|group| (group.slot, group.goal)).collect()
}

fn after_plan(fleet: &ValidFleet, groups: Vec<GroupStatus>, capacity: &Capacity) -> Vec<GroupStatus> {
    let ready = groups.iter().filter(|group| group.phase == Phase::Ready);
    let seen: BTreeMap<_, _> = ready.map(|group| (group.name.clone(), healthy(group, t0()))).collect();
    let course = Course::new(fleet, None, &RayClusterFleetStatus::default());
    let capacity = Some(capacity);
    let inputs = Inputs {
        fleet,
        stable: None,
        course: &course,
        seen: &seen,
        removed: &[],
        capacity,
        nodes: &[],
        now: at(100),
    };
    let mut board = Board::new(inputs, groups);
    plan(&mut board);
    board.groups
}

fn old(fleet: &ValidFleet, slot: u32) -> GroupStatus {
    GroupStatus { revision: "old".to_owned(), ..ready_entry(fleet, slot) }
}

#[test]
fn the_highest_slot_is_replaced_first() {
    let mut fleet = fleet(3);
    fleet.strategy.max_surge = 0;
    fleet.strategy.max_unavailable = 1;
    let groups = vec![old(&fleet, 0), old(&fleet, 1), old(&fleet, 2)];
    assert_eq!(planned(&fleet, groups, &nodes(&[])), [(0, Goal::Serve), (1, Goal::Serve), (2, Goal::Retire)]);
}

#[test]
fn the_worst_placed_goes_first_then_the_least_loaded() {
    let mut fleet = fleet(3);
    fleet.strategy.max_surge = 0;
    fleet.strategy.max_unavailable = 1;
    let on = |slot, nodes: [&str; 2], in_flight| GroupStatus {
        nodes: nodes.map(str::to_owned).to_vec(),
        in_flight: Some(in_flight),
        ..old(&fleet, slot)
    };
    let retired = |capacity: &Capacity, loads: [u32; 3]| {
        let groups = vec![
            on(0, ["node-0", "node-1"], loads[0]),
            on(1, ["node-2", "node-3"], loads[1]),
            on(2, ["node-4", "node-5"], loads[2]),
        ];
        let goals = planned(&fleet, groups, capacity);
        goals.iter().find(|(_, goal)| *goal == Goal::Retire).map(|(slot, _)| *slot)
    };
    let mut capacity = nodes(&[0; 6]);
    assert_eq!(retired(&capacity, [0, 0, 0]), Some(2), "equals: the highest slot");
    assert_eq!(retired(&capacity, [4, 1, 2]), Some(1), "the least loaded");
    for node in &mut capacity.nodes {
        let zone = if node.name == "node-0" { "a" } else { "b" };
        node.labels.insert("topology.kubernetes.io/zone".to_owned(), zone.to_owned());
    }
    assert_eq!(retired(&capacity, [4, 1, 2]), Some(0), "across zones");
    capacity.nodes[4].unschedulable = true;
    assert_eq!(retired(&capacity, [4, 1, 2]), Some(2), "on a node that is cordoned");
}

#[test]
fn a_group_that_is_not_available_yet_is_not_spent() {
    let mut fleet = fleet(2);
    fleet.strategy.max_surge = 0;
    fleet.strategy.max_unavailable = 1;
    fleet.min_ready = std::time::Duration::from_secs(1000);
    let groups = vec![old(&fleet, 0), old(&fleet, 1)];
    assert_eq!(planned(&fleet, groups, &nodes(&[])), [(0, Goal::Serve), (1, Goal::Serve)]);
}

#[test]
fn all_broken_old_groups_go_at_once() {
    let mut fleet = fleet(3);
    fleet.strategy.max_surge = 0;
    fleet.strategy.max_unavailable = 1;
    let broken = |slot| GroupStatus { phase: Phase::Failed, ready_since: None, ..old(&fleet, slot) };
    let groups = vec![broken(0), broken(1), broken(2)];
    assert!(planned(&fleet, groups, &nodes(&[])).iter().all(|(_, goal)| *goal == Goal::Retire));
}

#[test]
fn a_surge_group_needs_room_for_all_of_its_pods() {
    let fleet = fleet(1);
    let groups = || vec![old(&fleet, 0)];
    assert_eq!(planned(&fleet, groups(), &nodes(&[1, 0, 0])).len(), 1);
    assert_eq!(planned(&fleet, groups(), &nodes(&[2, 0, 0])).len(), 1, "two GPUs on one node are not enough");
    assert_eq!(planned(&fleet, groups(), &nodes(&[1, 0, 1])).len(), 2);
}

#[test]
fn groups_without_pods_yet_have_their_room_already() {
    let mut fleet = fleet(2);
    fleet.strategy.max_surge = 2;
    let groups = vec![old(&fleet, 0), old(&fleet, 1), entry(&fleet, 2)];
    assert_eq!(planned(&fleet, groups.clone(), &nodes(&[1; 3])).len(), 3);
    assert_eq!(planned(&fleet, groups, &nodes(&[1; 4])).len(), 4);
}

#[test]
fn only_a_group_that_stays_and_has_no_engine_yet_takes_the_new_engine_revision() {
    let mut fleet = fleet(1);
    let (young, up) = (entry(&fleet, 0), ready_entry(&fleet, 0));
    let old_pods = GroupStatus { revision: "old".to_owned(), ..young.clone() };
    fleet.revision.engine = Some("eng2".to_owned());
    let engine = |group: &GroupStatus| {
        let after = after_plan(&fleet, vec![group.clone()], &nodes(&[]));
        after[0].engine_revision.clone().unwrap()
    };
    assert_eq!(engine(&young), "eng2");
    assert_eq!(engine(&up), "eng1", "it is swapped");
    assert_eq!(engine(&old_pods), "eng1", "it is replaced");
    assert_eq!(engine(&with_goal(young, Goal::Retire)), "eng1", "it is on its way out");
}

#[test]
fn a_model_that_comes_or_goes_replaces_groups() {
    let mut fleet = plain_fleet(1);
    fleet.strategy.max_unavailable = 1;
    let with_engine = GroupStatus { engine_revision: Some("eng1".to_owned()), ..ready_entry(&fleet, 0) };
    assert_eq!(planned(&fleet, vec![with_engine], &nodes(&[]))[0].1, Goal::Retire);
}

#[test]
fn a_swap_is_overtaken_by_new_pods_and_by_an_undo() {
    let fleet = fleet(1);
    let draining = GroupStatus { phase: Phase::Draining, goal: Goal::SwapEngine, ..ready_entry(&fleet, 0) };
    let other = GroupStatus { revision: "old".to_owned(), ..draining.clone() };
    assert_eq!(planned(&fleet, vec![other], &nodes(&[]))[0].1, Goal::Retire);
    assert_eq!(planned(&fleet, vec![draining.clone()], &nodes(&[]))[0].1, Goal::Serve);
    let stopping = GroupStatus { phase: Phase::Stopping, ..draining };
    assert_eq!(
        planned(&fleet, vec![stopping], &nodes(&[]))[0].1,
        Goal::SwapEngine,
        "its engine is told to stop"
    );
}
