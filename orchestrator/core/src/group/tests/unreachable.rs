//! Nothing is heard of a group: of it alone, or of anybody.

use rayfleet_api::status::{Goal, GroupStatus, Phase};

use super::{kinds, step};
use crate::observed::{ObservedGroup, Reach};
use crate::testing::*;
use crate::time;

/// A group that Kubernetes holds well and of which nothing is heard.
fn unheard(group: &GroupStatus, reach: Reach) -> ObservedGroup {
    let mut observed = healthy(group, t0());
    let ray = observed.ray.as_mut().unwrap();
    (ray.state, ray.reach) = (Err("no answer within 3 s".to_owned()), reach);
    observed
}

#[test]
fn a_replica_that_hears_nobody_leaves_what_serves_as_it_is_and_says_so_once() {
    for fleet in [fleet(1), plain_fleet(1)] {
        let ready = ready_entry(&fleet, 0);
        let mut group = ready.clone();
        let mut reported = Vec::new();
        for second in 3..600 {
            let reach = if second < 10 { Reach::Unsure } else { Reach::AllSilent };
            let step = step(&fleet, &group, &unheard(&group, reach), second);
            assert_eq!((step.group.phase, step.group.goal), (Phase::Ready, Goal::Serve), "after {second} s");
            reported.extend(kinds(&step));
            group = step.group;
        }
        assert_eq!(reported, ["Unreachable"]);
        let message = group.message.clone().unwrap();
        assert!(message.starts_with("no pod in namespace default answers the orchestrator"), "{message}");
        assert!(message.contains("NetworkPolicies"), "{message}");

        // The first look after it was started before.
        let late = step(&fleet, &group, &unheard(&group, Reach::Reachable), 600);
        assert_eq!((late.group.phase, kinds(&late)), (Phase::Ready, vec![]));
        let back = step(&fleet, &late.group, &healthy(&group, t0()), 603);
        assert_eq!(
            (back.group.phase, back.group.message, back.group.ready_since),
            (Phase::Ready, None, ready.ready_since)
        );
    }
}

#[test]
fn a_cut_off_replica_goes_by_kubernetes() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut lost = unheard(&group, Reach::AllSilent);
    lost.pods[1].node_lost = true;
    assert_eq!(step(&fleet, &group, &lost, 60).group.goal, Goal::Retire);
    let mut ended = unheard(&group, Reach::AllSilent);
    ended.pods[0].containers_ready = false;
    let ended = step(&fleet, &group, &ended, 60);
    assert_eq!((ended.group.phase, kinds(&ended)[0].as_str()), (Phase::Provisioning, "gate false"));
    let mut gone = unheard(&group, Reach::AllSilent);
    gone.pods.remove(1);
    assert_eq!(step(&fleet, &group, &gone, 60).group.phase, Phase::Failed);
}

#[test]
fn no_clock_runs_out_while_nobody_is_heard() {
    let fleet = fleet(1);
    for phase in [Phase::Loading, Phase::Forming, Phase::Failed] {
        let mut group = GroupStatus {
            phase,
            start_deadline: (phase != Phase::Failed).then(|| time::began(at(100))),
            unreachable_since: Some(time::began(t0())),
            restarts: 2,
            ready_since: None,
            ..ready_entry(&fleet, 0)
        };
        let mut deadlines = 0;
        for second in 1..1000 {
            let mut observed = unheard(&group, Reach::AllSilent);
            observed.pods[0].gate_open = false;
            let next = step(&fleet, &group, &observed, second).group;
            assert_eq!((next.phase, next.goal), (phase, Goal::Serve), "after {second} s");
            deadlines += u32::from(next.start_deadline != group.start_deadline);
            group = next;
        }
        assert!(deadlines <= 16, "the deadline was moved {deadlines} times");
        let mut observed = unheard(&group, Reach::Reachable);
        observed.pods[0].gate_open = false;
        assert_eq!(step(&fleet, &group, &observed, 1000).group.goal, Goal::Serve, "silence counts from now");
    }
}

