//! What counts as progress, and when a rollout is overdue.

use std::collections::BTreeMap;

use rayfleet_api::status::{GroupStatus, Phase, RolloutStatus, RolloutStep};
use rayfleet_api::{RayClusterFleetStatus, ValidFleet};

use super::words::*;
use crate::testing::*;
use crate::time;

/// The status with its second group in a phase before `Ready`.
pub(super) fn with_phase(status: &RayClusterFleetStatus, phase: Phase) -> RayClusterFleetStatus {
    let mut status = status.clone();
    (status.groups[1].phase, status.groups[1].ready_since) = (phase, None);
    (status.ready_replicas, status.available_replicas) = (1, 1);
    status
}

/// The status of an idle fleet of two, with a changed rollout entry.
fn at_rest(edit: impl FnOnce(&mut RolloutStatus)) -> (ValidFleet, RayClusterFleetStatus) {
    let fleet = fleet(2);
    let mut status = status_at_first(&fleet, vec![ready_entry(&fleet, 0), ready_entry(&fleet, 1)]);
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
        let status = status_of(fleet, groups, &BTreeMap::new(), before);
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
            rollout.to = to.into();
        });
        let groups =
            vec![ready_entry(&fleet, 0), GroupStatus { revision: "old".into(), ..ready_entry(&fleet, 1) }];
        let rollout = status_of(&fleet, groups, &BTreeMap::new(), &before).rollout.unwrap();
        assert_eq!(rollout.from, Some("old/eng1".into()));
        (rollout.revision_number, rollout.last_progress == Some(time::began(at(NOW))))
    };
    // One group less of the new revision is no progress.
    assert_eq!(remembered("pods1/eng1"), (Some(3), false));
    assert_eq!(remembered("other/eng1"), (None, true));
}

/// Condition `Stalled` of these groups, without progress since `began`.
pub(super) fn stalled(
    fleet: &ValidFleet,
    began: i64,
    groups: Vec<GroupStatus>,
    observed: &Observations,
) -> (String, String) {
    let mut before = status_at_first(fleet, groups.clone());
    before.rollout.as_mut().unwrap().last_progress = Some(time::began(at(began)));
    let (_, reason, message) = says(&status_of(fleet, groups, observed, &before), "Stalled");
    (reason, message)
}

#[test]
fn only_a_waiting_step_can_be_overdue() {
    let mut fleet = fleet(2);
    fleet.progress_deadline = Some(std::time::Duration::from_mins(1));
    let stalled = |fleet: &ValidFleet, began, groups| stalled(fleet, began, groups, &Observations::new()).0;
    let up = |slot| ready_entry(&fleet, slot);
    assert_eq!(stalled(&fleet, 41, vec![up(0)]), "NotStalled");
    assert_eq!(stalled(&fleet, 40, vec![up(0)]), "ProgressDeadlineExceeded");
    assert_eq!(stalled(&fleet, 0, vec![up(0), up(1)]), "NotStalled", "it is complete");
    let old = || GroupStatus { revision: "old".into(), ..up(0) };
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
        let now = status_of(&fleet, failed(), &Observations::new(), &rest);
        assert_eq!(says(&now, "Stalled").1, "NotStalled", "it has just failed");
        let mut later = now;
        later.rollout.as_mut().unwrap().last_progress = Some(time::began(at(NOW - 60)));
        // It is replaced by another group each time.
        for attempt in 1..3 {
            let name = format!("llama-pods1-1-{attempt}").into();
            let again = GroupStatus { name, attempt, failures: attempt, ..entry(&fleet, 1) };
            later = status_of(&fleet, vec![rest.groups[0].clone(), again], &Observations::new(), &later);
            assert_eq!(says(&later, "Stalled").1, "ProgressDeadlineExceeded", "attempt {attempt}");
        }
    }
}

/// A group that repeatedly comes up and dies: coming up again is no progress.
#[test]
fn a_flapping_group_does_not_extend_the_deadline() {
    let mut fleet = fleet(2);
    fleet.progress_deadline = Some(std::time::Duration::from_mins(30));
    let old = GroupStatus { revision: "old".into(), ..ready_entry(&fleet, 0) };
    let up = |restarts| GroupStatus {
        restarts,
        ready_since: Some(time::began(at(NOW))),
        ..ready_entry(&fleet, 1)
    };
    let down = |restarts| GroupStatus { restarts, ..in_phase(&fleet, 1, Phase::Failed, "out of memory") };
    let last = |status: &RayClusterFleetStatus| status.rollout.clone().unwrap().last_progress;
    let mut status =
        status_at_first(&fleet, vec![old.clone(), GroupStatus { restarts: 0, ..entry(&fleet, 1) }]);
    status.rollout.as_mut().unwrap().last_progress = Some(time::began(at(NOW - 60)));
    status = status_of(&fleet, vec![old.clone(), up(0)], &Observations::new(), &status);
    assert_eq!(last(&status), Some(time::began(at(NOW))), "it serves for the first time");
    let long_ago = Some(time::began(at(NOW - 1_800)));
    status.rollout.as_mut().unwrap().last_progress.clone_from(&long_ago);
    for restarts in 1..4 {
        status = status_of(&fleet, vec![old.clone(), down(restarts)], &Observations::new(), &status);
        status = status_of(&fleet, vec![old.clone(), up(restarts)], &Observations::new(), &status);
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
    let mut status = status_at_first(&fleet, vec![up(0)]);
    status.rollout.as_mut().unwrap().last_progress = Some(time::began(at(-100_000)));
    status = status_of(&fleet, vec![down(1)], &Observations::new(), &status);
    assert_eq!(says(&status, "Stalled").1, "NotStalled", "the first failure after a long time");
    let began = Some(time::began(at(NOW - 1_800)));
    status.rollout.as_mut().unwrap().last_progress.clone_from(&began);
    status = status_of(&fleet, vec![up(1)], &Observations::new(), &status);
    assert_eq!(status.rollout.as_ref().unwrap().step, RolloutStep::Complete);
    assert_eq!(says(&status, "Stalled").1, "NotStalled");
    status = status_of(&fleet, vec![down(1)], &Observations::new(), &status);
    assert_eq!(says(&status, "Stalled").1, "ProgressDeadlineExceeded");
    // A new failure has the whole deadline.
    let other = ValidFleet { replicas: 2, ..fleet.clone() };
    let mut status = status_at_first(&other, vec![up(1), ready_entry(&other, 1)]);
    status.rollout.as_mut().unwrap().last_progress.clone_from(&began);
    let lost = in_phase(&other, 1, Phase::Failed, "killed");
    assert_eq!(
        says(&status_of(&other, vec![up(1), lost], &Observations::new(), &status), "Stalled").1,
        "NotStalled"
    );
}

#[test]
fn a_group_makes_progress_when_it_becomes_available() {
    let mut fleet = fleet(1);
    fleet.min_ready = std::time::Duration::from_mins(1);
    let up = |ready: i64| {
        vec![GroupStatus { ready_since: Some(time::began(at(ready))), ..ready_entry(&fleet, 0) }]
    };
    let moved = |ready: i64, last: i64| {
        let mut before = status_at_first(&fleet, up(ready));
        before.rollout.as_mut().unwrap().last_progress = Some(time::began(at(last)));
        let status = status_of(&fleet, up(ready), &Observations::new(), &before);
        status.rollout.unwrap().last_progress == Some(time::began(at(NOW)))
    };
    assert!(moved(NOW - 60, NOW - 60) && !moved(NOW - 59, NOW - 59), "it is available from then on");
    assert!(!moved(NOW - 90, NOW - 30), "that was known before");
}
