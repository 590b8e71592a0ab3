//! RayClusters that are not in the ledger, and names of new groups.

use std::collections::BTreeMap;

use rayfleet_api::spec::{StrategyType, WhenNoRoom};
use rayfleet_api::status::{Goal, GroupStatus};
use rayfleet_api::{GroupName, RayClusterFleetStatus, ValidFleet};

use crate::decide::{Decision, ReconcileInput, decide};
use crate::effect::Effect;
use crate::observed::ObservedGroup;
use crate::testing::*;

fn pass(
    groups: Vec<GroupStatus>,
    observed: &BTreeMap<GroupName, ObservedGroup>,
    replicas: u32,
    seconds: i64,
) -> Decision {
    pass_of(&fleet(replicas), groups, observed, seconds)
}

fn pass_of(
    fleet: &ValidFleet,
    groups: Vec<GroupStatus>,
    observed: &BTreeMap<GroupName, ObservedGroup>,
    seconds: i64,
) -> Decision {
    let status = RayClusterFleetStatus { groups, ..RayClusterFleetStatus::default() };
    decide(&ReconcileInput {
        fleet,
        stable: None,
        held: None,
        failed_writes: &[],
        status: &status,
        groups: observed,
        capacity: None,
        now: at(seconds),
    })
}

fn observed(groups: &[GroupStatus]) -> BTreeMap<GroupName, ObservedGroup> {
    groups.iter().map(|group| (group.name.clone(), healthy(group, t0()))).collect()
}

fn created(decision: &Decision) -> Vec<&str> {
    let name = |effect: &'_ Effect| match effect {
        Effect::CreateCluster { group } => Some(group.name.clone()),
        _ => None,
    };
    let names: Vec<_> = decision.effects.iter().filter_map(name).collect();
    let entries = decision.status.groups.iter().map(|group| group.name.as_str());
    entries.filter(|entry| names.iter().any(|name| name == entry)).collect()
}

#[test]
fn a_lost_status_is_rebuilt_without_new_groups() {
    let fleet = fleet(2);
    let groups = [ready_entry(&fleet, 0), ready_entry(&fleet, 1)];
    let decision = pass(Vec::new(), &observed(&groups), 2, 1);
    let names: Vec<_> = decision.status.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["llama-pods1-0", "llama-pods1-1"]);
    assert_eq!(created(&decision), Vec::<&str>::new());
    let other_engine = |group: &&GroupStatus| group.engine_revision != fleet.revision.engine;
    assert_eq!(decision.status.groups.iter().find(other_engine), None, "no engine is swapped for it");
}

#[test]
fn an_adopted_group_with_another_name_does_not_block_recreate() {
    let mut fleet = fleet(2);
    fleet.strategy.kind = StrategyType::Recreate;
    // Adopted: of the wanted revision, with the name that another controller gave it.
    let group = GroupStatus { name: "llama-bcdfgh-x7k2p".into(), ..ready_entry(&fleet, 0) };
    let there = observed(std::slice::from_ref(&group));
    let decision = pass_of(&fleet, vec![group.clone()], &there, 1);
    assert_eq!(created(&decision), ["llama-pods1-1"]);
    // One that is not in the ledger counts as old.
    let stray = GroupStatus { name: "llama-bcdfgh-zzzzz".into(), ..group.clone() };
    let mut there = there;
    there.insert(stray.name.clone(), ObservedGroup { cluster: None, ..healthy(&stray, t0()) });
    assert_eq!(created(&pass_of(&fleet, vec![group], &there, 1)), Vec::<&str>::new());
}

#[test]
fn a_group_that_was_never_observed_is_created_again() {
    let first = pass(Vec::new(), &BTreeMap::new(), 1, 1);
    assert_eq!(created(&first), ["llama-pods1-0"]);
    let second = pass(first.status.groups.clone(), &BTreeMap::new(), 1, 2);
    assert_eq!(created(&second), ["llama-pods1-0"]);
    assert_eq!(second.status.groups, first.status.groups);
}

#[test]
fn terminating_pods_keep_the_name_of_their_group() {
    let fleet = fleet(1);
    let mut observed = observed(&[entry(&fleet, 0)]);
    let group = observed.get_mut("llama-pods1-0").unwrap();
    group.cluster = None;
    group.pods.iter_mut().for_each(|pod| pod.deleting = true);
    let decision = pass(Vec::new(), &observed, 1, 1);
    assert_eq!(created(&decision), ["llama-pods1-0-1"]);
    assert_eq!(decision.status.groups[0].attempt, 1);
}

#[test]
fn a_retired_group_that_was_never_observed_is_kept_for_a_while() {
    let first = pass(Vec::new(), &BTreeMap::new(), 1, 1);
    let second = pass(first.status.groups, &BTreeMap::new(), 0, 2);
    assert_eq!((second.status.groups[0].goal, second.wake), (Goal::Retire, Some(at(602))));
    let kept = pass(second.status.groups.clone(), &BTreeMap::new(), 0, 11);
    assert_eq!((kept.status.groups.len(), kept.wake), (1, Some(at(12))));
    let struck = pass(second.status.groups, &BTreeMap::new(), 0, 12);
    assert_eq!(struck.status.groups, []);
}

#[test]
fn without_capacity_no_surge_group_is_created() {
    let mut old = fleet(1);
    let groups = [ready_entry(&old, 0)];
    old.revision.pod = "pods2".into();
    let observed = observed(&groups);
    let status = RayClusterFleetStatus { groups: groups.to_vec(), ..RayClusterFleetStatus::default() };
    let decision = decide(&ReconcileInput {
        fleet: &old,
        stable: None,
        held: None,
        failed_writes: &[],
        status: &status,
        groups: &observed,
        capacity: None,
        now: at(1),
    });
    assert_eq!(created(&decision), Vec::<&str>::new());
    let reason = decision.status.rollout.unwrap().reason.unwrap();
    assert!(reason.contains("the nodes is not known: bind ClusterRole rayfleet-capacity"), "{reason}");
}

#[test]
fn without_capacity_a_surge_group_pends_if_allowed() {
    let mut old = fleet(1);
    let groups = [ready_entry(&old, 0)];
    old.revision.pod = "pods2".into();
    old.strategy.when_no_room = WhenNoRoom::Pend;
    let observed = observed(&groups);
    let status = RayClusterFleetStatus { groups: groups.to_vec(), ..RayClusterFleetStatus::default() };
    let decision = decide(&ReconcileInput {
        fleet: &old,
        stable: None,
        held: None,
        failed_writes: &[],
        status: &status,
        groups: &observed,
        capacity: None,
        now: at(1),
    });
    assert_eq!(decision.status.groups.len(), 2, "{:?}", decision.status.groups);
}

#[test]
fn an_adopted_group_that_serves_and_is_not_wanted_is_drained() {
    let fleet = fleet(2);
    let groups = [ready_entry(&fleet, 0), ready_entry(&fleet, 1)];
    let mut observed = observed(&groups);
    for (group, observed) in groups.iter().zip(observed.values_mut()) {
        observed.pods[0].opened_for = Some(group.launch_id());
    }
    let decision = pass(Vec::new(), &observed, 1, 1);
    let leaving: Vec<_> = decision.status.groups.iter().filter(|group| group.goal == Goal::Retire).collect();
    assert_eq!(leaving.len(), 1, "{:?}", decision.status.groups);
    assert_eq!(leaving[0].phase, rayfleet_api::status::Phase::Draining);
}
