//! A group that lives and yet does not work: an engine that hangs, a node that is lost; and who is blamed for it.

use rayfleet_api::status::{Goal, GroupStatus, Phase};

use super::{kinds, step};
use crate::observed::{ObservedGroup, ObservedJob, ObservedLoad};
use crate::testing::*;
use crate::time;

fn stalled(group: &GroupStatus, since: i64) -> ObservedGroup {
    let mut observed = healthy(group, t0());
    ray_mut(&mut observed).engine.load = Some(ObservedLoad {
        in_flight: 3,
        draining: Some(group.phase == Phase::Draining),
        kept_connections: 0,
        idle_seconds: None,
        stalled_since: Some(at(since)),
        deferred: false,
    });
    observed
}

#[test]
fn an_engine_that_hangs_fails_after_hung_after_and_not_before() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let early = step(&fleet, &group, &stalled(&group, 10), 69);
    assert_eq!((early.group.phase, early.wake), (Phase::Ready, Some(at(70))));
    let late = step(&fleet, &group, &stalled(&group, 10), 70);
    assert_eq!(
        (late.group.phase, kinds(&late)),
        (Phase::Failed, vec!["gate false".into(), "GroupFailed".into(), "stop".into()])
    );
    let message = late.group.message.unwrap();
    assert!(message.contains("hangs: 3 requests wait and it has made no step for 60 s"), "{message}");
}

/// A grammar may take minutes to compile, and the engine is as well as before. That it hangs in a step cannot be distinguished from that.
#[test]
fn an_engine_whose_requests_are_deferred_fails_only_after_much_longer() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = stalled(&group, 10);
    ray_mut(&mut observed).engine.load.as_mut().unwrap().deferred = true;
    let early = step(&fleet, &group, &observed, 10 + 1_799);
    assert_eq!((early.group.phase, early.wake), (Phase::Ready, Some(at(10 + 1_800))));
    let late = step(&fleet, &group, &observed, 10 + 1_800);
    assert_eq!(late.group.phase, Phase::Failed);
    let message = late.group.message.unwrap();
    assert!(
        message.contains("hangs: 3 requests are deferred and it has made no step for 1800 s"),
        "{message}"
    );
}

#[test]
fn a_drain_waits_for_requests_that_are_deferred() {
    let mut fleet = fleet(1);
    fleet.drain_timeout = std::time::Duration::from_hours(1);
    let group = GroupStatus {
        phase: Phase::Draining,
        left_endpoints_at: Some(time::began(at(5))),
        ..with_goal(ready_entry(&fleet, 0), Goal::Retire)
    };
    let mut observed = stalled(&group, 10);
    ray_mut(&mut observed).engine.load.as_mut().unwrap().deferred = true;
    observed.pods[0].gate_open = false;
    observed.endpoint_ready = Some(false);
    assert_eq!(step(&fleet, &group, &observed, 70).group.phase, Phase::Draining);
}

#[test]
fn a_drain_does_not_wait_for_an_engine_that_hangs() {
    let mut fleet = fleet(1);
    fleet.drain_timeout = std::time::Duration::from_hours(1);
    let group = GroupStatus {
        phase: Phase::Draining,
        left_endpoints_at: Some(time::began(at(5))),
        ..with_goal(ready_entry(&fleet, 0), Goal::Retire)
    };
    let mut observed = stalled(&group, 10);
    observed.pods[0].gate_open = false;
    observed.endpoint_ready = Some(false);
    let early = step(&fleet, &group, &observed, 69);
    assert_eq!((early.group.phase, early.lost_requests), (Phase::Draining, 0));
    let late = step(&fleet, &group, &observed, 70);
    assert_eq!((late.group.phase, late.lost_requests), (Phase::Stopping, 3));
    assert!(kinds(&late).contains(&"DrainTimeout".to_owned()));
}

#[test]
fn a_lost_node_ends_the_group_once_ray_misses_it_too() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    observed.pods[1].node_lost = true;
    let cut_off = step(&fleet, &group, &observed, 1);
    assert_eq!(cut_off.group.phase, Phase::Ready, "its kubelet is cut off, but Ray has it");
    ray_mut(&mut observed).nodes.retain(|ip| !ip.ends_with(".1"));
    let lost = step(&fleet, &group, &observed, 1);
    assert_eq!((lost.group.goal, lost.group.failures), (Goal::Retire, 1));
    let blamed = lost.blamed.unwrap();
    assert_eq!((blamed.nodes, blamed.served), (vec!["node-1".into()], true));
    assert!(blamed.cause.contains("node node-1 is lost"), "{}", blamed.cause);
}

