//! Forecasts that a reader can follow.

use std::time::Duration;

use rayfleet_api::spec::{OnFailure, WhenNoRoom};
use rayfleet_api::status::{
    EndingTimes, Goal, GroupStatus, Phase, RollbackStatus, RolloutStatus, RolloutStep, StartupTimes,
};

use super::*;
use crate::capacity::{Capacity, PendingPod};
use crate::testing::{at, entry, fleet, gpus, nodes, plain_fleet, ready_entry, t0};

const PACE: Pace = Pace {
    pods: Duration::from_mins(1),
    start: Duration::from_mins(10),
    drain: Duration::from_secs(30),
    stop: Duration::ZERO,
    end: Duration::from_secs(30),
    observed: true,
    observed_end: true,
};

/// Serving groups on two nodes each, and nodes for `room` groups.
fn status(fleet: &ValidFleet, room: usize) -> (RayClusterFleetStatus, Capacity) {
    let mut capacity = nodes(&vec![1; 2 * room]);
    let groups: Vec<GroupStatus> = (0..fleet.replicas)
        .map(|slot| GroupStatus {
            nodes: vec![format!("node-{}", 2 * slot).into(), format!("node-{}", 2 * slot + 1).into()],
            ..ready_entry(fleet, slot)
        })
        .collect();
    for node in capacity.nodes.iter_mut().take(2 * groups.len()) {
        node.take(&gpus(1));
    }
    let ready = i32::try_from(groups.len()).unwrap();
    let rollout = RolloutStatus {
        step: RolloutStep::Complete,
        to: fleet.revision.clone(),
        stable: Some(fleet.revision.clone()),
        ..RolloutStatus::default()
    };
    let status = RayClusterFleetStatus {
        groups,
        replicas: ready,
        ready_replicas: ready,
        rollout: Some(rollout),
        ..RayClusterFleetStatus::default()
    };
    (status, capacity)
}

/// The forecast of a change to a serving fleet.
fn changed(before: &ValidFleet, room: usize, change: impl FnOnce(&mut ValidFleet)) -> Forecast {
    let (status, capacity) = status(before, room);
    let mut fleet = before.clone();
    fleet.generation += 1;
    change(&mut fleet);
    forecast(&Question {
        fleet: &fleet,
        stable: Some(before),
        status: &status,
        capacity: &capacity,
        pace: PACE,
        now: t0(),
    })
}

fn bounds(replicas: u32, surge: u32, unavailable: u32) -> ValidFleet {
    let mut fleet = fleet(replicas);
    (fleet.strategy.max_surge, fleet.strategy.max_unavailable) = (surge, unavailable);
    fleet
}

fn new_pods(fleet: &mut ValidFleet) {
    fleet.revision.pod = "pods2".into();
}

fn new_engine(fleet: &mut ValidFleet) {
    fleet.revision.engine = Some("eng2".into());
}

fn steps(forecast: &Forecast) -> Vec<String> {
    let line = |moment: &Moment| {
        let Moment { seconds, what, group, ready, groups, gpus, .. } = moment;
        format!("{seconds} {} {group}: {ready} of {groups}, {gpus}", what.as_str())
    };
    forecast.moments.iter().map(line).collect()
}

#[test]
fn one_group_with_a_surge_has_no_outage_and_takes_twice_the_gpus() {
    let forecast = changed(&bounds(1, 1, 0), 2, new_pods);
    assert_eq!(
        steps(&forecast),
        [
            "0 create llama-pods2-1: 1 of 2, 4",
            "660 serves llama-pods2-1: 1 of 2, 4",
            "660 drain llama-pods1-0: 1 of 2, 4",
            "690 delete llama-pods1-0: 1 of 2, 4",
        ]
    );
    assert_eq!((forecast.outcome, forecast.seconds), (Outcome::Complete, 720));
    assert_eq!((forecast.fewest_ready, forecast.gpus_now, forecast.gpus_peak), (1, 2, 4));
}

#[test]
fn one_group_in_place_has_an_outage_and_takes_no_more_gpus() {
    let forecast = changed(&bounds(1, 0, 1), 1, new_pods);
    assert_eq!(
        steps(&forecast),
        [
            "0 drain llama-pods1-0: 0 of 1, 2",
            "30 delete llama-pods1-0: 0 of 1, 2",
            "60 create llama-pods2-0: 0 of 1, 2",
            "720 serves llama-pods2-0: 1 of 1, 2",
        ]
    );
    assert_eq!((forecast.fewest_ready, forecast.gpus_peak), (0, 2));
}

