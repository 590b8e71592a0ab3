//! The texts of a status, without a clock: conditions, steps and reasons.

use std::collections::BTreeMap;

use rayfleet_api::spec::WhenNoRoom;
use rayfleet_api::status::{FleetCondition, Goal, GroupStatus, Phase, RankCount, RolloutStatus, RolloutStep};
use rayfleet_api::{RayClusterFleetStatus, ValidFleet};

use super::super::summary::Summary;
use super::super::{Inputs, Planner, RolloutTarget, plan, summarize};
use super::inputs;
use crate::observed::{ObservedGroup, PodProblem, Reach};
use crate::testing::*;
use crate::time;

const NOW: i64 = 100;

type Edit = fn(&mut RayClusterFleetStatus);

type Seen = BTreeMap<String, ObservedGroup>;

fn summary_of(
    fleet: &ValidFleet,
    groups: Vec<GroupStatus>,
    observed: &BTreeMap<String, ObservedGroup>,
    before: &RayClusterFleetStatus,
) -> Summary {
    let target = RolloutTarget::new(fleet, None, before, false);
    let inputs = inputs(fleet, &target, observed);
    summarize(&mut Planner::new(inputs, groups), before, 0)
}

fn told_of(
    fleet: &ValidFleet,
    groups: Vec<GroupStatus>,
    observed: &BTreeMap<String, ObservedGroup>,
    before: &RayClusterFleetStatus,
) -> RayClusterFleetStatus {
    summary_of(fleet, groups, observed, before).status
}

fn reported(fleet: &ValidFleet, groups: Vec<GroupStatus>) -> RayClusterFleetStatus {
    told_of(fleet, groups, &BTreeMap::new(), &RayClusterFleetStatus::default())
}

fn condition<'s>(status: &'s RayClusterFleetStatus, type_: &str) -> &'s FleetCondition {
    status.conditions.iter().find(|condition| condition.type_ == type_).unwrap()
}

/// Status, reason and message.
fn says(status: &RayClusterFleetStatus, type_: &str) -> (String, String, String) {
    let found = condition(status, type_);
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

fn in_phase(fleet: &ValidFleet, slot: u32, phase: Phase, message: &str) -> GroupStatus {
    GroupStatus { phase, message: Some(message.to_owned()), ..entry(fleet, slot) }
}

#[test]
fn the_group_furthest_from_serving_is_named() {
    let fleet = fleet(4);
    let trouble = |groups: Vec<GroupStatus>| says(&reported(&fleet, groups), "Available").2;
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
        let status = reported(fleet, vec![ready_entry(fleet, 0)]);
        assert_eq!((status.available_replicas, status.unavailable_replicas), (1, 1));
        says(&status, "Available").0
    };
    assert_eq!(enough(&fleet), "False");
    fleet.strategy.max_unavailable = 1;
    assert_eq!(enough(&fleet), "True");
    fleet.strategy.max_unavailable = 2;
    assert_eq!(says(&reported(&fleet, vec![entry(&fleet, 0)]), "Available").0, "False", "no group serves");
    fleet.replicas = 0;
    assert_eq!(says(&reported(&fleet, vec![]), "Available").0, "True", "no group is wanted");
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
    let said = |group| says(&reported(&fleet, vec![group]), "ReplicaFailure");
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
}

#[test]
fn a_refusal_by_kuberay_is_reported_before_failures_of_groups() {
    let fleet = fleet(1);
    let group = in_phase(&fleet, 0, Phase::Failed, "killed");
    let mut observed = healthy(&group, t0());
    observed.cluster.as_mut().unwrap().replica_failure = Some("no quota".to_owned());
    let observed = BTreeMap::from([(group.name.clone(), observed)]);
    let status = told_of(&fleet, vec![group], &observed, &RayClusterFleetStatus::default());
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
            says(&reported(&fleet, vec![ready_entry(&fleet, 0), group]), "PlacementVerified");
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
    assert_eq!(
        with(|group| group.misplaced = vec!["rank 1 is on node-2".to_owned()]),
        "False WrongPlacement: group llama-pods1-1: rank 1 is on node-2"
    );
    assert_eq!(says(&reported(&fleet, vec![entry(&fleet, 0)]), "PlacementVerified").1, "NoReadyGroup");
    let plain = reported(&plain_fleet(1), vec![ready_entry(&plain_fleet(1), 0)]);
    assert!(plain.conditions.iter().all(|condition| condition.type_ != "PlacementVerified"));
}

