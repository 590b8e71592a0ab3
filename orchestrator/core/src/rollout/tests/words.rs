//! The texts of a status, without a clock: conditions, steps and reasons.

use std::collections::BTreeMap;

use rayfleet_api::spec::WhenNoRoom;
use rayfleet_api::status::{FleetCondition, Goal, GroupStatus, Phase, RankCount, RolloutStep};
use rayfleet_api::{GroupName, RayClusterFleetStatus, ValidFleet};

use super::super::summary::Summary;
use super::super::{Inputs, Planner, RolloutTarget, plan, summarize};
use super::inputs;
use crate::observed::{ObservedGroup, Reach};
use crate::testing::*;
use crate::time;

pub(super) const NOW: i64 = 100;

pub(super) type Edit = fn(&mut RayClusterFleetStatus);

pub(super) type Observations = BTreeMap<GroupName, ObservedGroup>;

pub(super) fn summary_of(
    fleet: &ValidFleet,
    groups: Vec<GroupStatus>,
    observed: &BTreeMap<GroupName, ObservedGroup>,
    before: &RayClusterFleetStatus,
) -> Summary {
    let target = RolloutTarget::new(fleet, None, before, false);
    let inputs = inputs(fleet, &target, observed);
    summarize(&mut Planner::new(inputs, groups), before, 0)
}

pub(super) fn status_of(
    fleet: &ValidFleet,
    groups: Vec<GroupStatus>,
    observed: &BTreeMap<GroupName, ObservedGroup>,
    before: &RayClusterFleetStatus,
) -> RayClusterFleetStatus {
    summary_of(fleet, groups, observed, before).status
}

pub(super) fn status_at_first(fleet: &ValidFleet, groups: Vec<GroupStatus>) -> RayClusterFleetStatus {
    status_of(fleet, groups, &BTreeMap::new(), &RayClusterFleetStatus::default())
}

pub(super) fn condition<'s>(status: &'s RayClusterFleetStatus, type_: &str) -> &'s FleetCondition {
    status.conditions.iter().find(|condition| condition.type_ == type_).unwrap()
}