#[test]
fn an_engine_change_swaps_engines_on_their_pods() {
    let forecast = changed(&bounds(2, 1, 1), 2, new_engine);
    assert_eq!(forecast.outcome, Outcome::Complete);
    let kinds: Vec<&str> = forecast.moments.iter().map(|moment| moment.what.as_str()).collect();
    assert_eq!(kinds, ["drain", "swap engine", "serves", "drain", "swap engine", "serves"]);
    assert_eq!((forecast.seconds, forecast.most_groups, forecast.fewest_ready), (1260, 2, 1));
}

#[test]
fn an_engine_takes_its_time_to_stop() {
    let before = bounds(1, 0, 1);
    let took = |stop: u64, change: fn(&mut ValidFleet)| {
        let (status, capacity) = status(&before, 1);
        let mut fleet = before.clone();
        change(&mut fleet);
        let pace = Pace { stop: Duration::from_secs(stop), ..PACE };
        let forecast = forecast(&Question {
            fleet: &fleet,
            stable: Some(&before),
            status: &status,
            capacity: &capacity,
            pace,
            now: t0(),
        });
        assert_eq!(forecast.outcome, Outcome::Complete);
        forecast.seconds
    };
    assert_eq!((took(0, new_engine), took(7, new_engine)), (630, 637));
    assert_eq!((took(0, new_pods), took(7, new_pods)), (720, 727));
}

#[test]
fn what_was_seen_of_ends_is_calculated_with() {
    let fleet = bounds(2, 1, 0);
    let status = |drain: Option<u32>, end: Option<u32>, stop: Option<u32>| RayClusterFleetStatus {
        ending_times: Some(EndingTimes { drain_seconds: drain, end_seconds: end, stop_seconds: stop }),
        ..RayClusterFleetStatus::default()
    };
    let pace = |status: &RayClusterFleetStatus| {
        let Pace { drain, stop, end, observed_end, .. } = Pace::of(&fleet, status);
        ([drain, stop, end].map(|wait| wait.as_secs()), observed_end)
    };
    assert_eq!(pace(&status(Some(4), Some(9), Some(2))), ([4, 2, 7], true));
    assert_eq!(pace(&status(Some(4), None, None)), ([4, 0, 30], false));
    assert_eq!(
        pace(&status(Some(400), Some(1), Some(2))),
        ([60, 2, 0], true),
        "no longer than drain.timeout"
    );
}

#[test]
fn a_stuck_rollout_is_reported() {
    let forecast = changed(&bounds(2, 1, 0), 2, new_pods);
    let Outcome::Stalled(why) = &forecast.outcome else { panic!("{forecast:?}") };
    assert!(why.contains("needs 2 nodes x 1 nvidia.com/gpu; best free: 0 + 0"), "{why}");
    assert_eq!(forecast.moments, []);
    let wait = |fleet: &mut ValidFleet| {
        fleet.strategy.when_no_room = WhenNoRoom::Wait;
        new_pods(fleet);
    };
    assert!(matches!(changed(&bounds(2, 1, 1), 2, wait).outcome, Outcome::Stalled(_)));
}

#[test]
fn a_pending_group_is_predicted_with_its_timeout() {
    let forecast = changed(&bounds(2, 1, 1), 2, |fleet| {
        fleet.strategy.when_no_room = WhenNoRoom::Pend;
        new_pods(fleet);
    });
    assert_eq!((forecast.outcome, forecast.most_groups, forecast.fewest_ready), (Outcome::Complete, 3, 1));
    let reported: Vec<String> =
        forecast.moments.iter().take(2).map(|it| format!("{} {}", it.seconds, it.what.as_str())).collect();
    assert_eq!(reported, ["0 create", "120 delete"]);
}

#[test]
fn groups_without_room_are_reported() {
    let forecast = changed(&bounds(1, 1, 0), 2, |fleet| fleet.replicas = 3);
    let Outcome::Stalled(why) = &forecast.outcome else { panic!("{forecast:?}") };
    assert!(
        why.contains("pod llama-pods1-2-0: no node has room for it; it asks for 1 nvidia.com/gpu"),
        "{why}"
    );
}

#[test]
fn a_canary_is_complete_with_its_partition() {
    let forecast = changed(&bounds(3, 1, 0), 4, |fleet| {
        fleet.strategy.partition = 2;
        new_pods(fleet);
    });
    assert_eq!(forecast.outcome, Outcome::Complete);
    let created = forecast.moments.iter().filter(|moment| moment.what == What::Create).count();
    assert_eq!((created, forecast.seconds), (1, 720));
}