#[test]
fn the_time_of_a_condition_changes_only_with_its_content() {
    let fleet = fleet(1);
    let earlier = |condition: &mut FleetCondition| {
        condition.last_update_time = Some(time::began(t0()));
        condition.last_transition_time = Some(time::began(t0()));
    };
    let mut before = reported(&fleet, vec![entry(&fleet, 0)]);
    before.conditions.iter_mut().for_each(earlier);
    let (then, now) = (Some(time::began(t0())), Some(time::began(at(NOW))));
    let times = |group: GroupStatus| {
        let status = told_of(&fleet, vec![group], &BTreeMap::new(), &before);
        let found = condition(&status, "Available");
        (found.last_update_time.clone(), found.last_transition_time.clone())
    };
    assert_eq!(times(entry(&fleet, 0)), (then.clone(), then.clone()), "the same");
    assert_eq!(times(in_phase(&fleet, 0, Phase::Loading, "loads")), (now.clone(), then), "another message");
    assert_eq!(times(ready_entry(&fleet, 0)), (now.clone(), now), "another status");
}

#[test]
fn the_rollback_target_is_the_last_revision_that_was_complete() {
    let stable = |replicas, groups| reported(&fleet(replicas), groups).rollout.unwrap().stable;
    let up = || ready_entry(&fleet(1), 0);
    assert_eq!(stable(1, vec![up()]).as_deref(), Some("pods1/eng1"));
    assert_eq!(stable(2, vec![up()]), None, "not all of it serves");
    assert_eq!(stable(0, vec![]), None, "none of it has served");
}

/// The status with its second group in a phase before `Ready`.
fn with_phase(status: &RayClusterFleetStatus, phase: Phase) -> RayClusterFleetStatus {
    let mut status = status.clone();
    (status.groups[1].phase, status.groups[1].ready_since) = (phase, None);
    (status.ready_replicas, status.available_replicas) = (1, 1);
    status
}

/// The status of an idle fleet of two, with a changed rollout entry.
fn at_rest(edit: impl FnOnce(&mut RolloutStatus)) -> (ValidFleet, RayClusterFleetStatus) {
    let fleet = fleet(2);
    let mut status = reported(&fleet, vec![ready_entry(&fleet, 0), ready_entry(&fleet, 1)]);
    let rollout = status.rollout.as_mut().unwrap();
    rollout.last_progress = Some(time::began(t0()));
    edit(rollout);
    (fleet, status)
}

fn not_ready(before: &mut RayClusterFleetStatus) {
    *before = with_phase(before, Phase::Forming);
    before.groups[1].not_ready_since = Some(time::began(at(NOW - 9)));
    before.rollout.as_mut().unwrap().step = RolloutStep::StartingGroups;
}

