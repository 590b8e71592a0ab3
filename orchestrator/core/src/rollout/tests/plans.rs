//! The planner's rules one by one, without a clock.

use std::collections::BTreeMap;

use rayfleet_api::spec::StrategyType;
use rayfleet_api::status::{Goal, GroupStatus, Phase};
use rayfleet_api::{RayClusterFleetStatus, ValidFleet};

use super::super::{Inputs, Planner, RolloutTarget, plan};
use super::inputs;
use crate::capacity::Capacity;
use crate::observed::ObservedGroup;
use crate::testing::*;

fn planned(fleet: &ValidFleet, groups: Vec<GroupStatus>, capacity: &Capacity) -> Vec<(u32, Goal)> {
    after_plan(fleet, groups, capacity).iter().map(|group| (group.slot, group.goal)).collect()
}

fn after_plan(fleet: &ValidFleet, groups: Vec<GroupStatus>, capacity: &Capacity) -> Vec<GroupStatus> {
    after_plan_without(fleet, groups, &[], capacity)
}

/// The groups after a plan, when `removed` were just removed from the ledger.
fn after_plan_without(
    fleet: &ValidFleet,
    groups: Vec<GroupStatus>,
    removed: &[GroupStatus],
    capacity: &Capacity,
) -> Vec<GroupStatus> {
    let ready = groups.iter().filter(|group| group.phase == Phase::Ready);
    let observed: BTreeMap<_, _> = ready.map(|group| (group.name.clone(), healthy(group, t0()))).collect();
    let target = RolloutTarget::new(fleet, None, &RayClusterFleetStatus::default(), false);
    let inputs = Inputs { removed, capacity: Some(capacity), ..inputs(fleet, &target, &observed) };
    let mut planner = Planner::new(inputs, groups);
    plan(&mut planner);
    planner.groups
}