#[test]
fn a_drain_waits_for_an_engine_that_nobody_hears() {
    let fleet = plain_fleet(1);
    let group = GroupStatus {
        phase: Phase::Draining,
        left_endpoints_at: Some(time::began(t0())),
        ..with_goal(ready_entry(&fleet, 0), Goal::Retire)
    };
    let mut observed = unheard(&group, Reach::AllSilent);
    (observed.pods[0].gate_open, observed.endpoint_ready) = (false, Some(false));
    assert_eq!(step(&fleet, &group, &observed, 59).group.phase, Phase::Draining);
    assert_ne!(
        step(&fleet, &group, &observed, 60).group.phase,
        Phase::Draining,
        "no longer than drain.timeout"
    );
}

#[test]
fn a_group_that_is_silent_beside_others_is_closed_at_once_and_not_deleted_for_that_alone() {
    let fleet = fleet(1);
    let ready = ready_entry(&fleet, 0);
    let silent = |group: &GroupStatus| {
        let mut observed = unheard(group, Reach::Silent);
        observed.ray.as_mut().unwrap().unreachable_ips = vec!["10.0.0.0".to_owned(), "10.0.0.1".to_owned()];
        observed
    };
    let closed = step(&fleet, &ready, &silent(&ready), 5);
    assert_eq!(
        (closed.group.phase, kinds(&closed)),
        (Phase::Forming, vec!["gate false".to_owned(), "GroupNotReady".to_owned()])
    );
    // As long as a group takes to come up: ten minutes and one for each of its two GPUs.
    let borne = step(&fleet, &closed.group, &silent(&ready), 5 + 719);
    assert_eq!((borne.group.phase, borne.group.restarts), (Phase::Forming, 0));
    let back = step(&fleet, &borne.group, &healthy(&ready, t0()), 725);
    assert_eq!((back.group.phase, back.group.launch), (Phase::Ready, 1), "with the engine that it had");
    let failed = step(&fleet, &closed.group, &silent(&ready), 5 + 720);
    assert_eq!((failed.group.phase, failed.group.restarts), (Phase::Failed, 1));
    let kept = step(&fleet, &failed.group, &silent(&ready), 5 + 720 + 719);
    assert_eq!((kept.group.phase, kept.group.goal), (Phase::Failed, Goal::Serve));
    let given_up = step(&fleet, &kept.group, &silent(&ready), 5 + 720 + 720);
    assert_eq!(given_up.group.goal, Goal::Retire, "a human need not come");

    // What else speaks against it counts as ever.
    let mut lost = silent(&ready);
    lost.pods[1].node_lost = true;
    assert_eq!(step(&fleet, &closed.group, &lost, 45).group.goal, Goal::Retire);
    let mut ended = silent(&ready);
    ended.pods[0].containers_ready = false;
    assert_eq!(step(&fleet, &closed.group, &ended, 65).group.phase, Phase::Failed);
}

#[test]
fn the_time_to_come_up_stands_still_while_nobody_is_heard() {
    let fleet = fleet(1);
    let started = Some(time::began(t0()));
    let mut group = GroupStatus {
        phase: Phase::Forming,
        launch: 2,
        forming_since: started.clone(),
        phase_since: started,
        ready_since: None,
        ..ready_entry(&fleet, 0)
    };
    for (second, reach) in
        [(50, Reach::AllSilent), (5000, Reach::AllSilent), (5001, Reach::Reachable), (5009, Reach::Reachable)]
    {
        let mut observed = unheard(&group, reach);
        observed.pods[0].gate_open = false;
        group = step(&fleet, &group, &observed, second).group;
        assert_eq!((group.phase, group.goal), (Phase::Forming, Goal::Serve), "after {second} s");
    }
    let mut observed = unheard(&group, Reach::Reachable);
    observed.pods[0].gate_open = false;
    assert_eq!(step(&fleet, &group, &observed, 5012).group.goal, Goal::Retire);
}

/// A wait of minutes after a failure, in which a dashboard misses one question.
#[test]
fn one_silence_does_not_cost_a_group_that_failed_long_ago() {
    let fleet = fleet(1);
    let failed = GroupStatus {
        phase: Phase::Failed,
        restarts: 1,
        retry_after: Some(time::began(at(300))),
        ready_since: None,
        ..ready_entry(&fleet, 0)
    };
    let first = step(&fleet, &failed, &unheard(&failed, Reach::Reachable), 200);
    assert_eq!((first.group.phase, first.group.goal), (Phase::Failed, Goal::Serve));
    assert_eq!(step(&fleet, &first.group, &unheard(&failed, Reach::Reachable), 260).group.goal, Goal::Retire);
}