#[test]
fn a_higher_count_or_a_new_spec_is_progress() {
    let moved = |before: &RayClusterFleetStatus, fleet: &ValidFleet, groups: Vec<GroupStatus>| {
        let status = told_of(fleet, groups, &BTreeMap::new(), before);
        status.rollout.unwrap().last_progress == Some(time::began(at(NOW)))
    };
    let (mut fleet, rest) = at_rest(|_| {});
    let up = || rest.groups.clone();
    assert!(!moved(&rest, &fleet, up()));
    let edits: [(&str, Edit, bool); 9] = [
        ("one came", |before| drop(before.groups.pop()), true),
        (
            "one went",
            |before| before.groups.push(GroupStatus { name: "x".into(), ..GroupStatus::default() }),
            true,
        ),
        (
            "a failed group was removed",
            |before| {
                let failed = GroupStatus { name: "x".into(), failures: 1, ..before.groups[0].clone() };
                before.groups.push(failed);
            },
            false,
        ),
        ("fewer were new", |before| before.groups[1].engine_revision = Some("old".into()), true),
        ("one had failed", |before| before.groups[1].goal_reason = Some("failed: killed".into()), false),
        ("more were new", |before| before.updated_replicas = 3, false),
        ("fewer were ready", |before| before.groups[1].ready_since = None, true),
        ("one was not ready before", not_ready, false),
        ("one had not started before", |before| *before = with_phase(before, Phase::Loading), true),
    ];
    for (what, edit, expected) in edits {
        let mut before = rest.clone();
        edit(&mut before);
        assert_eq!(moved(&before, &fleet, up()), expected, "{what}");
    }
    fleet.generation += 1;
    assert!(moved(&rest, &fleet, up()), "another spec");
}

#[test]
fn rollout_state_is_reset_by_a_new_revision() {
    let remembered = |to: &str| {
        let (fleet, before) = at_rest(|rollout| {
            rollout.revision_number = Some(3);
            rollout.step = RolloutStep::ReplacingGroups;
            to.clone_into(&mut rollout.to);
        });
        let groups = vec![
            ready_entry(&fleet, 0),
            GroupStatus { revision: "old".to_owned(), ..ready_entry(&fleet, 1) },
        ];
        let rollout = told_of(&fleet, groups, &BTreeMap::new(), &before).rollout.unwrap();
        assert_eq!(rollout.from.as_deref(), Some("old/eng1"));
        (rollout.revision_number, rollout.last_progress == Some(time::began(at(NOW))))
    };
    // One group less of the new revision is no progress.
    assert_eq!(remembered("pods1/eng1"), (Some(3), false));
    assert_eq!(remembered("other/eng1"), (None, true));
}

/// Condition `Stalled` of these groups, without progress since `began`.
fn stalled(fleet: &ValidFleet, began: i64, groups: Vec<GroupStatus>, observed: &Seen) -> (String, String) {
    let mut before = reported(fleet, groups.clone());
    before.rollout.as_mut().unwrap().last_progress = Some(time::began(at(began)));
    let (_, reason, message) = says(&told_of(fleet, groups, observed, &before), "Stalled");
    (reason, message)
}

#[test]
fn only_a_waiting_step_can_be_overdue() {
    let mut fleet = fleet(2);
    fleet.progress_deadline = Some(std::time::Duration::from_mins(1));
    let stalled = |fleet: &ValidFleet, began, groups| stalled(fleet, began, groups, &Seen::new()).0;
    let up = |slot| ready_entry(&fleet, slot);
    assert_eq!(stalled(&fleet, 41, vec![up(0)]), "NotStalled");
    assert_eq!(stalled(&fleet, 40, vec![up(0)]), "ProgressDeadlineExceeded");
    assert_eq!(stalled(&fleet, 0, vec![up(0), up(1)]), "NotStalled", "it is complete");
    let old = || GroupStatus { revision: "old".to_owned(), ..up(0) };
    let mut paused = fleet.clone();
    paused.paused = true;
    assert_eq!(stalled(&paused, 0, vec![old(), up(1)]), "NotStalled", "it is paused");
    let repaired = in_phase(&fleet, 1, Phase::Forming, "1 of 2 Ray nodes are in");
    assert_eq!(
        stalled(&paused, 0, vec![old(), repaired]),
        "ProgressDeadlineExceeded",
        "a pause does not stop repairs"
    );
}

