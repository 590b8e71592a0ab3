//! Groups on nodes that are being drained: they move by the rules of a rollout, and stay if there is no other
//! place.

use std::collections::BTreeMap;

use rayfleet_api::spec::WhenNoRoom;
use rayfleet_api::status::{Goal, GroupStatus, Phase, RolloutStatus};
use rayfleet_api::{GroupName, RayClusterFleetStatus, ValidFleet};

use super::super::{Inputs, Planner, RolloutTarget, plan};
use super::inputs;
use crate::capacity::{Capacity, Closing, Leaving};
use crate::decide::{Decision, ReconcileInput, decide};
use crate::observed::ObservedGroup;
use crate::testing::*;
use crate::time;

/// Two groups, the first on node-0 and node-1, the second on node-2 and node-3.
fn two(fleet: &ValidFleet) -> (Vec<GroupStatus>, BTreeMap<GroupName, ObservedGroup>) {
    let groups = vec![ready_entry(fleet, 0), ready_entry(fleet, 1)];
    let observed = |group: &GroupStatus| {
        let mut observed = healthy(group, t0());
        for (number, pod) in observed.pods.iter_mut().enumerate() {
            pod.node = Some(format!("node-{}", 2 * usize::try_from(group.slot).unwrap() + number).into());
        }
        (group.name.clone(), observed)
    };
    let all = groups.iter().map(observed).collect();
    (groups, all)
}

/// Cordons a node, both in the observed pods and in the capacity.
fn cordon(observed: &mut BTreeMap<GroupName, ObservedGroup>, capacity: &mut Capacity, number: usize) {
    close(observed, capacity, number, Leaving::Emptied);
}

/// Marks the machine as about to end.
fn end(observed: &mut BTreeMap<GroupName, ObservedGroup>, capacity: &mut Capacity, number: usize) {
    close(observed, capacity, number, Leaving::Ends);
}

fn close(
    observed: &mut BTreeMap<GroupName, ObservedGroup>,
    capacity: &mut Capacity,
    number: usize,
    how: Leaving,
) {
    let name = format!("node-{number}").into();
    capacity.nodes[number].unschedulable = true;
    for pod in observed
        .values_mut()
        .flat_map(|observed| &mut observed.pods)
        .filter(|pod| pod.node.as_ref() == Some(&name))
    {
        let what = if how == Leaving::Emptied { "is cordoned" } else { "has a taint" };
        pod.node_closing = Some(Closing { what: what.to_owned(), how });
    }
}

fn planned(
    fleet: &ValidFleet,
    groups: Vec<GroupStatus>,
    observed: &BTreeMap<GroupName, ObservedGroup>,
    capacity: &Capacity,
) -> Vec<GroupStatus> {
    let target = RolloutTarget::new(fleet, None, &RayClusterFleetStatus::default(), false);
    let inputs = Inputs { capacity: Some(capacity), ..inputs(fleet, &target, observed) };
    let mut planner = Planner::new(inputs, groups);
    plan(&mut planner);
    planner.groups
}

fn goals(groups: &[GroupStatus]) -> Vec<(u32, Goal)> {
    groups.iter().map(|group| (group.slot, group.goal)).collect()
}

#[test]
fn with_room_another_group_is_created_first() {
    for paused in [false, true] {
        let fleet = ValidFleet { paused, ..fleet(2) };
        let (groups, mut observed) = two(&fleet);
        let mut capacity = nodes(&[0, 0, 0, 0, 1, 1]);
        cordon(&mut observed, &mut capacity, 1);
        let after = planned(&fleet, groups, &observed, &capacity);
        assert_eq!(goals(&after), [(0, Goal::Serve), (1, Goal::Serve), (2, Goal::Serve)], "paused: {paused}");
        assert_eq!(after[2].avoid_nodes, ["node-1"], "it must avoid the nodes that the others leave");
    }
}

#[test]
fn a_group_leaves_once_its_replacement_serves() {
    let fleet = fleet(2);
    let (mut groups, mut observed) = two(&fleet);
    let mut capacity = nodes(&[0; 6]);
    cordon(&mut observed, &mut capacity, 1);
    groups.push(ready_entry(&fleet, 2));
    let after = planned(&fleet, groups, &observed, &capacity);
    assert_eq!(goals(&after), [(0, Goal::Retire), (1, Goal::Serve), (2, Goal::Serve)]);
    assert_eq!(after[0].goal_reason.as_deref(), Some("node node-1 is cordoned"));
}