#[test]
fn a_pause_ends_the_forecast() {
    let forecast = changed(&bounds(1, 1, 0), 2, |fleet| {
        fleet.paused = true;
        new_pods(fleet);
    });
    assert_eq!((forecast.outcome, forecast.moments.len()), (Outcome::Paused, 0));
}

#[test]
fn a_rollback_is_predicted_to_its_end() {
    let before = bounds(1, 0, 1);
    let (mut status, capacity) = status(&before, 1);
    let mut fleet = before.clone();
    fleet.strategy.on_failure = OnFailure::Rollback;
    new_engine(&mut fleet);
    status.groups[0].engine_revision.clone_from(&fleet.revision.engine);
    let rollback =
        RollbackStatus { failed: fleet.revision.clone(), cause: "no such model".to_owned(), since: None };
    status.rollout.as_mut().unwrap().rollback = Some(rollback);
    let question = Question {
        fleet: &fleet,
        stable: Some(&before),
        status: &status,
        capacity: &capacity,
        pace: PACE,
        now: t0(),
    };
    let forecast = forecast(&question);
    let swapped = forecast.moments.iter().find(|moment| moment.what == What::Swap);
    assert_eq!(swapped.map(|moment| moment.revision.clone()), Some("pods1/eng1".into()));
    let Outcome::Stalled(why) = &forecast.outcome else { panic!("{forecast:?}") };
    assert!(why.contains("no such model"), "{why}");
}

#[test]
fn the_duration_ends_when_the_rollout_is_complete() {
    let mut before = bounds(1, 0, 1);
    before.min_ready = Duration::from_mins(5);
    let forecast = changed(&before, 1, new_pods);
    assert_eq!((forecast.seconds, forecast.outcome), (720 + 300, Outcome::Complete));
    assert_eq!(forecast.moments.last().map(|last| last.seconds), Some(720));
}

#[test]
fn compatibility_mode_is_predicted_too() {
    let mut before = plain_fleet(2);
    (before.strategy.max_surge, before.strategy.max_unavailable) = (1, 0);
    before.own_engine_port = Some(8000);
    let forecast = changed(&before, 3, new_pods);
    assert_eq!((forecast.outcome, forecast.fewest_ready), (Outcome::Complete, 2));
    assert_eq!(forecast.seconds, 1440);
}

/// A rollout whose surge group has been loading since 400 s.
fn under_way(change: impl FnOnce(&mut ValidFleet)) -> Forecast {
    let before = bounds(1, 1, 0);
    let (mut status, mut capacity) = status(&before, 2);
    let mut fleet = before.clone();
    new_pods(&mut fleet);
    change(&mut fleet);
    let loading = GroupStatus {
        phase: Phase::Loading,
        uid: Some("uid-llama-pods2-1".to_owned()),
        launch: 1,
        started_at: Some(crate::time::began(at(-400))),
        start_deadline: Some(crate::time::began(at(5000))),
        nodes: vec!["node-2".into(), "node-3".into()],
        ..entry(&fleet, 1)
    };
    for node in &mut capacity.nodes[2..] {
        node.take(&gpus(1));
    }
    status.groups.push(loading);
    forecast(&Question {
        fleet: &fleet,
        stable: Some(&before),
        status: &status,
        capacity: &capacity,
        pace: PACE,
        now: t0(),
    })
}

#[test]
fn a_rollout_in_progress_continues_from_its_state() {
    let forecast = under_way(|_| {});
    assert_eq!(forecast.moments[0].what, What::Serve);
    assert_eq!((forecast.moments[0].seconds, forecast.outcome), (200, Outcome::Complete));
}

#[test]
fn steps_in_progress_complete_during_a_pause() {
    let forecast = under_way(|fleet| fleet.paused = true);
    assert_eq!(steps(&forecast), ["200 serves llama-pods2-1: 2 of 2, 4"]);
    assert_eq!(forecast.outcome, Outcome::Paused);
}

#[test]
fn waiting_pods_of_others_and_of_the_fleet_take_room_once() {
    let fleet = bounds(1, 1, 0);
    let (mut status, mut capacity) = status(&fleet, 1);
    status.groups[0].nodes.clear();
    status.groups[0].phase = Phase::Pending;
    status.groups[0].ready_since = None;
    capacity.nodes.iter_mut().for_each(|node| node.give_back(&gpus(1)));
    let waits = |name: &str| PendingPod {
        name: name.to_owned(),
        spec: crate::testing::gpu_pod(1).into(),
        ..PendingPod::default()
    };
    let mut outcome = |pending: &[&str]| {
        capacity.pending = pending.iter().map(|name| waits(name)).collect();
        let question = Question {
            fleet: &fleet,
            stable: None,
            status: &status,
            capacity: &capacity,
            pace: PACE,
            now: t0(),
        };
        forecast(&question).outcome
    };
    let own = ["default/llama-pods1-0-head", "default/llama-pods1-0-w"];
    assert_eq!(outcome(&own), Outcome::Complete);
}