#[test]
fn a_failure_after_completion_has_the_whole_deadline_once() {
    let (mut fleet, rest) = at_rest(|_| {});
    fleet.progress_deadline = Some(std::time::Duration::from_mins(1));
    let failed = || {
        let failed = GroupStatus { failures: 1, ..in_phase(&fleet, 1, Phase::Failed, "killed") };
        vec![rest.groups[0].clone(), failed]
    };
    for paused in [false, true] {
        let fleet = ValidFleet { paused, ..fleet.clone() };
        let now = told_of(&fleet, failed(), &Seen::new(), &rest);
        assert_eq!(says(&now, "Stalled").1, "NotStalled", "it has just failed");
        let mut later = now;
        later.rollout.as_mut().unwrap().last_progress = Some(time::began(at(NOW - 60)));
        // It is replaced by another group each time.
        for attempt in 1..3 {
            let name = format!("llama-pods1-1-{attempt}");
            let again = GroupStatus { name, attempt, failures: attempt, ..entry(&fleet, 1) };
            later = told_of(&fleet, vec![rest.groups[0].clone(), again], &Seen::new(), &later);
            assert_eq!(says(&later, "Stalled").1, "ProgressDeadlineExceeded", "attempt {attempt}");
        }
    }
}

/// A group that repeatedly comes up and dies: coming up again is no progress.
#[test]
fn a_flapping_group_does_not_extend_the_deadline() {
    let mut fleet = fleet(2);
    fleet.progress_deadline = Some(std::time::Duration::from_mins(30));
    let old = GroupStatus { revision: "old".to_owned(), ..ready_entry(&fleet, 0) };
    let up = |restarts| GroupStatus {
        restarts,
        ready_since: Some(time::began(at(NOW))),
        ..ready_entry(&fleet, 1)
    };
    let down = |restarts| GroupStatus { restarts, ..in_phase(&fleet, 1, Phase::Failed, "out of memory") };
    let last = |status: &RayClusterFleetStatus| status.rollout.clone().unwrap().last_progress;
    let mut status = reported(&fleet, vec![old.clone(), GroupStatus { restarts: 0, ..entry(&fleet, 1) }]);
    status.rollout.as_mut().unwrap().last_progress = Some(time::began(at(NOW - 60)));
    status = told_of(&fleet, vec![old.clone(), up(0)], &Seen::new(), &status);
    assert_eq!(last(&status), Some(time::began(at(NOW))), "it serves for the first time");
    let long_ago = Some(time::began(at(NOW - 1_800)));
    status.rollout.as_mut().unwrap().last_progress.clone_from(&long_ago);
    for restarts in 1..4 {
        status = told_of(&fleet, vec![old.clone(), down(restarts)], &Seen::new(), &status);
        status = told_of(&fleet, vec![old.clone(), up(restarts)], &Seen::new(), &status);
        assert_eq!(last(&status), long_ago, "restart {restarts}");
    }
    assert_eq!(says(&status, "Stalled").1, "ProgressDeadlineExceeded");
}

#[test]
fn a_fleet_that_is_complete_only_in_between_is_overdue() {
    let mut fleet = fleet(1);
    fleet.progress_deadline = Some(std::time::Duration::from_mins(30));
    let up = |restarts| GroupStatus { restarts, ..ready_entry(&fleet, 0) };
    let down = |restarts| GroupStatus { restarts, ..in_phase(&fleet, 0, Phase::Failed, "out of memory") };
    let mut status = reported(&fleet, vec![up(0)]);
    status.rollout.as_mut().unwrap().last_progress = Some(time::began(at(-100_000)));
    status = told_of(&fleet, vec![down(1)], &Seen::new(), &status);
    assert_eq!(says(&status, "Stalled").1, "NotStalled", "the first failure after a long time");
    let began = Some(time::began(at(NOW - 1_800)));
    status.rollout.as_mut().unwrap().last_progress.clone_from(&began);
    status = told_of(&fleet, vec![up(1)], &Seen::new(), &status);
    assert_eq!(status.rollout.as_ref().unwrap().step, RolloutStep::Complete);
    assert_eq!(says(&status, "Stalled").1, "NotStalled");
    status = told_of(&fleet, vec![down(1)], &Seen::new(), &status);
    assert_eq!(says(&status, "Stalled").1, "ProgressDeadlineExceeded");
    // A new failure has the whole deadline.
    let other = ValidFleet { replicas: 2, ..fleet.clone() };
    let mut status = reported(&other, vec![up(1), ready_entry(&other, 1)]);
    status.rollout.as_mut().unwrap().last_progress.clone_from(&began);
    let lost = in_phase(&other, 1, Phase::Failed, "killed");
    assert_eq!(says(&told_of(&other, vec![up(1), lost], &Seen::new(), &status), "Stalled").1, "NotStalled");
}

