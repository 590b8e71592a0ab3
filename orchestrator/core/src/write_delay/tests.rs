//! What is written at once, soon, later and never.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rayfleet_api::LaunchId;
use rayfleet_api::status::{
    EndingTimes, FleetCondition, Goal, GroupStatus, Phase, RankCount, RankPlacement, RolloutStatus,
    RolloutStep, StartupTimes,
};

use super::*;

fn status(change: impl FnOnce(&mut RayClusterFleetStatus)) -> RayClusterFleetStatus {
    let group = |name: &str| GroupStatus { name: name.into(), ..GroupStatus::default() };
    let condition = FleetCondition {
        type_: "Available".into(),
        status: "False".into(),
        last_update_time: None,
        last_transition_time: None,
        reason: "Few".into(),
        message: "0 of 2".into(),
    };
    let mut status = RayClusterFleetStatus {
        groups: vec![group("a"), group("b")],
        conditions: vec![condition],
        rollout: Some(RolloutStatus { to: "p/e".into(), ..RolloutStatus::default() }),
        ..RayClusterFleetStatus::default()
    };
    change(&mut status);
    status
}

fn wait(change: impl FnOnce(&mut RayClusterFleetStatus)) -> Option<Duration> {
    max_write_delay(&status(|_| {}), &status(|_| {}), &status(change), &[])
}

fn time(second: i64) -> Time {
    Time(jiff::Timestamp::from_second(second).unwrap())
}

fn rollout_of(status: &mut RayClusterFleetStatus) -> &mut RolloutStatus {
    status.rollout.as_mut().unwrap()
}

#[test]
fn nothing_new_is_never_written() {
    assert_eq!(wait(|_| {}), None);
}

#[test]
fn facts_that_decisions_need_are_written_at_once() {
    let changes: [fn(&mut RayClusterFleetStatus); 13] = [
        |status| status.groups[0].goal = Goal::Retire,
        |status| status.groups[0].phase = Phase::Failed,
        |status| status.groups[0].phase = Phase::Draining,
        |status| status.groups[0].launch = 1,
        |status| status.groups[0].failures = 1,
        |status| status.groups[0].restarts = 1,
        |status| status.groups[0].engine_revision = Some("e".into()),
        |status| status.groups[0].avoid_nodes = vec!["n".into()],
        |status| drop(status.groups.pop()),
        |status| status.groups.push(GroupStatus { name: "c".into(), ..GroupStatus::default() }),
        |status| rollout_of(status).to = "q/e".into(),
        |status| rollout_of(status).lost_requests = 1,
        |status| status.rollout = None,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(wait(change), Some(Duration::ZERO), "change {number}");
    }
}

#[test]
fn phases_wait_a_little_and_messages_longer() {
    let phases: [fn(&mut RayClusterFleetStatus); 5] = [
        |status| status.groups[1].phase = Phase::Loading,
        |status| status.groups[1].uid = Some("u".into()),
        |status| status.available_replicas = 1,
        |status| status.conditions[0].status = "True".into(),
        |status| rollout_of(status).step = RolloutStep::Complete,
    ];
    for (number, change) in phases.into_iter().enumerate() {
        assert_eq!(wait(change), Some(PHASE_DELAY), "change {number}");
    }
    let words: [fn(&mut RayClusterFleetStatus); 7] = [
        |status| status.groups[1].left_endpoints_at = Some(time(1)),
        |status| status.groups[1].forming_since = Some(time(1)),
        |status| status.groups[1].waiting_since = Some(time(1)),
        |status| status.groups[1].message = Some("1 of 2 pods are ready".into()),
        |status| status.groups[1].in_flight = Some(3),
        |status| status.conditions[0].message = "1 of 2".into(),
        |status| rollout_of(status).reason = Some("a is Loading".into()),
    ];
    for (number, change) in words.into_iter().enumerate() {
        assert_eq!(wait(change), Some(TEXT_DELAY), "change {number}");
    }
}