#[test]
fn a_pod_that_ends_on_a_lost_node_does_not_end_a_whole_group() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    let mut old = pod(&group, 1);
    (old.name, old.ip) = ("old-worker".into(), Some("10.9.9.9".to_owned()));
    (old.deleting, old.node_lost) = (true, true);
    observed.pods.push(old);
    let whole = step(&fleet, &group, &observed, 1);
    assert_eq!((whole.group.phase, whole.group.goal), (Phase::Ready, Goal::Serve));
    observed.pods.remove(1);
    assert_eq!(
        step(&fleet, &group, &observed, 1).group.goal,
        Goal::Retire,
        "its worker is the one that is lost"
    );
}

#[test]
fn a_lost_head_ends_the_group_when_its_dashboard_is_silent() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    observed.pods[0].node_lost = true;
    observed.ray.as_mut().unwrap().state = Err("connect: timed out".to_owned());
    let lost = step(&fleet, &group, &observed, 1);
    assert_eq!(lost.group.goal, Goal::Retire);
    assert_eq!(lost.blamed.as_ref().unwrap().nodes, ["node-0"]);
    assert!(
        kinds(&lost).contains(&"delete".to_owned()),
        "nobody is left to stop an engine: {:?}",
        kinds(&lost)
    );
}

#[test]
fn the_node_of_a_dead_rank_is_blamed() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    let engine = &mut ray_mut(&mut observed).engine;
    engine.job = Some(ObservedJob::Ended("rank 1 died".to_owned()));
    engine.failure = Some(rank_died("rank 1 died", &["10.0.0.1"]));
    let failed = step(&fleet, &group, &observed, 1);
    assert_eq!(failed.blamed.unwrap().nodes, ["node-1"]);
}

#[test]
fn a_failure_of_all_nodes_at_once_is_no_nodes_failure() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    let engine = &mut ray_mut(&mut observed).engine;
    engine.job = Some(ObservedJob::Ended("all ranks died".to_owned()));
    engine.failure = Some(rank_died("all ranks died", &["10.0.0.0", "10.0.0.1"]));
    let failed = step(&fleet, &group, &observed, 1);
    assert_eq!((failed.group.phase, failed.blamed), (Phase::Failed, None));
}

#[test]
fn a_missing_pod_is_blamed_on_its_node() {
    let fleet = fleet(1);
    let mut group = ready_entry(&fleet, 0);
    group.nodes = vec!["node-0".into(), "node-1".into()];
    let mut observed = healthy(&group, t0());
    observed.pods.pop();
    assert_eq!(step(&fleet, &group, &observed, 1).blamed.unwrap().nodes, ["node-1"]);
}

#[test]
fn a_node_that_does_not_come_back_in_time_is_blamed() {
    let fleet = fleet(1);
    let edits: [fn(&mut ObservedGroup); 2] = [
        |observed| observed.pods[1].containers_ready = false,
        |observed| ray_mut(observed).nodes.truncate(1),
    ];
    for edit in edits {
        let group = ready_entry(&fleet, 0);
        let mut observed = healthy(&group, t0());
        edit(&mut observed);
        let not_ready = step(&fleet, &group, &observed, 1);
        assert_eq!(not_ready.blamed, None);
        let failed = step(&fleet, &not_ready.group, &observed, 61);
        let blamed = failed.blamed.unwrap();
        assert_eq!((blamed.nodes, blamed.served), (vec!["node-1".into()], true));
        assert!(blamed.cause.starts_with("not ready in time"), "{}", blamed.cause);
    }
}

#[test]
fn a_start_that_fails_on_one_node_says_that_it_never_served() {
    let fleet = fleet(1);
    let group = GroupStatus {
        phase: Phase::Loading,
        ready_since: None,
        start_deadline: Some(time::began(at(600))),
        ..ready_entry(&fleet, 0)
    };
    let mut observed = healthy(&group, t0());
    let engine = &mut ray_mut(&mut observed).engine;
    engine.failure = Some(rank_died("rank 1 died", &["10.0.0.1"]));
    assert!(!step(&fleet, &group, &observed, 1).blamed.unwrap().served);
}

#[test]
fn differences_of_the_placement_stay_until_the_next_launch() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.differences = vec!["rank 1 is on node-2".to_owned()];
    let failed = step(&fleet, &group, &observed, 1);
    assert_eq!(failed.group.misplaced, ["rank 1 is on node-2"]);
    ray_mut(&mut observed).engine.job = Some(ObservedJob::Ended("stopped".to_owned()));
    let next = step(&fleet, &failed.group, &observed, 20);
    assert_eq!((next.group.phase, next.group.misplaced.len()), (Phase::Placing, 0));
}