#[test]
fn a_group_makes_progress_when_it_becomes_available() {
    let mut fleet = fleet(1);
    fleet.min_ready = std::time::Duration::from_mins(1);
    let up = |ready: i64| {
        vec![GroupStatus { ready_since: Some(time::began(at(ready))), ..ready_entry(&fleet, 0) }]
    };
    let moved = |ready: i64, last: i64| {
        let mut before = reported(&fleet, up(ready));
        before.rollout.as_mut().unwrap().last_progress = Some(time::began(at(last)));
        let status = told_of(&fleet, up(ready), &Seen::new(), &before);
        status.rollout.unwrap().last_progress == Some(time::began(at(NOW)))
    };
    assert!(moved(NOW - 60, NOW - 60) && !moved(NOW - 59, NOW - 59), "it is available from then on");
    assert!(!moved(NOW - 90, NOW - 30), "that was known before");
}

#[test]
fn a_surge_group_that_waits_for_the_quota_of_older_ones_is_a_lack_of_room() {
    let mut fleet = fleet(2);
    (fleet.strategy.max_surge, fleet.strategy.max_unavailable) = (1, 0);
    let why = "RayCluster x is suspended; Kueue resumes it";
    let old = |slot| GroupStatus { revision: "old".to_owned(), ..ready_entry(&fleet, slot) };
    let surge = |since: i64| GroupStatus {
        phase_since: Some(time::began(at(since))),
        ..in_phase(&fleet, 2, Phase::Suspended, why)
    };
    let nothing = RayClusterFleetStatus::default();
    let summary = |fleet: &ValidFleet, groups| summary_of(fleet, groups, &Seen::new(), &nothing);
    let held = summary(&fleet, vec![old(0), old(1), surge(NOW - 60)]).status;
    assert_eq!(held.rollout.as_ref().unwrap().step, RolloutStep::WaitingForRoom);
    let (state, reason, message) = says(&held, "Stalled");
    assert_eq!((&*state, &*reason), ("True", "NoRoom"));
    for part in
        ["llama-pods1-2", "set strategy.rollingUpdate.maxUnavailable: 1", "nominalQuota", "Kueue resumes it"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    let early = summary(&fleet, vec![old(0), old(1), surge(NOW - 59)]);
    assert_eq!((says(&early.status, "Stalled").1.as_str(), early.wake), ("NotStalled", Some(at(NOW + 1))));
    assert_eq!(early.status.rollout.unwrap().step, RolloutStep::Suspended);
    let mut loose = fleet.clone();
    loose.strategy.max_unavailable = 1;
    let others = [
        ("an older one may go", loose, old(1)),
        ("it is paused", ValidFleet { paused: true, ..fleet.clone() }, old(1)),
        ("an older one is on its way out", fleet.clone(), with_goal(old(1), Goal::Retire)),
    ];
    for (what, fleet, second) in others {
        let status = summary(&fleet, vec![old(0), second, surge(0)]).status;
        assert_ne!(says(&status, "Stalled").1, "NoRoom", "{what}");
    }
}

/// A group to be deleted whose RayCluster is held by a finalizer.
fn held(finalizer: &str, seconds: i64) -> (GroupStatus, Seen) {
    let group = GroupStatus { phase: Phase::Stopping, ..with_goal(ready_entry(&fleet(1), 0), Goal::Retire) };
    let mut observed = healthy(&group, t0());
    let cluster = observed.cluster.as_mut().unwrap();
    (cluster.deleting, cluster.deleting_since) = (true, Some(at(NOW - seconds)));
    cluster.finalizers = vec![finalizer.to_owned()];
    (group.clone(), BTreeMap::from([(group.name, observed)]))
}

#[test]
fn a_finalizer_that_holds_a_raycluster_is_named_at_once() {
    let mut fleet = fleet(1);
    (fleet.strategy.max_surge, fleet.strategy.max_unavailable) = (0, 1);
    let (group, observed) = held("example.com/backup", 0);
    let status = told_of(&fleet, vec![group], &observed, &RayClusterFleetStatus::default());
    let (state, reason, message) = says(&status, "Stalled");
    assert_eq!((state.as_str(), reason.as_str()), ("True", "HeldByFinalizer"));
    for part in ["RayCluster llama-pods1-0", "example.com/backup", "kubectl -n default patch raycluster"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("rollout undo"), "{message}");
    let (_, _, progress) = says(&status, "Progressing");
    assert!(progress.contains("example.com/backup"), "{progress}");
}

#[test]
fn the_finalizer_of_kuberay_is_named_after_a_minute() {
    let fleet = fleet(1);
    let summary = |seconds| {
        let (group, observed) = held("ray.io/gcs-ft-redis-cleanup-finalizer", seconds);
        summary_of(&fleet, vec![group], &observed, &RayClusterFleetStatus::default())
    };
    let early = summary(59);
    assert_eq!((says(&early.status, "Stalled").1.as_str(), early.wake), ("NotStalled", Some(at(NOW + 1))));
    assert!(says(&summary(60).status, "Stalled").2.contains("Redis cleanup"));
}

type Breaks = dyn Fn(&mut GroupStatus, &mut ObservedGroup);

/// The cure for a fleet without progress follows from what blocks it.
#[test]
fn the_cure_matches_the_blocker() {
    let mut fleet = fleet(1);
    fleet.progress_deadline = Some(std::time::Duration::from_mins(1));
    let cure = |edit: &Breaks| {
        let mut group = in_phase(&fleet, 0, Phase::Provisioning, "waits");
        let mut observed = healthy(&group, t0());
        edit(&mut group, &mut observed);
        let observed = BTreeMap::from([(group.name.clone(), observed)]);
        let (reason, message) = stalled(&fleet, 0, vec![group], &observed);
        assert_eq!(reason, "ProgressDeadlineExceeded");
        message
    };
    let problem = |reason: &'static str| {
        move |_: &mut GroupStatus, observed: &mut ObservedGroup| {
            let problem = PodProblem { reason: reason.to_owned(), message: String::new() };
            (observed.pods[1].problem, observed.pods[1].containers_ready) = (Some(problem), false);
        }
    };
    let leaves = |group: &mut GroupStatus, observed: &mut ObservedGroup| {
        (group.goal, group.phase) = (Goal::Retire, Phase::Stopping);
        observed.cluster = None;
        observed.pods.iter_mut().for_each(|pod| pod.deleting = true);
    };
    let cases: [(&Breaks, &str); 12] = [
        (&|_, observed| observed.pods[1].node = None, "add nodes"),
        (&|_, observed| observed.pods.clear(), "start KubeRay's operator"),
        (&|_, observed| observed.cluster.as_mut().unwrap().replica_failure = Some("quota".into()), "quota"),
        (&problem("ImagePullBackOff"), "imagePullSecrets"),
        (&problem("FailedAttachVolume"), "a ReadWriteOnce claim is on one node at a time"),
        (&problem("FailedMount"), "kubectl describe pod llama-pods1-0-w"),
        (&problem("FailedCreatePodSandBox"), "kubectl describe pod llama-pods1-0-w` and its node"),
        (&problem("Pulling"), "the image comes or its pull fails by itself"),
        (&problem("CrashLoopBackOff"), "kubectl logs -p llama-pods1-0-w"),
        (&|_, observed| observed.pods[1].node_lost = true, "see to node node-1"),
        (&leaves, "kubectl delete node node-0"),
        (&|_, _| {}, "raise spec.progressDeadlineSeconds"),
    ];
    for (edit, part) in cases {
        let message = cure(edit);
        assert!(message.contains(part) && !message.contains("rollout undo"), "{part}: {message}");
    }
}