#[test]
fn unknown_durations_are_assumed_from_the_size() {
    let mut known = RayClusterFleetStatus::default();
    let seconds = |fleet: &ValidFleet, status: &RayClusterFleetStatus| {
        let pace = Pace::of(fleet, status);
        let seconds = [pace.pods, pace.start, pace.drain, pace.end].map(|wait| wait.as_secs());
        (seconds, pace.observed)
    };
    let mut fleet = fleet(1);
    assert_eq!(seconds(&fleet, &known), ([60, 90, 30, 30], false), "two GPUs");
    fleet.drain_timeout = Duration::from_secs(10);
    let pace = |model: &str| StartupTimes {
        model: model.to_owned(),
        pods_seconds: Some(40),
        start_seconds: Some(300),
    };
    known.startup_times = Some(pace("/models/llama 1x2"));
    assert_eq!(seconds(&fleet, &known), ([40, 300, 10, 30], true));
    known.startup_times = Some(StartupTimes { start_seconds: None, ..pace("/models/llama 1x2") });
    assert_eq!(seconds(&fleet, &known), ([40, 90, 10, 30], false));
    known.startup_times = Some(pace(""));
    assert_eq!(seconds(&plain_fleet(1), &known).0, [0, 300, 30, 30], "the start is observed with its pods");
    assert_eq!(seconds(&plain_fleet(1), &RayClusterFleetStatus::default()).0, [60, 90, 30, 30]);
}

#[test]
fn a_group_continues_from_each_phase() {
    let outcome = |phase: Phase, goal: Goal, launch: u32| {
        let mut fleet = bounds(1, 1, 0);
        let (mut status, capacity) = status(&fleet, 2);
        fleet.replicas = u32::from(goal == Goal::Serve);
        let group = &mut status.groups[0];
        (group.phase, group.goal, group.launch) = (phase, goal, launch);
        (group.ready_since, group.started_at) = (None, Some(crate::time::began(at(-20))));
        group.start_deadline = (launch > 0).then(|| crate::time::began(at(5000)));
        status.ready_replicas = 0;
        let question = Question {
            fleet: &fleet,
            stable: None,
            status: &status,
            capacity: &capacity,
            pace: PACE,
            now: t0(),
        };
        let forecast = forecast(&question);
        assert_eq!(forecast.outcome, Outcome::Complete, "{phase:?}");
        steps(&forecast).join(", ")
    };
    let serves = |seconds: i64| format!("{seconds} serves llama-pods1-0: 1 of 1, 2");
    assert_eq!(outcome(Phase::Forming, Goal::Serve, 0), serves(40 + 600));
    assert_eq!(outcome(Phase::Loading, Goal::Serve, 1), serves(580));
    assert_eq!(outcome(Phase::Ready, Goal::Serve, 1), serves(0));
    assert_eq!(outcome(Phase::Draining, Goal::Retire, 1), "10 delete llama-pods1-0: 0 of 1, 2");
    assert_eq!(outcome(Phase::Stopping, Goal::Retire, 1), "0 delete llama-pods1-0: 0 of 1, 2");
}

#[test]
fn an_empty_fleet_comes_up() {
    let fleet = bounds(2, 1, 0);
    let capacity = nodes(&[1; 4]);
    let status = RayClusterFleetStatus::default();
    let question =
        Question { fleet: &fleet, stable: None, status: &status, capacity: &capacity, pace: PACE, now: t0() };
    let forecast = forecast(&question);
    assert_eq!((forecast.outcome, forecast.seconds, forecast.gpus_peak), (Outcome::Complete, 660, 4));
}

#[test]
fn groups_of_another_size_are_counted_with_their_own_size() {
    let forecast = changed(&bounds(2, 1, 0), 4, |fleet| {
        new_pods(fleet);
        fleet.shape.roles[1].count = 2;
    });
    let (ready, now, peak) = (forecast.fewest_ready, forecast.gpus_now, forecast.gpus_peak);
    assert_eq!((forecast.outcome, ready, now, peak), (Outcome::Complete, 2, 4, 8));
}