#[test]
fn a_rank_that_is_elsewhere_fails_an_engine_that_serves_or_could() {
    let fleet = fleet(1);
    let fails = |phase: Phase, healthy_: bool| {
        let deadline = (phase != Phase::Ready).then(|| time::began(at(600)));
        let group = GroupStatus { phase, start_deadline: deadline, ..ready_entry(&fleet, 0) };
        let mut observed = healthy(&group, t0());
        let engine = &mut ray_mut(&mut observed).engine;
        (engine.differences, engine.healthy) = (vec!["rank 1 is on node-2".to_owned()], healthy_);
        step(&fleet, &group, &observed, 1).group.misplaced.len() == 1
    };
    assert!(fails(Phase::Ready, true) && fails(Phase::Ready, false) && fails(Phase::Loading, true));
    assert!(!fails(Phase::Loading, false), "its ranks may not be up yet");
}

#[test]
fn a_silent_dashboard_beside_an_engine_that_serves_is_reported_once() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    let silent = |observed: &mut ObservedGroup, words: &str| {
        ray_mut(observed).engine.unverified = Some(words.to_owned());
    };
    silent(&mut observed, "time-out after 3 s");
    // A new leader knows of the ranks from the ledger only.
    ray_mut(&mut observed).engine.ranks.clear();
    let first = step(&fleet, &group, &observed, 1);
    assert_eq!((&first.group.ranks, &first.group.placement), (&group.ranks, &group.placement));
    assert_eq!((first.group.phase, kinds(&first)), (Phase::Ready, vec!["DashboardUnreachable".to_owned()]));
    assert!(first.group.message.as_ref().unwrap().contains("cannot be read: time-out after 3 s"));
    let again = step(&fleet, &first.group, &observed, 2);
    assert_eq!((&again.group, kinds(&again).len()), (&first.group, 0));
    ray_mut(&mut observed).engine.unverified = None;
    assert_eq!(step(&fleet, &again.group, &observed, 3).group.message, None);
}

#[test]
fn without_a_model_too_a_silent_dashboard_beside_an_engine_that_serves_is_reported_once() {
    let mut fleet = plain_fleet(1);
    for port in [Some(8000), None] {
        fleet.own_engine_port = port;
        let group = ready_entry(&fleet, 0);
        let mut observed = healthy(&group, t0());
        ray_mut(&mut observed).engine.unverified = Some("time-out after 3 s".to_owned());
        let first = step(&fleet, &group, &observed, 1);
        assert_eq!(
            (first.group.phase, kinds(&first)),
            (Phase::Ready, vec!["DashboardUnreachable".to_owned()])
        );
        assert!(first.group.message.as_ref().unwrap().contains("Ray nodes cannot be read: time-out"));
        let again = step(&fleet, &first.group, &observed, 2);
        assert_eq!((&again.group, kinds(&again).len()), (&first.group, 0));
        ray_mut(&mut observed).engine.unverified = None;
        assert_eq!(step(&fleet, &again.group, &observed, 3).group.message, None);
    }
}

#[test]
fn an_engine_that_is_broken_fails_although_its_job_still_runs() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.failure = Some(rank_died("rank 1 died: SIGKILL", &[]));
    let failed = step(&fleet, &group, &observed, 1);
    assert_eq!(
        (failed.group.phase, kinds(&failed)),
        (Phase::Failed, vec!["gate false".into(), "GroupFailed".into(), "stop".into()])
    );
    assert!(failed.group.message.unwrap().starts_with("rank 1 died: SIGKILL"));
}

#[test]
fn a_machine_without_a_sign_of_life_stops_traffic_although_ray_still_has_it() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    observed.ray.as_mut().unwrap().unreachable_ips = vec!["10.0.0.1".to_owned()];
    let not_ready = step(&fleet, &group, &observed, 1);
    assert_eq!(
        (not_ready.group.phase, kinds(&not_ready)),
        (Phase::Forming, vec!["gate false".into(), "GroupNotReady".into()])
    );
    assert!(
        not_ready
            .group
            .message
            .as_ref()
            .unwrap()
            .ends_with("no sign of life from pod llama-pods1-0-w on node-1")
    );
    observed.pods[1].node_lost = true;
    assert_eq!(step(&fleet, &not_ready.group, &observed, 2).group.goal, Goal::Retire);
}

#[test]
fn a_head_without_a_sign_of_life_stops_traffic_at_once() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    let ray = observed.ray.as_mut().unwrap();
    ray.state = Err("time-out".to_owned());
    assert_eq!(step(&fleet, &group, &observed, 1).group.phase, Phase::Ready, "a dashboard may be slow");
    observed.ray.as_mut().unwrap().unreachable_ips = vec!["10.0.0.0".to_owned()];
    let gone = step(&fleet, &group, &observed, 1);
    assert_eq!(
        (gone.group.phase, kinds(&gone)),
        (Phase::Forming, vec!["gate false".into(), "GroupNotReady".into()])
    );
}

#[test]
fn an_answer_about_another_launch_changes_nothing_for_a_group_that_serves() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.launch = Some("llama-pods1-0.eng1.0".parse().unwrap());
    let step = step(&fleet, &group, &observed, 10);
    assert_eq!((step.group.phase, kinds(&step)), (Phase::Ready, vec![]));
}