#[test]
fn an_undo_is_advised_only_if_there_is_a_revision_to_go_back_to() {
    let mut fleet = fleet(1);
    fleet.progress_deadline = Some(std::time::Duration::from_mins(1));
    let groups = vec![in_phase(&fleet, 0, Phase::Loading, "loads")];
    let mut before = reported(&fleet, groups.clone());
    let rollout = before.rollout.as_mut().unwrap();
    rollout.last_progress = Some(time::began(t0()));
    rollout.stable = Some("pods0/eng0".to_owned());
    let message = says(&told_of(&fleet, groups, &Seen::new(), &before), "Stalled").2;
    assert!(
        message.ends_with("if the revision is at fault, `kubectl rayfleet rollout undo llama`"),
        "{message}"
    );
}

#[test]
fn the_step_follows_from_what_is_left_to_do() {
    let mut fleet = fleet(2);
    fleet.strategy.max_unavailable = 1;
    let up = |slot| ready_entry(&fleet, slot);
    let step = |groups: Vec<GroupStatus>| reported(&fleet, groups).rollout.unwrap().step;
    let old_pods = GroupStatus { revision: "old".to_owned(), ..up(1) };
    let old_engine = GroupStatus { engine_revision: Some("old".to_owned()), ..up(1) };
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
    let old = |fleet: &ValidFleet| GroupStatus { revision: "old".to_owned(), ..ready_entry(fleet, 1) };
    let word = |fleet: &ValidFleet, groups: Vec<GroupStatus>, began: i64| {
        let mut before = reported(fleet, groups.clone());
        before.rollout.as_mut().unwrap().last_progress = Some(time::began(at(began)));
        let (status, reason, message) =
            says(&told_of(fleet, groups, &BTreeMap::new(), &before), "Progressing");
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
    let mut before = reported(&fleet, vec![entry(&fleet, 0)]);
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
        let old = |slot| GroupStatus { revision: "old".to_owned(), ..ready_entry(fleet, slot) };
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
    let reason = |groups: Vec<GroupStatus>| reported(&fleet, groups).rollout.unwrap().reason.unwrap();
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
    let before = reported(&fleet, groups.clone());
    assert_eq!(before.rollout.as_ref().unwrap().step, RolloutStep::Suspended);
    assert_eq!(says(&before, "Progressing").1, "Suspended");
    let (status, reason, message) = says(&before, "Suspended");
    assert_eq!((&*status, &*reason), ("True", "RayClusterSuspended"));
    assert!(message.contains("Kueue resumes it"), "{message}");
    let mut long_ago = before;
    long_ago.rollout.as_mut().unwrap().last_progress = Some(time::began(at(-100_000)));
    let later = told_of(&fleet, groups, &BTreeMap::new(), &long_ago);
    assert_eq!(says(&later, "Stalled").0, "False");
    // As soon as something else is missing too, the deadline applies again.
    let groups =
        vec![in_phase(&fleet, 0, Phase::Loading, "loads"), in_phase(&fleet, 1, Phase::Suspended, why)];
    let later = told_of(&fleet, groups, &BTreeMap::new(), &long_ago);
    assert_eq!(later.rollout.as_ref().unwrap().step, RolloutStep::StartingGroups);
    assert!(reported(&fleet, vec![ready_entry(&fleet, 0)]).conditions.iter().all(|c| c.type_ != "Suspended"));
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
        told_of(&fleet, groups.to_vec(), &observed.collect(), &RayClusterFleetStatus::default())
    };
    let deaf = with(Reach::Deaf, false);
    let (status, reason, message) = says(&deaf, "Unreachable");
    assert_eq!((&*status, &*reason), ("True", "NoPodAnswers"));
    assert!(
        message.starts_with("2 groups: no pod in namespace default answers the orchestrator"),
        "{message}"
    );
    assert_eq!(says(&deaf, "Available").0, "True");
    for other in [with(Reach::Unsure, false), with(Reach::Silent, false), with(Reach::Deaf, true)] {
        assert!(other.conditions.iter().all(|condition| condition.type_ != "Unreachable"));
    }
}