/// Status, reason and message.
pub(super) fn says(status: &RayClusterFleetStatus, type_: &str) -> (String, String, String) {
    let found = condition(status, type_);
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

pub(super) fn in_phase(fleet: &ValidFleet, slot: u32, phase: Phase, message: &str) -> GroupStatus {
    GroupStatus { phase, message: Some(message.to_owned()), ..entry(fleet, slot) }
}

#[test]
fn the_group_furthest_from_serving_is_named() {
    let fleet = fleet(4);
    let trouble = |groups: Vec<GroupStatus>| says(&status_at_first(&fleet, groups), "Available").2;
    let up = || ready_entry(&fleet, 0);
    let loads = || in_phase(&fleet, 1, Phase::Loading, "the engine loads");
    let pends = |slot| in_phase(&fleet, slot, Phase::Pending, "is created");
    let failed = || in_phase(&fleet, 3, Phase::Failed, "no such model");
    assert_eq!(trouble(vec![up()]), "1 of 4 groups are available");
    let first = |groups| trouble(groups).split("; ").nth(1).map(str::to_owned);
    assert_eq!(first(vec![up(), loads()]).unwrap(), "llama-pods1-1 is Loading: the engine loads");
    assert_eq!(first(vec![up(), loads(), pends(2)]).unwrap(), "llama-pods1-2 is Pending: is created");
    assert_eq!(first(vec![pends(1), pends(2), failed()]).unwrap(), "llama-pods1-3 is Failed: no such model");
    assert_eq!(first(vec![pends(2), pends(1)]).unwrap(), "llama-pods1-1 is Pending: is created");
    assert_eq!(first(vec![with_goal(failed(), Goal::Retire)]), None, "it is on its way out");
}

#[test]
fn a_fleet_is_available_within_max_unavailable() {
    let mut fleet = fleet(2);
    let enough = |fleet: &ValidFleet| {
        let status = status_at_first(fleet, vec![ready_entry(fleet, 0)]);
        assert_eq!((status.available_replicas, status.unavailable_replicas), (1, 1));
        says(&status, "Available").0
    };
    assert_eq!(enough(&fleet), "False");
    fleet.strategy.max_unavailable = 1;
    assert_eq!(enough(&fleet), "True");
    fleet.strategy.max_unavailable = 2;
    assert_eq!(
        says(&status_at_first(&fleet, vec![entry(&fleet, 0)]), "Available").0,
        "False",
        "no group serves"
    );
    fleet.replicas = 0;
    assert_eq!(says(&status_at_first(&fleet, vec![]), "Available").0, "True", "no group is wanted");
}

#[test]
fn a_failure_is_reported_until_its_group_has_recovered() {
    let fleet = fleet(1);
    let recovering = |phase, failures, restarts| GroupStatus {
        phase,
        failures,
        restarts,
        goal_reason: Some("failed: killed".to_owned()),
        ..entry(&fleet, 0)
    };
    let said = |group| says(&status_at_first(&fleet, vec![group]), "ReplicaFailure");
    let failure = |message: &str| ("True".to_owned(), "GroupFailed".to_owned(), message.to_owned());
    let none = ("False".to_owned(), "NoFailure".to_owned(), String::new());
    assert_eq!(
        said(in_phase(&fleet, 0, Phase::Failed, "killed; again")),
        failure("group llama-pods1-0: killed; again")
    );
    for (failures, restarts) in [(1, 0), (0, 1)] {
        let group = recovering(Phase::Loading, failures, restarts);
        assert_eq!(said(group), failure("group llama-pods1-0: failed: killed"));
        assert_eq!(said(recovering(Phase::Ready, failures, restarts)), none);
    }
    assert_eq!(said(recovering(Phase::Loading, 0, 0)), none, "its message only says why it waits");
    // It had failed once, and moves for another reason.
    let leaves = |phase| GroupStatus {
        goal: Goal::Retire,
        goal_reason: Some("node node-a is cordoned".to_owned()),
        ..recovering(phase, 1, 0)
    };
    assert_eq!(said(leaves(Phase::Draining)), none);
    let left = Some(time::began(at(1)));
    assert_eq!(said(GroupStatus { left_endpoints_at: left, ..leaves(Phase::Stopping) }), none);
    // What has failed as a whole is ended as it is.
    assert_eq!(said(recovering(Phase::Stopping, 1, 0)), failure("group llama-pods1-0: failed: killed"));
}

#[test]
fn a_refusal_by_kuberay_is_reported_before_failures_of_groups() {
    let fleet = fleet(1);
    let group = in_phase(&fleet, 0, Phase::Failed, "killed");
    let mut observed = healthy(&group, t0());
    observed.cluster.as_mut().unwrap().replica_failure = Some("no quota".to_owned());
    let observed = BTreeMap::from([(group.name.clone(), observed)]);
    let status = status_of(&fleet, vec![group], &observed, &RayClusterFleetStatus::default());
    let expected = ("True".into(), "RayClusterFailed".into(), "RayCluster llama-pods1-0: no quota".into());
    assert_eq!(says(&status, "ReplicaFailure"), expected);
}

#[test]
fn the_placement_is_verified_once_all_ranks_are_as_planned() {
    let fleet = fleet(2);
    let with = |edit: fn(&mut GroupStatus)| {
        let mut group = ready_entry(&fleet, 1);
        edit(&mut group);
        let (status, reason, message) =
            says(&status_at_first(&fleet, vec![ready_entry(&fleet, 0), group]), "PlacementVerified");
        format!("{status} {reason}: {message}")
    };
    assert_eq!(with(|_| {}), "True AsPlanned: all ranks of 2 ready groups are as planned");
    assert_eq!(
        with(|group| group.ready_since = None),
        "True AsPlanned: all ranks of 1 ready groups are as planned"
    );
    assert_eq!(
        with(|group| group.ranks = Some(RankCount { placed: 1, total: 2 })),
        "False RanksMissing: group llama-pods1-1: 1/2 ranks are where the plan has them"
    );
    assert_eq!(
        with(|group| group.message = Some("no dashboard".to_owned())),
        "Unknown DashboardUnreachable: group llama-pods1-1: no dashboard"
    );
    let words = GroupStatus { message: Some("another thing".to_owned()), ..ready_entry(&fleet, 1) };
    let groups = vec![ready_entry(&fleet, 0), words];
    let observed = groups.iter().map(|group| (group.name.clone(), healthy(group, t0()))).collect();
    let status = status_of(&fleet, groups, &observed, &RayClusterFleetStatus::default());
    assert_eq!(says(&status, "PlacementVerified").1, "AsPlanned", "Ray has answered");
    assert_eq!(
        with(|group| group.misplaced = vec!["rank 1 is on node-2".to_owned()]),
        "False WrongPlacement: group llama-pods1-1: rank 1 is on node-2"
    );
    assert_eq!(says(&status_at_first(&fleet, vec![entry(&fleet, 0)]), "PlacementVerified").1, "NoReadyGroup");
    let plain = status_at_first(&plain_fleet(1), vec![ready_entry(&plain_fleet(1), 0)]);
    assert!(plain.conditions.iter().all(|condition| condition.type_ != "PlacementVerified"));
}

#[test]
fn the_time_of_a_condition_changes_only_with_its_content() {
    let fleet = fleet(1);
    let earlier = |condition: &mut FleetCondition| {
        condition.last_update_time = Some(time::began(t0()));
        condition.last_transition_time = Some(time::began(t0()));
    };
    let mut before = status_at_first(&fleet, vec![entry(&fleet, 0)]);
    before.conditions.iter_mut().for_each(earlier);
    let (then, now) = (Some(time::began(t0())), Some(time::began(at(NOW))));
    let times = |group: GroupStatus| {
        let status = status_of(&fleet, vec![group], &BTreeMap::new(), &before);
        let found = condition(&status, "Available");
        (found.last_update_time.clone(), found.last_transition_time.clone())
    };
    assert_eq!(times(entry(&fleet, 0)), (then.clone(), then.clone()), "the same");
    assert_eq!(times(in_phase(&fleet, 0, Phase::Loading, "loads")), (now.clone(), then), "another message");
    assert_eq!(times(ready_entry(&fleet, 0)), (now.clone(), now), "another status");
}

#[test]
fn the_rollback_target_is_the_last_revision_that_was_complete() {
    let stable = |replicas, groups| status_at_first(&fleet(replicas), groups).rollout.unwrap().stable;
    let up = || ready_entry(&fleet(1), 0);
    assert_eq!(stable(1, vec![up()]), Some("pods1/eng1".into()));
    assert_eq!(stable(2, vec![up()]), None, "not all of it serves");
    assert_eq!(stable(0, vec![]), None, "none of it has served");
}

#[test]
fn the_step_follows_from_what_is_left_to_do() {
    let mut fleet = fleet(2);
    fleet.strategy.max_unavailable = 1;
    let up = |slot| ready_entry(&fleet, slot);
    let step = |groups: Vec<GroupStatus>| status_at_first(&fleet, groups).rollout.unwrap().step;
    let old_pods = GroupStatus { revision: "old".into(), ..up(1) };
    let old_engine = GroupStatus { engine_revision: Some("old".into()), ..up(1) };
    assert_eq!(step(vec![up(0), up(1)]), RolloutStep::Complete);
    assert_eq!(step(vec![up(0), old_pods.clone()]), RolloutStep::ReplacingGroups);
    assert_eq!(step(vec![up(0), old_engine]), RolloutStep::SwappingEngines);
    assert_eq!(step(vec![up(0)]), RolloutStep::StartingGroups);
    assert_eq!(step(vec![up(0), entry(&fleet, 1)]), RolloutStep::StartingGroups);
    assert_eq!(step(vec![up(0), up(1), up(2)]), RolloutStep::RemovingGroups);
    assert_eq!(step(vec![up(0), up(1), with_goal(old_pods, Goal::Retire)]), RolloutStep::RemovingGroups);
}

#[test]
fn progress_has_a_reason_in_one_word() {
    let mut fleet = fleet(2);
    fleet.progress_deadline = Some(std::time::Duration::from_mins(1));
    let old = |fleet: &ValidFleet| GroupStatus { revision: "old".into(), ..ready_entry(fleet, 1) };
    let word = |fleet: &ValidFleet, groups: Vec<GroupStatus>, began: i64| {
        let mut before = status_at_first(fleet, groups.clone());
        before.rollout.as_mut().unwrap().last_progress = Some(time::began(at(began)));
        let (status, reason, message) =
            says(&status_of(fleet, groups, &BTreeMap::new(), &before), "Progressing");
        (format!("{status} {reason}"), message)
    };
    let up = || vec![ready_entry(&fleet, 0), ready_entry(&fleet, 1)];
    let rolling = || vec![ready_entry(&fleet, 0), old(&fleet)];
    assert_eq!(word(&fleet, up(), 0), ("True Complete".to_owned(), "Complete".to_owned()));
    assert_eq!(word(&fleet, rolling(), 50).0, "True RollingOut");
    let (overdue, message) = word(&fleet, rolling(), 0);
    assert_eq!(overdue, "False ProgressDeadlineExceeded");
    assert!(message.starts_with("nothing has moved for 60 s; Replacing groups: 1 of 2 groups"), "{message}");
    let paused = ValidFleet { paused: true, ..fleet.clone() };
    assert_eq!(word(&paused, rolling(), 0).0, "Unknown Paused");
    assert_eq!(word(&paused, up(), 0).0, "True Complete", "a pause does not affect a complete rollout");
}

#[test]
fn the_next_pass_is_at_the_next_change_by_time() {
    let mut fleet = fleet(2);
    fleet.min_ready = std::time::Duration::from_secs(150);
    fleet.progress_deadline = Some(std::time::Duration::from_mins(10));
    let wake = |fleet: &ValidFleet, groups: Vec<GroupStatus>, before: &RayClusterFleetStatus| {
        summary_of(fleet, groups, &BTreeMap::new(), before).wake
    };
    let nothing = RayClusterFleetStatus::default();
    assert_eq!(wake(&fleet, vec![ready_entry(&fleet, 0)], &nothing), Some(at(150)), "it is available then");
    assert_eq!(wake(&fleet, vec![entry(&fleet, 0)], &nothing), Some(at(NOW + 600)), "it is overdue then");
    let mut before = status_at_first(&fleet, vec![entry(&fleet, 0)]);
    before.rollout.as_mut().unwrap().last_progress = Some(time::began(at(NOW - 600)));
    assert_eq!(wake(&fleet, vec![entry(&fleet, 0)], &before), None, "it is overdue already");
    fleet.min_ready = std::time::Duration::from_secs(100);
    let up = vec![ready_entry(&fleet, 0), ready_entry(&fleet, 1)];
    assert_eq!(wake(&fleet, up, &nothing), None, "it is available already");
}

#[test]
fn a_lack_of_room_holds_the_rollout_only_without_budget() {
    let mut fleet = fleet(2);
    fleet.min_ready = std::time::Duration::from_hours(1);
    let step = |fleet: &ValidFleet| {
        let before = RayClusterFleetStatus::default();
        let (target, observed, capacity) =
            (RolloutTarget::new(fleet, None, &before, false), BTreeMap::new(), nodes(&[]));
        let inputs = Inputs { capacity: Some(&capacity), ..inputs(fleet, &target, &observed) };
        let old = |slot| GroupStatus { revision: "old".into(), ..ready_entry(fleet, slot) };
        let mut planner = Planner::new(inputs, vec![old(0), old(1)]);
        plan(&mut planner);
        summarize(&mut planner, &before, 0).status.rollout.unwrap().step
    };
    assert_eq!(step(&fleet), RolloutStep::WaitingForRoom);
    fleet.strategy.max_unavailable = 1;
    assert_eq!(step(&fleet), RolloutStep::ReplacingGroups, "one leaves as soon as the others are available");
    fleet.strategy.when_no_room = WhenNoRoom::Wait;
    assert_eq!(step(&fleet), RolloutStep::WaitingForRoom);
}

#[test]
fn a_reason_names_only_a_few_groups() {
    let fleet = fleet(6);
    let moving = (0..4).map(|slot| in_phase(&fleet, slot, Phase::Loading, "loads"));
    let leaving = with_goal(ready_entry(&fleet, 5), Goal::Retire);
    let reason = |groups: Vec<GroupStatus>| status_at_first(&fleet, groups).rollout.unwrap().reason.unwrap();
    let up = ready_entry(&fleet, 4);
    assert_eq!(
        reason([up.clone()].into_iter().chain(moving).collect()),
        "5 of 6 groups are of the wanted revision; llama-pods1-0 is Loading; llama-pods1-1 is Loading; \
         llama-pods1-2 is Loading"
    );
    assert_eq!(reason(vec![up, leaving]), "1 of 6 groups are of the wanted revision; llama-pods1-5 is Ready");
}

#[test]
fn a_fleet_that_waits_for_suspended_groups_is_never_overdue() {
    let fleet = fleet(2);
    let ready = ready_entry(&fleet, 0);
    let why = "RayCluster x is suspended; Kueue resumes it";
    let groups = vec![ready, in_phase(&fleet, 1, Phase::Suspended, why)];
    let before = status_at_first(&fleet, groups.clone());
    assert_eq!(before.rollout.as_ref().unwrap().step, RolloutStep::Suspended);
    assert_eq!(says(&before, "Progressing").1, "Suspended");
    let (status, reason, message) = says(&before, "Suspended");
    assert_eq!((&*status, &*reason), ("True", "RayClusterSuspended"));
    assert!(message.contains("Kueue resumes it"), "{message}");
    let mut long_ago = before;
    long_ago.rollout.as_mut().unwrap().last_progress = Some(time::began(at(-100_000)));
    let later = status_of(&fleet, groups, &BTreeMap::new(), &long_ago);
    assert_eq!(says(&later, "Stalled").0, "False");
    // As soon as something else is missing too, the deadline applies again.
    let groups =
        vec![in_phase(&fleet, 0, Phase::Loading, "loads"), in_phase(&fleet, 1, Phase::Suspended, why)];
    let later = status_of(&fleet, groups, &BTreeMap::new(), &long_ago);
    assert_eq!(later.rollout.as_ref().unwrap().step, RolloutStep::StartingGroups);
    assert!(
        status_at_first(&fleet, vec![ready_entry(&fleet, 0)])
            .conditions
            .iter()
            .all(|c| c.type_ != "Suspended")
    );
}

#[test]
fn unreachable_groups_are_reported_and_count_as_available() {
    let fleet = fleet(2);
    let groups = [0, 1].map(|slot| ready_entry(&fleet, slot));
    let with = |reach: Reach, node_lost: bool| {
        let observed = groups.iter().map(|group| {
            let mut observed = healthy(group, t0());
            observed.ray.as_mut().unwrap().reach = reach;
            observed.pods[1].node_lost = node_lost;
            (group.name.clone(), observed)
        });
        status_of(&fleet, groups.to_vec(), &observed.collect(), &RayClusterFleetStatus::default())
    };
    let unreachable = with(Reach::AllSilent, false);
    let (status, reason, message) = says(&unreachable, "Unreachable");
    assert_eq!((&*status, &*reason), ("True", "NoPodAnswers"));
    assert!(
        message.starts_with("2 groups: no pod in namespace default answers the orchestrator"),
        "{message}"
    );
    assert_eq!(says(&unreachable, "Available").0, "True");
    for other in [with(Reach::Unsure, false), with(Reach::Silent, false), with(Reach::AllSilent, true)] {
        assert!(other.conditions.iter().all(|condition| condition.type_ != "Unreachable"));
    }
}