fn old(fleet: &ValidFleet, slot: u32) -> GroupStatus {
    GroupStatus { revision: "old".into(), ..ready_entry(fleet, slot) }
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
fn the_worst_placed_group_goes_first_then_the_least_loaded() {
    let mut fleet = fleet(3);
    fleet.strategy.max_surge = 0;
    fleet.strategy.max_unavailable = 1;
    let on = |slot, nodes: [&str; 2], in_flight| GroupStatus {
        nodes: nodes.map(Into::into).to_vec(),
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
fn the_group_with_the_lowest_deletion_cost_goes_first() {
    let mut fleet = fleet(3);
    fleet.strategy.max_surge = 0;
    fleet.strategy.max_unavailable = 1;
    let retired = |costs: [i32; 3]| {
        let groups: Vec<GroupStatus> = (0..3).map(|slot| old(&fleet, slot)).collect();
        let mut observed: BTreeMap<_, _> =
            groups.iter().map(|group| (group.name.clone(), healthy(group, t0()))).collect();
        for (group, cost) in groups.iter().zip(costs) {
            observed.get_mut(&group.name).unwrap().cluster.as_mut().unwrap().deletion_cost = cost;
        }
        let target = RolloutTarget::new(&fleet, None, &RayClusterFleetStatus::default(), false);
        let capacity = nodes(&[]);
        let inputs = Inputs { capacity: Some(&capacity), ..inputs(&fleet, &target, &observed) };
        let mut planner = Planner::new(inputs, groups);
        plan(&mut planner);
        planner.groups.iter().find(|group| group.goal == Goal::Retire).map(|group| group.slot)
    };
    assert_eq!(retired([0, 0, 0]), Some(2), "equals: the highest slot");
    assert_eq!(retired([-1, 0, 0]), Some(0));
    assert_eq!(retired([9, 8, 10]), Some(1));
}

#[test]
fn a_group_that_is_not_available_yet_is_kept() {
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
fn groups_without_pods_have_their_room_reserved() {
    let mut fleet = fleet(2);
    fleet.strategy.max_surge = 2;
    let groups = vec![old(&fleet, 0), old(&fleet, 1), entry(&fleet, 2)];
    assert_eq!(planned(&fleet, groups.clone(), &nodes(&[1; 3])).len(), 3);
    assert_eq!(planned(&fleet, groups, &nodes(&[1; 4])).len(), 4);
}

#[test]
fn only_a_staying_group_without_an_engine_gets_the_new_engine_revision() {
    let mut fleet = fleet(1);
    let (young, up) = (entry(&fleet, 0), ready_entry(&fleet, 0));
    let old_pods = GroupStatus { revision: "old".into(), ..young.clone() };
    fleet.revision.engine = Some("eng2".into());
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
fn a_replacement_of_a_failed_group_waits_with_a_reason() {
    let fleet = fleet(1);
    let failed = |slot, failures, revision: &str| GroupStatus {
        failures,
        revision: revision.into(),
        goal_reason: Some(format!("failed {failures} times")),
        ..with_goal(ready_entry(&fleet, slot), Goal::Retire)
    };
    let made = |leaving: Vec<GroupStatus>, removed: &[GroupStatus]| {
        let mut after = after_plan_without(&fleet, leaving, removed, &nodes(&[1; 4]));
        after.retain(|group| group.goal == Goal::Serve);
        let new = after.remove(0);
        (new.failures, new.retry_after.map(|time| time.0), new.goal_reason.unwrap_or_default())
    };
    let none = (0, None, String::new());
    assert_eq!(made(vec![], &[]), none);
    assert_eq!(made(vec![], &[failed(0, 0, "pods1")]), none, "it had not failed");
    assert_eq!(made(vec![], &[failed(0, 2, "old")]), none, "it was of another revision");
    let waits = |failures: u32, seconds: i64, name: &str| {
        (failures, Some(at(100 + seconds)), format!("stands in for {name}: failed {failures} times"))
    };
    assert_eq!(made(vec![], &[failed(0, 2, "pods1")]), waits(2, 10, "llama-pods1-0"));
    assert_eq!(made(vec![failed(0, 1, "pods1")], &[failed(1, 3, "pods1")]), waits(3, 20, "llama-pods1-1"));
    assert_eq!(made(vec![failed(0, 3, "pods1")], &[failed(1, 1, "pods1")]), waits(3, 20, "llama-pods1-0"));
}

#[test]
fn only_as_many_drains_are_cancelled_as_groups_are_missing() {
    let fleet = fleet(2);
    let drains = |slot| GroupStatus {
        phase: Phase::Draining,
        goal_reason: Some("more groups than wanted".to_owned()),
        ..with_goal(ready_entry(&fleet, slot), Goal::Retire)
    };
    let goals = |groups: Vec<GroupStatus>| planned(&fleet, groups, &nodes(&[]));
    let (serve, retire) = (Goal::Serve, Goal::Retire);
    let up = ready_entry(&fleet, 0);
    assert_eq!(goals(vec![up.clone(), drains(1), drains(2)]), [(0, serve), (1, serve), (2, retire)]);
    assert_eq!(goals(vec![drains(0), drains(1), drains(2)]), [(0, serve), (1, serve), (2, retire)]);
    let loaded = GroupStatus { in_flight: Some(5), ..drains(1) };
    let first = goals(vec![drains(0), loaded, ready_entry(&fleet, 2)]);
    assert_eq!(first, [(0, serve), (1, retire), (2, serve)], "the lowest slot, whatever its load");
    let stops = GroupStatus { phase: Phase::Stopping, ..drains(1) };
    assert_eq!(goals(vec![up.clone(), drains(1), ready_entry(&fleet, 2)])[1], (1, retire), "none is missing");
    assert_eq!(goals(vec![up.clone(), stops])[1], (1, retire), "its engine was asked to stop");
    let old = GroupStatus { revision: "old".into(), ..drains(1) };
    assert_eq!(goals(vec![up, old])[1], (1, retire), "it is of an old revision");
}

#[test]
fn a_pause_keeps_the_existing_surge_and_allows_no_more() {
    let mut fleet = fleet(2);
    (fleet.paused, fleet.strategy.max_surge) = (true, 1);
    let (old_0, old_1, new) = (old(&fleet, 0), old(&fleet, 1), ready_entry(&fleet, 2));
    let goals = |groups: Vec<GroupStatus>| planned(&fleet, groups, &nodes(&[1; 8]));
    assert_eq!(goals(vec![old_0.clone(), old_1.clone()]).len(), 2, "no surge group is made");
    let all = goals(vec![old_0.clone(), old_1.clone(), new]);
    assert!(all.iter().all(|(_, goal)| *goal == Goal::Serve), "{all:?}");
    let surplus = goals(vec![old_0, old_1, old(&fleet, 2)]);
    assert_eq!(surplus[2], (2, Goal::Retire), "an old one above replicas is not part of it");
}

#[test]
fn the_partition_keeps_the_last_complete_revision_first() {
    let stable = fleet(3);
    let mut fleet = fleet(3);
    fleet.revision.pod = "pods2".into();
    fleet.strategy.partition = 1;
    let groups = vec![old(&stable, 0), ready_entry(&stable, 1), ready_entry(&stable, 2)];
    let (target, observed) = (
        RolloutTarget::new(&fleet, Some(&stable), &RayClusterFleetStatus::default(), false),
        BTreeMap::new(),
    );
    let kept = |stable| {
        let inputs = Inputs { stable, ..inputs(&fleet, &target, &observed) };
        Planner::new(inputs, groups.clone()).kept.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(kept(Some(&stable)), [groups[1].name.clone()]);
    assert_eq!(kept(None), [groups[0].name.clone()], "the lowest slot, without a complete revision");
}

#[test]
fn a_pause_does_not_turn_a_swap_into_a_replacement() {
    let mut fleet = fleet(1);
    fleet.paused = true;
    let swaps = GroupStatus { phase: Phase::Draining, goal: Goal::SwapEngine, ..old(&fleet, 0) };
    assert_eq!(planned(&fleet, vec![swaps], &nodes(&[])), [(0, Goal::SwapEngine)]);
}

#[test]
fn a_group_that_is_not_ready_is_kept_for_a_while() {
    let fleet = fleet(2);
    let goal = |since| {
        let not_ready = GroupStatus {
            phase: Phase::Loading,
            ready_since: None,
            not_ready_since: Some(crate::time::began(at(since))),
            ..old(&fleet, 1)
        };
        planned(&fleet, vec![old(&fleet, 0), not_ready], &nodes(&[]))[1].1
    };
    assert_eq!((goal(40), goal(41)), (Goal::Retire, Goal::Serve));
}

#[test]
fn recreate_waits_until_no_old_group_is_left() {
    let mut fleet = fleet(2);
    fleet.strategy.kind = StrategyType::Recreate;
    let leaving = |group: GroupStatus| {
        let stops = GroupStatus { phase: Phase::Stopping, ..with_goal(group, Goal::Retire) };
        planned(&fleet, vec![stops], &nodes(&[])).len() - 1
    };
    assert_eq!((leaving(old(&fleet, 0)), leaving(ready_entry(&fleet, 0))), (0, 1));
    let made_beside = |name: &str, edit: fn(&mut ObservedGroup)| {
        let mut observed = healthy(&entry(&fleet, 0), t0());
        edit(&mut observed);
        let observed = BTreeMap::from([(name.into(), observed)]);
        let target = RolloutTarget::new(&fleet, None, &RayClusterFleetStatus::default(), false);
        let inputs = inputs(&fleet, &target, &observed);
        let mut planner = Planner::new(inputs, Vec::new());
        plan(&mut planner);
        planner.groups.len()
    };
    assert_eq!(made_beside("llama-old-0", |_| {}), 0);
    assert_eq!(made_beside("llama-old-0", |observed| observed.cluster = None), 0, "its pods are ending");
    assert_eq!(made_beside("llama-old-0", |observed| observed.pods.clear()), 0, "its pods are gone");
    assert_eq!(made_beside("llama-old-0", |observed| *observed = ObservedGroup::default()), 2);
    let on_lost_nodes = |observed: &mut ObservedGroup| {
        observed.cluster = None;
        observed.pods.iter_mut().for_each(|pod| (pod.deleting, pod.node_lost) = (true, true));
    };
    assert_eq!(made_beside("llama-old-0", on_lost_nodes), 2, "those may stay forever");
    assert_eq!(made_beside("llama-pods1-7", |_| {}), 2, "it is of the same revision");
}

#[test]
fn adding_or_removing_a_model_replaces_groups() {
    let mut fleet = plain_fleet(1);
    fleet.strategy.max_unavailable = 1;
    let with_engine = GroupStatus { engine_revision: Some("eng1".into()), ..ready_entry(&fleet, 0) };
    assert_eq!(planned(&fleet, vec![with_engine], &nodes(&[]))[0].1, Goal::Retire);
}

#[test]
fn a_swap_is_cancelled_by_new_pods_and_by_an_undo() {
    let fleet = fleet(1);
    let draining = GroupStatus { phase: Phase::Draining, goal: Goal::SwapEngine, ..ready_entry(&fleet, 0) };
    let other = GroupStatus { revision: "old".into(), ..draining.clone() };
    assert_eq!(planned(&fleet, vec![other], &nodes(&[]))[0].1, Goal::Retire);
    assert_eq!(planned(&fleet, vec![draining.clone()], &nodes(&[]))[0].1, Goal::Serve);
    let stopping = GroupStatus { phase: Phase::Stopping, ..draining };
    assert_eq!(
        planned(&fleet, vec![stopping], &nodes(&[]))[0].1,
        Goal::SwapEngine,
        "its engine is asked to stop"
    );
}

#[test]
fn room_is_reserved_for_missing_pods_by_their_own_template() {
    let stable = fleet(1);
    let mut fleet = fleet(1);
    fleet.revision.pod = "pods2".into();
    fleet.shape.roles.iter_mut().for_each(|pod| pod.spec = gpu_pod(2).into());
    let status = RayClusterFleetStatus::default();
    let (target, observed) = (RolloutTarget::new(&fleet, Some(&stable), &status, false), BTreeMap::new());
    let capacity = nodes(&[1, 1, 2, 2]);
    let inputs =
        Inputs { stable: Some(&stable), capacity: Some(&capacity), ..inputs(&fleet, &target, &observed) };
    let planner = Planner::new(inputs, vec![entry(&stable, 0)]);
    assert_eq!(planner.room().unwrap().place(&fleet.shape).unwrap(), ["node-2", "node-3"]);
}