#[test]
fn without_a_surge_a_group_leaves_only_if_there_is_room_elsewhere() {
    let mut fleet = fleet(2);
    (fleet.strategy.max_surge, fleet.strategy.max_unavailable) = (0, 1);
    let after = |free: &[u32], paused: bool| {
        let fleet = ValidFleet { paused, ..fleet.clone() };
        let (groups, mut observed) = two(&fleet);
        let mut capacity = nodes(free);
        cordon(&mut observed, &mut capacity, 0);
        cordon(&mut observed, &mut capacity, 1);
        goals(&planned(&fleet, groups, &observed, &capacity))
    };
    for paused in [false, true] {
        assert_eq!(after(&[0, 0, 0, 0, 1, 1], paused), [(0, Goal::Retire), (1, Goal::Serve)]);
        assert_eq!(after(&[0, 0, 0, 0, 1, 0], paused), [(0, Goal::Serve), (1, Goal::Serve)]);
        // Its own GPUs on the cordoned nodes do not count.
        assert_eq!(after(&[1, 1, 0, 0, 0, 0], paused), [(0, Goal::Serve), (1, Goal::Serve)]);
    }
}

#[test]
fn a_group_kept_by_the_partition_moves_too() {
    let mut fleet = fleet(2);
    (fleet.strategy.max_surge, fleet.strategy.max_unavailable, fleet.strategy.partition) = (0, 1, 1);
    let (mut groups, mut observed) = two(&fleet);
    groups[0].revision = "old".into();
    let mut capacity = nodes(&[0, 0, 0, 0, 1, 1]);
    cordon(&mut observed, &mut capacity, 0);
    assert_eq!(goals(&planned(&fleet, groups, &observed, &capacity)), [(0, Goal::Retire), (1, Goal::Serve)]);
}

fn decided(
    fleet: &ValidFleet,
    groups: Vec<GroupStatus>,
    observed: &BTreeMap<GroupName, ObservedGroup>,
    capacity: &Capacity,
) -> Decision {
    let status = RayClusterFleetStatus { groups, ..RayClusterFleetStatus::default() };
    decide(&ReconcileInput {
        fleet,
        stable: None,
        held: None,
        failed_writes: &[],
        status: &status,
        groups: observed,
        capacity: Some(capacity),
        now: at(1),
    })
}

#[test]
fn a_group_without_another_place_stays_and_is_reported() {
    let mut fleet = fleet(2);
    fleet.strategy.max_unavailable = 1;
    let (groups, mut observed) = two(&fleet);
    let mut capacity = nodes(&[0; 4]);
    cordon(&mut observed, &mut capacity, 0);
    let decision = decided(&fleet, groups, &observed, &capacity);
    assert_eq!(decision.effects, []);
    let stalled = decision.status.conditions.iter().find(|condition| condition.type_ == "Stalled").unwrap();
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "NoRoom"));
    let said = "group llama-pods1-0 stays although node node-0 is cordoned: no other place: needs";
    assert!(stalled.message.starts_with(said), "{}", stalled.message);
    assert!(stalled.message.ends_with("add nodes or uncordon it"), "{}", stalled.message);
}

#[test]
fn nodes_are_requested_again_for_a_group_that_must_move() {
    let mut fleet = fleet(2);
    (fleet.strategy.max_unavailable, fleet.strategy.when_no_room) = (1, WhenNoRoom::Pend);
    let (groups, mut observed) = two(&fleet);
    let mut capacity = nodes(&[0; 4]);
    cordon(&mut observed, &mut capacity, 0);
    let to = fleet.revision.clone();
    let again = Some(time::began(at(100)));
    let in_vain = RolloutStatus {
        pend_failed_revision: Some(to.clone()),
        pend_failures: 1,
        pend_retry_after: again,
        to,
        ..RolloutStatus::default()
    };
    let status = RayClusterFleetStatus {
        observed_generation: Some(fleet.generation),
        groups,
        rollout: Some(in_vain),
        ..RayClusterFleetStatus::default()
    };
    let decided = |second: i64| {
        decide(&ReconcileInput {
            fleet: &fleet,
            stable: None,
            held: None,
            failed_writes: &[],
            status: &status,
            groups: &observed,
            capacity: Some(&capacity),
            now: at(second),
        })
    };
    let stalled = |decision: &Decision| {
        let all = decision.status.conditions.iter();
        all.filter(|condition| condition.type_ == "Stalled").map(|it| it.message.clone()).collect::<String>()
    };
    let before = decided(99);
    assert_eq!(before.status.groups.len(), 2);
    let said = format!(
        "(none were added within strategy.pendTimeout, 120 s; pods wait for them again from {})",
        at(100)
    );
    assert!(stalled(&before).ends_with(&said), "{}", stalled(&before));
    assert!(before.wake.is_some_and(|wake| wake <= at(100)));
    let then = decided(100);
    let pends: Vec<bool> = then.status.groups.iter().map(|group| group.pend_until.is_some()).collect();
    assert_eq!(pends, [false, false, true]);
    let said = format!("again until {})", at(220));
    assert!(stalled(&then).ends_with(&said), "{}", stalled(&then));
}