#[test]
fn counts_and_dates_wait_like_phases_and_placement_like_messages() {
    let changes: [fn(&mut RayClusterFleetStatus); 10] = [
        |status| status.observed_generation = Some(2),
        |status| status.replicas = 1,
        |status| status.updated_replicas = 1,
        |status| status.ready_replicas = 1,
        |status| status.unavailable_replicas = 1,
        |status| status.startup_times = Some(StartupTimes::default()),
        |status| status.ending_times = Some(EndingTimes::default()),
        |status| status.conditions[0].reason = "Enough".into(),
        |status| status.groups[0].phase_since = Some(time(1)),
        |status| rollout_of(status).revision_number = Some(2),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(wait(change), Some(PHASE_DELAY), "change {number}");
    }
    let words: [fn(&mut RayClusterFleetStatus); 7] = [
        |status| status.groups[0].head = Some("a-head".into()),
        |status| status.groups[0].nodes = vec!["n".into()],
        |status| status.groups[0].ranks = Some(RankCount { placed: 1, total: 2 }),
        |status| status.groups[0].placement = vec![RankPlacement::default()],
        |status| status.groups[0].misplaced = vec!["rank 1 is on n".into()],
        |status| status.groups[0].in_flight_at = Some(time(1)),
        |status| rollout_of(status).last_progress = Some(time(1)),
    ];
    for (number, change) in words.into_iter().enumerate() {
        assert_eq!(wait(change), Some(TEXT_DELAY), "words {number}");
    }
}

#[test]
fn phases_are_written_early_only_on_the_way_up() {
    let up =
        [Phase::Pending, Phase::Provisioning, Phase::Forming, Phase::Placing, Phase::Loading, Phase::Probing];
    let at = |phase: Phase| status(|status| status.groups[0].phase = phase);
    let step = |from, to| max_write_delay(&at(from), &at(from), &at(to), &[]);
    for phases in up.windows(2) {
        assert_eq!(step(phases[0], phases[1]), Some(PHASE_DELAY), "{phases:?}");
    }
    for other in [Phase::Draining, Phase::Stopping, Phase::Failed] {
        assert_eq!(step(Phase::Loading, other), Some(Duration::ZERO), "to {other:?}");
    }
    for other in [Phase::Ready, Phase::Draining, Phase::Stopping, Phase::Failed] {
        assert_eq!(step(other, Phase::Loading), Some(Duration::ZERO), "from {other:?}");
    }
    let ready_since = |phase, since| {
        status(|status| {
            status.groups[0].phase = phase;
            status.groups[0].ready_since = Some(time(since));
        })
    };
    let drains = |since| ready_since(Phase::Draining, since);
    assert_eq!(max_write_delay(&drains(1), &drains(1), &drains(2), &[]), Some(Duration::ZERO));
    let (leaves, serves) = (drains(1), ready_since(Phase::Ready, 1));
    assert_eq!(max_write_delay(&serves, &serves, &leaves, &[]), Some(Duration::ZERO));
}

fn launch() -> LaunchId {
    LaunchId { group: "a".into(), engine: None, number: 1 }
}

fn gate(open: bool) -> Effect {
    Effect::SetGate { pod: "a-head".into(), pod_uid: "u".into(), open, launch: launch(), reason: "Ready" }
}

#[test]
fn no_effect_is_ahead_of_the_ledger_but_those_that_open_a_group() {
    let (before, after) = (status(|_| {}), status(|status| status.groups[0].phase = Phase::Probing));
    let probe = Effect::Probe { launch: launch() };
    let event = |warning| Effect::Event { warning, reason: "GroupReady", message: String::new() };
    for ahead in [probe.clone(), gate(true), event(false)] {
        assert_eq!(
            max_write_delay(&before, &before, &after, std::slice::from_ref(&ahead)),
            Some(PHASE_DELAY)
        );
        assert_eq!(max_write_delay(&before, &after, &after, std::slice::from_ref(&ahead)), None);
    }
    let stop = Effect::StopEngine { launch: launch() };
    for behind in [gate(false), event(true), stop] {
        let both = [probe.clone(), behind.clone()];
        assert_eq!(max_write_delay(&before, &before, &after, &both), Some(Duration::ZERO));
        assert_eq!(
            max_write_delay(&before, &after, &after, std::slice::from_ref(&behind)),
            Some(Duration::ZERO)
        );
        assert_eq!(max_write_delay(&after, &after, &after, &[behind]), None);
    }
}

#[test]
fn readiness_is_written_early_unless_its_time_is_nearly_over() {
    let up = |deadline: Option<i64>| {
        status(|status| {
            status.groups[0].phase = Phase::Probing;
            status.groups[0].phase_since = Some(time(10));
            status.groups[0].started_at = Some(time(5));
            status.groups[0].start_deadline = deadline.map(time);
        })
    };
    let ready = status(|status| {
        status.groups[0].phase = Phase::Ready;
        status.groups[0].phase_since = Some(time(100));
        status.groups[0].ready_since = Some(time(101));
    });
    for (deadline, wait) in [
        (None, PHASE_DELAY),
        (Some(160), PHASE_DELAY),
        (Some(159), Duration::ZERO),
        (Some(50), Duration::ZERO),
    ] {
        let before = up(deadline);
        assert_eq!(max_write_delay(&before, &before, &ready, &[gate(true)]), Some(wait), "{deadline:?}");
    }
    let forgiven = |status: &RayClusterFleetStatus| {
        let mut status = status.clone();
        status.groups[0].failed_starts = 0;
        status
    };
    let mut before = up(None);
    before.groups[0].failed_starts = 2;
    assert_eq!(max_write_delay(&before, &before, &forgiven(&ready), &[]), Some(Duration::ZERO));
}

