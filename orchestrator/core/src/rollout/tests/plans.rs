//! The planner's single rules, without time passing.

use std::collections::BTreeMap;

use rayfleet_api::ValidFleet;
use rayfleet_api::status::{Goal, GroupStatus, Phase};

use super::super::{Board, Inputs, plan};
use crate::capacity::Capacity;
use crate::testing::*;

fn planned(fleet: &ValidFleet, groups: Vec<GroupStatus>, capacity: &Capacity) -> Vec<(u32, Goal)> {
    let ready = groups.iter().filter(|group| group.phase == Phase::Ready);
    let seen: BTreeMap<_, _> = ready.map(|group| (group.name.clone(), healthy(group, t0()))).collect();
    let inputs =
        Inputs { fleet, seen: &seen, removed: &[], capacity: Some(capacity), nodes: &[], now: at(100) };
    let mut board = Board::new(inputs, groups);
    plan(&mut board);
    board.groups.iter().map(|group| (group.slot, group.goal)).collect()
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