#[test]
fn a_draining_group_is_kept_when_its_node_is_uncordoned() {
    let mut fleet = fleet(2);
    (fleet.strategy.max_surge, fleet.strategy.max_unavailable) = (0, 1);
    let (mut groups, mut observed) = two(&fleet);
    (groups[0].goal, groups[0].phase) = (Goal::Retire, Phase::Draining);
    let mut capacity = nodes(&[0, 0, 0, 0, 1, 1]);
    let back = planned(&fleet, groups.clone(), &observed, &capacity);
    assert_eq!(goals(&back), [(0, Goal::Serve), (1, Goal::Serve)]);
    cordon(&mut observed, &mut capacity, 0);
    let gone = planned(&fleet, groups.clone(), &observed, &capacity);
    assert_eq!(goals(&gone)[0], (0, Goal::Retire));
    // Nor is a group wanted again whose pods terminate anyway.
    let (_, mut ending) = two(&fleet);
    ending.get_mut("llama-pods1-0").unwrap().pods[1].deleting = true;
    assert_eq!(goals(&planned(&fleet, groups, &ending, &capacity))[0], (0, Goal::Retire));
}

/// With 1/0 and no other place, so that a cordon would move nothing.
#[test]
fn a_group_on_a_machine_that_ends_leaves_whatever_the_budget() {
    let stays = fleet(2);
    let mut paused = ValidFleet { paused: true, ..stays.clone() };
    paused.strategy.partition = 2;
    for fleet in [stays, paused] {
        let (groups, mut observed) = two(&fleet);
        let mut capacity = nodes(&[0; 4]);
        cordon(&mut observed, &mut capacity, 0);
        let after = planned(&fleet, groups.clone(), &observed, &capacity);
        assert_eq!(goals(&after), [(0, Goal::Serve), (1, Goal::Serve)]);
        end(&mut observed, &mut capacity, 1);
        let after = planned(&fleet, groups, &observed, &capacity);
        assert_eq!(
            goals(&after),
            [(0, Goal::Retire), (1, Goal::Serve)],
            "nothing is created: there is no room"
        );
        assert_eq!(after[0].goal_reason.as_deref(), Some("node node-1 has a taint"));
        let (groups, _) = two(&fleet);
        let mut roomy = nodes(&[0, 0, 0, 0, 1, 1]);
        end(&mut observed, &mut roomy, 1);
        let after = planned(&fleet, groups, &observed, &roomy);
        assert_eq!(
            goals(&after),
            [(0, Goal::Retire), (1, Goal::Serve), (2, Goal::Serve)],
            "its replacement is created at once"
        );
        assert_eq!(after[2].avoid_nodes, ["node-0", "node-1"]);
    }
}

#[test]
fn a_swapping_group_on_a_machine_that_ends_leaves_too() {
    let fleet = fleet(2);
    let (mut groups, mut observed) = two(&fleet);
    (groups[0].goal, groups[0].phase) = (Goal::SwapEngine, Phase::Draining);
    groups[0].engine_revision = Some("eng0".into());
    let mut capacity = nodes(&[0; 4]);
    end(&mut observed, &mut capacity, 0);
    assert_eq!(goals(&planned(&fleet, groups, &observed, &capacity)), [(0, Goal::Retire), (1, Goal::Serve)]);
}

/// The only group of a fleet leaves: a notice about one machine is plausible.
#[test]
fn the_only_group_of_a_fleet_leaves_a_machine_that_ends() {
    let fleet = fleet(1);
    let (mut groups, mut observed) = two(&fleet);
    observed.remove(&groups.remove(1).name);
    let mut capacity = nodes(&[0; 4]);
    end(&mut observed, &mut capacity, 0);
    assert_eq!(goals(&planned(&fleet, groups, &observed, &capacity))[0], (0, Goal::Retire));
}

#[test]
fn the_last_serving_group_stays_if_all_nodes_are_tainted() {
    let fleet = fleet(2);
    let (mut groups, mut observed) = two(&fleet);
    let mut capacity = nodes(&[0; 6]);
    (0..4).for_each(|node| end(&mut observed, &mut capacity, node));
    let mut after = planned(&fleet, groups.clone(), &observed, &capacity);
    assert_eq!(goals(&after)[..2], [(0, Goal::Serve), (1, Goal::Retire)]);
    // The next pass does not take it either.
    after[1].phase = Phase::Draining;
    let again = planned(&fleet, after, &observed, &capacity);
    assert_eq!(goals(&again)[..2], [(0, Goal::Serve), (1, Goal::Retire)]);
    let decision = decided(&fleet, again, &observed, &capacity);
    let reason = decision.status.rollout.unwrap().reason.unwrap();
    let said = "llama-pods1-0 goes on serving until another group does, although node node-0 has a taint: so do the nodes of all others";
    assert!(reason.contains(said), "{reason}");
    // Once another one serves elsewhere, it leaves.
    groups.push(ready_entry(&fleet, 2));
    let after = planned(&fleet, groups, &observed, &capacity);
    assert_eq!(goals(&after)[..3], [(0, Goal::Retire), (1, Goal::Retire), (2, Goal::Serve)]);
}