#[test]
fn no_effect_waits_for_words() {
    let (before, after) = (status(|_| {}), status(|status| status.groups[0].message = Some("ends".into())));
    let stop = Effect::StopEngine { launch: launch() };
    assert_eq!(max_write_delay(&before, &before, &after, &[stop]), Some(TEXT_DELAY));
}

#[test]
fn a_message_with_a_warning_event_waits_less() {
    let (before, after) =
        (status(|_| {}), status(|status| status.groups[0].message = Some("no such image".into())));
    let event = |warning| Effect::Event { warning, reason: "PodProblem", message: String::new() };
    assert_eq!(max_write_delay(&before, &before, &after, &[event(true)]), Some(PHASE_DELAY));
    assert_eq!(max_write_delay(&before, &before, &after, &[event(false)]), Some(TEXT_DELAY));
}

#[test]
fn the_end_of_a_retired_group_waits_like_a_phase() {
    let leaving = |group: &str| {
        status(|status| {
            let group = status.groups.iter_mut().find(|entry| entry.name == group).unwrap();
            (group.goal, group.phase) = (Goal::Retire, Phase::Stopping);
        })
    };
    let gone = |mut status: RayClusterFleetStatus, group: &str| {
        status.groups.retain(|entry| entry.name != group);
        status
    };
    for group in ["a", "b"] {
        let before = leaving(group);
        assert_eq!(
            max_write_delay(&before, &before, &gone(before.clone(), group), &[]),
            Some(PHASE_DELAY),
            "{group}"
        );
    }
    let before = leaving("a");
    assert_eq!(max_write_delay(&before, &before, &gone(before.clone(), "b"), &[]), Some(Duration::ZERO));
    let mut next = gone(before.clone(), "a");
    next.groups.push(GroupStatus { name: "c".into(), ..GroupStatus::default() });
    assert_eq!(max_write_delay(&before, &before, &next, &[]), Some(Duration::ZERO));
    for (goal, phase) in [(Goal::Retire, Phase::Draining), (Goal::Serve, Phase::Stopping)] {
        let before = status(|status| (status.groups[0].goal, status.groups[0].phase) = (goal, phase));
        let next = gone(before.clone(), "a");
        assert_eq!(
            max_write_delay(&before, &before, &next, &[]),
            Some(Duration::ZERO),
            "{goal:?}, {phase:?}"
        );
    }
}

#[test]
fn ready_since_waits_like_a_phase_while_the_group_is_ready() {
    let ready = |since: i64| {
        status(|status| {
            status.groups[0].phase = Phase::Ready;
            status.groups[0].ready_since = Some(time(since));
        })
    };
    assert_eq!(max_write_delay(&ready(1), &ready(1), &ready(2), &[]), Some(PHASE_DELAY));
}

#[test]
fn groups_that_are_gone_or_new_in_the_middle_of_many_do_not_hide_each_other() {
    let many = |numbers: &[u32]| {
        status(|status| {
            let group = |number: &u32| GroupStatus {
                name: format!("g-{number}").into(),
                goal: if number % 2 == 1 { Goal::Retire } else { Goal::Serve },
                phase: if number % 2 == 1 { Phase::Stopping } else { Phase::Loading },
                ..GroupStatus::default()
            };
            status.groups = numbers.iter().map(group).collect();
        })
    };
    let step =
        |before: &[u32], after: &[u32]| max_write_delay(&many(before), &many(before), &many(after), &[]);
    let all = [1, 2, 3, 4, 5, 6, 7];
    for left in [&[2, 4, 6][..], &[1, 2, 4, 5, 6], &[2, 3, 4, 6, 7]] {
        assert_eq!(step(&all, left), Some(PHASE_DELAY), "{left:?}: those on their way out are gone");
    }
    for other in [&[2, 6][..], &[1, 2, 4, 6, 8], &[8, 2, 4, 6], &[]] {
        assert_eq!(step(&all, other), Some(Duration::ZERO), "{other:?}");
    }
}
