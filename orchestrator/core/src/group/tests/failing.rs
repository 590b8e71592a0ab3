//! What goes wrong with a group, and what is tried next.

use rayfleet_api::status::{FailureKind, Goal, GroupStatus, Phase};

use super::super::backoff;
use super::{kinds, step};
use crate::observed::{ObservedGroup, ObservedJob, ObservedProbe};
use crate::testing::*;
use crate::time;

type Edit = dyn Fn(&mut ObservedGroup);

/// Each way to fail closes the gate at once, has what still runs ended, and says what is tried next.
#[test]
fn failures_of_a_ready_group_close_the_gate_and_end_the_engine() {
    let fleet = fleet(1);
    let cases: [(&str, FailureKind, bool, &Edit); 8] = [
        ("killed", FailureKind::JobEnded, false, &|observed| {
            ray_mut(observed).engine.job = Some(ObservedJob::Ended("killed".to_owned()));
        }),
        ("rank 1 died", FailureKind::RankDied, true, &|observed| {
            ray_mut(observed).engine.failure = Some(rank_died("rank 1 died", &[]));
        }),
        ("not healthy", FailureKind::Unhealthy, true, &|observed| ray_mut(observed).engine.healthy = false),
        ("rank 1 is on node-2", FailureKind::WrongPlacement, true, &|observed| {
            ray_mut(observed).engine.differences = vec!["rank 1 is on node-2".to_owned()];
        }),
        ("does not know", FailureKind::HeadLost, false, &|observed| ray_mut(observed).engine.job = None),
        ("a pod of the group is gone", FailureKind::PodLost, true, &|observed| drop(observed.pods.pop())),
        ("a pod of the group is gone", FailureKind::PodLost, true, &|observed| {
            observed.pods[1].deleting = true;
        }),
        ("a pod of the group is gone", FailureKind::PodLost, false, &|observed| {
            observed.pods.pop();
            ray_mut(observed).engine.job = Some(ObservedJob::Ended("rank 1 died".to_owned()));
        }),
    ];
    for (cause, kind, runs, edit) in cases {
        let group = ready_entry(&fleet, 0);
        let mut observed = healthy(&group, t0());
        edit(&mut observed);
        let step = step(&fleet, &group, &observed, 1);
        assert_eq!((step.group.phase, step.group.restarts), (Phase::Failed, 1), "{cause}");
        let last = step.group.last_failure.as_ref().map(|last| last.kind);
        assert_eq!((step.failure, last), (Some(kind), Some(kind)), "{cause}");
        let effects: &[&str] = if runs { &["stop"] } else { &[] };
        assert_eq!(kinds(&step), [&["gate false", "GroupFailed"], effects].concat(), "{cause}");
        assert!(step.group.message.as_ref().unwrap().contains(cause), "{:?}", step.group.message);
        assert_eq!((step.group.ready_since, step.wake), (None, Some(at(2))), "{cause}");
    }
}

/// The first launch after a failure of what served waits for nothing but the old engine's end; one after it, or after
/// a start that failed, waits longer and longer.
#[test]
fn only_what_served_is_tried_again_without_a_wait() {
    let fleet = fleet(1);
    let retry = |edit: &dyn Fn(&mut GroupStatus)| {
        let mut group = ready_entry(&fleet, 0);
        edit(&mut group);
        let mut observed = healthy(&group, t0());
        ray_mut(&mut observed).engine.failure = Some(rank_died("killed", &[]));
        let failed = step(&fleet, &group, &observed, 1);
        assert_eq!(failed.group.phase, Phase::Failed);
        (failed.group.retry_after.map(|time| time.0), failed.group.message.unwrap())
    };
    let (first, message) = retry(&|_| {});
    assert_eq!(first, Some(at(2)));
    assert!(message.ends_with("08:00:02Z (restart 1 of 2)"), "{message}");
    assert_eq!(retry(&|group| group.restarts = 1).0, Some(at(11)), "it fails again");
    assert_eq!(retry(&|group| group.failures = 1).0, Some(at(6)), "the group was re-created a moment ago");
    let starts = |group: &mut GroupStatus| {
        (group.phase, group.ready_since) = (Phase::Loading, None);
        group.start_deadline = Some(time::began(at(600)));
    };
    assert_eq!(retry(&starts).0, Some(at(6)), "it never served");
}

#[test]
fn the_next_launch_of_what_served_comes_as_soon_as_the_old_engine_has_ended() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.failure = Some(rank_died("rank 1 died", &[]));
    let failed = step(&fleet, &group, &observed, 1);
    assert_eq!(kinds(&failed), ["gate false", "GroupFailed", "stop"]);
    observed.pods[0].gate_open = false;
    let stops = step(&fleet, &failed.group, &observed, 1);
    assert_eq!((stops.group.phase, kinds(&stops)), (Phase::Failed, vec!["stop".to_owned()]));
    ray_mut(&mut observed).engine.job = Some(ObservedJob::Ended("stopped".to_owned()));
    let next = step(&fleet, &stops.group, &observed, 2);
    assert_eq!((next.group.phase, next.group.launch), (Phase::Placing, 2));
    assert_eq!(kinds(&next), ["launch llama-pods1-0.eng1.2"]);
}

/// A pod or a Ray node that may come back is waited for, but not for an engine of which Ray knows that it is dead.
#[test]
fn a_dead_engine_fails_at_once_whatever_else_is_amiss() {
    let fleet = fleet(1);
    let dead: [&Edit; 3] = [
        &|observed| ray_mut(observed).engine.job = Some(ObservedJob::Ended("killed".to_owned())),
        &|observed| ray_mut(observed).engine.failure = Some(rank_died("node worker lost", &[])),
        &|observed| ray_mut(observed).engine.job = None,
    ];
    let amiss: [(Phase, &Edit); 2] = [
        (Phase::Provisioning, &|observed| observed.pods[1].containers_ready = false),
        (Phase::Forming, &|observed| ray_mut(observed).nodes.truncate(1)),
    ];
    for (waits_in, edit) in amiss {
        let group = ready_entry(&fleet, 0);
        let mut observed = healthy(&group, t0());
        edit(&mut observed);
        let not_ready = step(&fleet, &group, &observed, 1);
        assert_eq!((not_ready.group.phase, not_ready.group.restarts), (waits_in, 0));
        for dead in dead {
            let mut observed = observed.clone();
            dead(&mut observed);
            for group in [&group, &not_ready.group] {
                let failed = step(&fleet, group, &observed, 2).group;
                assert_eq!((failed.phase, failed.restarts), (Phase::Failed, 1));
                let retry = failed.retry_after.map(|time| time.0);
                assert_eq!(retry, Some(at(3)), "it served until a moment ago");
            }
        }
    }
}

#[test]
fn a_template_of_another_size_leaves_the_groups_of_the_old_one_alone() {
    let old = fleet(1);
    let group = ready_entry(&old, 0);
    let mut new = old.clone();
    new.revision.pod = "pods2".into();
    new.revision.engine = Some("eng2".into());
    new.shape.roles[1].count = 2;
    new.model.as_mut().unwrap().parallelism.pipeline = 3;
    let mut observed = healthy(&group, t0());
    observed.cluster.as_mut().unwrap().pods = Some(2);
    let step = step(&new, &group, &observed, 1);
    assert_eq!((step.group.phase, step.group.ranks), (Phase::Ready, group.ranks));
    assert!(kinds(&step).is_empty(), "{:?}", kinds(&step));
}

#[test]
fn a_failed_engine_is_stopped_then_launched_again() {
    let fleet = fleet(1);
    let failed = GroupStatus {
        phase: Phase::Failed,
        restarts: 1,
        retry_after: Some(time::began(at(6))),
        ready_since: None,
        ..ready_entry(&fleet, 0)
    };
    let mut observed = healthy(&failed, t0());
    observed.pods[0].gate_open = false;
    let running = step(&fleet, &failed, &observed, 7);
    assert_eq!((running.group.phase, kinds(&running)), (Phase::Failed, vec!["stop".to_owned()]));
    ray_mut(&mut observed).engine.job = Some(ObservedJob::Ended("stopped".to_owned()));
    let early = step(&fleet, &failed, &observed, 5);
    assert_eq!((early.group.phase, early.wake), (Phase::Failed, Some(at(6))));
    let next = step(&fleet, &failed, &observed, 6);
    assert_eq!(next.group.phase, Phase::Placing);
    assert_eq!(kinds(&next), ["launch llama-pods1-0.eng1.2"]);
    assert_eq!(next.group.start_deadline.unwrap().0, at(606));
}

#[test]
fn a_report_of_the_launch_before_is_ignored() {
    let fleet = fleet(1);
    let before = ready_entry(&fleet, 0);
    let mut observed = healthy(&before, t0());
    ray_mut(&mut observed).engine.job = Some(ObservedJob::Ended("old".to_owned()));
    observed.pods[0].gate_open = false;
    let group = GroupStatus {
        phase: Phase::Placing,
        launch: 2,
        ranks: None,
        ready_since: None,
        start_deadline: Some(time::began(at(600))),
        ..before
    };
    let waits = step(&fleet, &group, &observed, 1);
    assert_eq!((waits.group.phase, kinds(&waits)), (Phase::Placing, vec![]));
    assert_eq!(
        step(&fleet, &group, &observed, 600).group.phase,
        Phase::Failed,
        "but not waited for without an end"
    );
}

#[test]
fn after_too_many_restarts_the_group_is_given_up() {
    let fleet = fleet(1);
    let group = GroupStatus { restarts: 2, ..ready_entry(&fleet, 0) };
    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.job = Some(ObservedJob::Ended("no such model".to_owned()));
    let step = step(&fleet, &group, &observed, 1);
    assert_eq!((step.group.goal, step.group.failures), (Goal::Retire, 1));
    assert!(step.group.goal_reason.as_ref().unwrap().contains("no such model"));
    assert_eq!(kinds(&step), ["gate false", "GroupFailed", "delete"]);
}

#[test]
fn silence_is_borne_for_a_while() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    observed.ray.as_mut().unwrap().state = Err("timed out".to_owned());
    let first = step(&fleet, &group, &observed, 10);
    assert_eq!((first.group.phase, kinds(&first), first.wake), (Phase::Ready, vec![], Some(at(40))));
    let later = step(&fleet, &first.group, &observed, 39);
    assert_eq!(later.group.phase, Phase::Ready);
    let lost = step(&fleet, &later.group, &observed, 40);
    assert_eq!(
        (lost.group.phase, kinds(&lost)),
        (Phase::Forming, vec!["gate false".to_owned(), "GroupNotReady".to_owned()])
    );
    let back = step(&fleet, &lost.group, &healthy(&group, at(45)), 45);
    assert_eq!((back.group.phase, back.group.restarts), (Phase::Ready, 0));
    let failed = step(&fleet, &lost.group, &observed, 100);
    assert_eq!((failed.group.phase, failed.group.restarts), (Phase::Failed, 1));
}

#[test]
fn an_engine_that_does_not_answer_gets_no_traffic_and_then_fails() {
    let fleet = fleet(1);
    let mut group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.healthy = false;
    ray_mut(&mut observed).engine.answering = false;
    for (seconds, phase) in
        [(1, Phase::Ready), (31, Phase::Loading), (85, Phase::Loading), (91, Phase::Failed)]
    {
        group = step(&fleet, &group, &observed, seconds).group;
        assert_eq!(group.phase, phase, "after {seconds} s");
    }
}

/// That the old engine cannot be ended follows from what it failed of.
#[test]
fn why_an_engine_failed_stays_the_reason_when_its_end_cannot_be_seen() {
    let fleet = fleet(1);
    let mut group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.failure = Some(rank_died("rank 1 died", &[]));
    group = step(&fleet, &group, &observed, 1).group;
    observed.ray = None;
    let gone = (2..2000).find_map(|second| {
        let next = step(&fleet, &group, &observed, second);
        group = next.group.clone();
        (next.group.goal == Goal::Retire).then_some(next)
    });
    let gone = gone.expect("the group is recreated");
    assert_eq!(gone.failure, Some(FailureKind::DashboardUnreachable), "it is counted");
    assert_eq!(gone.group.last_failure.unwrap().kind, FailureKind::RankDied);
    let reason = gone.group.goal_reason.unwrap();
    assert_eq!(reason, "failed: rank 1 died; then the Ray dashboard does not answer");
}

#[test]
fn an_old_answer_is_no_answer() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let observed = healthy(&group, t0());
    let silent_at =
        |seconds| super::super::step(&fleet, &group, &observed, at(seconds)).group.unreachable_since;
    assert_eq!(silent_at(30), None);
    assert!(silent_at(31).is_some());
}

#[test]
fn a_container_that_is_not_ready_stops_traffic_but_not_the_engine() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    observed.pods[1].containers_ready = false;
    let lost = step(&fleet, &group, &observed, 1);
    assert_eq!((lost.group.phase, lost.group.restarts), (Phase::Provisioning, 0));
    assert_eq!(kinds(&lost), ["gate false", "GroupNotReady"]);
    let mut healthy = healthy(&group, t0());
    (healthy.pods[0].gate_open, healthy.pods[0].gate_since) = (false, Some(at(1)));
    let early = step(&fleet, &lost.group, &healthy, 5);
    assert_eq!(early.group.message.as_deref(), Some("waits until its endpoint is removed"));
    assert_eq!(early.wake, Some(at(6)), "a slice that somebody keeps by hand may list it for ever");
    assert_eq!(step(&fleet, &early.group, &healthy, 6).group.phase, Phase::Ready);
    healthy.endpoint_ready = Some(false);
    for from in [&lost.group, &early.group] {
        let back = step(&fleet, from, &healthy, 5);
        assert_eq!((back.group.phase, back.group.launch), (Phase::Ready, 1));
        assert!(kinds(&back).contains(&"gate true".to_owned()));
    }
    let late = step(&fleet, &lost.group, &observed, 61);
    assert_eq!(late.group.phase, Phase::Failed);
}

#[test]
fn a_start_that_takes_too_long_has_failed() {
    let fleet = fleet(1);
    let loading = GroupStatus {
        phase: Phase::Loading,
        start_deadline: Some(time::began(at(600))),
        ready_since: None,
        ..ready_entry(&fleet, 0)
    };
    let mut observed = healthy(&loading, t0());
    observed.pods[0].gate_open = false;
    ray_mut(&mut observed).engine.healthy = false;
    let early = step(&fleet, &loading, &observed, 599);
    assert_eq!((early.group.phase, early.wake), (Phase::Loading, Some(at(600))));
    let late = step(&fleet, &loading, &observed, 600);
    assert_eq!(late.group.phase, Phase::Failed);
    assert!(late.group.message.unwrap().contains("not ready in time"));
}

#[test]
fn a_wrong_answer_to_the_probe_is_a_failure() {
    let fleet = fleet(1);
    let probing = GroupStatus {
        phase: Phase::Probing,
        start_deadline: Some(time::began(at(600))),
        ready_since: None,
        ..ready_entry(&fleet, 0)
    };
    let mut observed = healthy(&probing, t0());
    observed.pods[0].gate_open = false;
    ray_mut(&mut observed).engine.probe = ObservedProbe::Failed("answered `x`".to_owned());
    let step = step(&fleet, &probing, &observed, 1);
    assert_eq!(step.group.phase, Phase::Failed);
    assert!(step.group.message.unwrap().contains("answered `x`"));
}

#[test]
fn a_pod_that_does_not_end_has_the_group_recreated() {
    let fleet = fleet(1);
    let group = GroupStatus { phase: Phase::Provisioning, ready_since: None, ..ready_entry(&fleet, 0) };
    let mut observed = healthy(&group, t0());
    observed.pods[0].gate_open = false;
    observed.pods[1].deleting = true;
    assert_eq!(step(&fleet, &group, &observed, 59).group.goal, Goal::Serve);
    let forms = GroupStatus { phase: Phase::Forming, ..group.clone() };
    assert_eq!(
        step(&plain_fleet(1), &forms, &observed, 60).group.goal,
        Goal::Serve,
        "it began to end just now"
    );
    let stuck = step(&fleet, &group, &observed, 60);
    assert_eq!(stuck.group.goal, Goal::Retire);
    assert!(stuck.group.goal_reason.unwrap().contains("llama-pods1-0-w on node-1 does not end"));
}

#[test]
fn failures_are_forgotten_after_a_while_of_serving() {
    let fleet = fleet(1);
    for (restarts, failures) in [(2, 1), (2, 0), (0, 1)] {
        let group = GroupStatus { restarts, failures, ..ready_entry(&fleet, 0) };
        let observed = healthy(&group, t0());
        let early = step(&fleet, &group, &observed, 599);
        assert_eq!(
            (early.group.restarts, early.group.failures, early.wake),
            (restarts, failures, Some(at(600)))
        );
        let late = step(&fleet, &group, &observed, 600);
        assert_eq!((late.group.restarts, late.group.failures), (0, 0));
    }
}

#[test]
fn a_group_waits_before_it_is_recreated() {
    let fleet = fleet(1);
    let group = GroupStatus {
        retry_after: Some(time::began(at(9))),
        goal_reason: Some("stands in for a: killed".to_owned()),
        ..entry(&fleet, 0)
    };
    let early = step(&fleet, &group, &ObservedGroup::default(), 8);
    assert_eq!((early.wake, early.effects), (Some(at(9)), vec![]));
    let why = early.group.message.unwrap();
    assert_eq!(why, "is created at 2027-01-15T08:00:09Z; stands in for a: killed");
    assert_eq!(kinds(&step(&fleet, &group, &ObservedGroup::default(), 9)), ["create"]);
}

/// What counts against a revision: engines that never came to serve, and nothing that lost a pod.
#[test]
fn only_a_start_that_fails_on_whole_pods_counts_against_the_revision() {
    let mut fleet = fleet(1);
    fleet.min_ready = std::time::Duration::from_secs(30);
    let starts = GroupStatus {
        phase: Phase::Loading,
        ready_since: None,
        start_deadline: Some(time::began(at(600))),
        ..ready_entry(&fleet, 0)
    };
    let failed = |group: &GroupStatus, seconds: i64, edit: &Edit| {
        let mut observed = healthy(group, t0());
        edit(&mut observed);
        let step = step(&fleet, group, &observed, seconds);
        assert_eq!(step.group.phase, Phase::Failed);
        step.group.failed_starts
    };
    let killed: &Edit = &|observed| ray_mut(observed).engine.failure = Some(rank_died("killed", &[]));
    assert_eq!(failed(&starts, 1, killed), 1);
    assert_eq!(failed(&starts, 1, &|observed| drop(observed.pods.pop())), 0, "a pod was lost");
    assert_eq!(failed(&ready_entry(&fleet, 0), 29, killed), 1, "it was not available yet");
    assert_eq!(failed(&ready_entry(&fleet, 0), 30, killed), 0, "it was available");
    let not_ready = GroupStatus { not_ready_since: Some(time::began(at(1))), ..starts };
    assert_eq!(failed(&not_ready, 2, killed), 0, "it was until a moment ago");
}

#[test]
fn failed_starts_are_forgotten_once_a_group_is_available() {
    let mut fleet = fleet(1);
    fleet.min_ready = std::time::Duration::from_secs(30);
    let group = GroupStatus { failed_starts: 2, ..ready_entry(&fleet, 0) };
    let observed = healthy(&group, t0());
    let early = step(&fleet, &group, &observed, 29);
    assert_eq!((early.group.failed_starts, early.wake), (2, Some(at(30))));
    assert_eq!(step(&fleet, &group, &observed, 30).group.failed_starts, 0);
}

#[test]
fn an_engine_of_which_nothing_is_known_is_given_up_with_its_group() {
    let fleet = fleet(1);
    let failed =
        GroupStatus { phase: Phase::Failed, restarts: 1, ready_since: None, ..ready_entry(&fleet, 0) };
    let goal = |seconds: i64, edit: &Edit| {
        let mut observed = healthy(&failed, t0());
        observed.pods[0].gate_open = false;
        edit(&mut observed);
        step(&fleet, &failed, &observed, seconds).group.goal
    };
    let runs: &Edit = &|_| {};
    assert_eq!([goal(29, runs), goal(30, runs)], [Goal::Serve, Goal::Retire], "Ray does not end it");
    // It counts from the first look that nobody answers, however long ago the group failed.
    let silent = |seconds: i64| {
        let mut observed = healthy(&failed, t0());
        observed.pods[0].gate_open = false;
        observed.ray = None;
        let first = step(&fleet, &failed, &observed, 500).group;
        step(&fleet, &first, &observed, 500 + seconds).group.goal
    };
    assert_eq!([silent(59), silent(60)], [Goal::Serve, Goal::Retire], "Ray does not answer");
}

#[test]
fn a_failed_engine_whose_head_is_gone_holds_nothing() {
    let fleet = fleet(1);
    let failed =
        GroupStatus { phase: Phase::Failed, restarts: 1, ready_since: None, ..ready_entry(&fleet, 0) };
    let mut observed = healthy(&failed, t0());
    observed.pods[0].containers_ready = false;
    let next = step(&fleet, &failed, &observed, 1);
    assert_eq!((next.group.phase, next.group.launch), (Phase::Provisioning, 2));
    assert!(!kinds(&next).contains(&"stop".to_owned()));
}

#[test]
fn the_first_failure_is_named_before_rays_message() {
    let fleet = fleet(1);
    let cause = |blamed: &[&str]| {
        let group = ready_entry(&fleet, 0);
        let mut observed = healthy(&group, t0());
        let engine = &mut ray_mut(&mut observed).engine;
        engine.job = Some(ObservedJob::Ended("exit code 1".to_owned()));
        engine.failure = Some(rank_died("rank 1 died", blamed));
        let failed = step(&fleet, &group, &observed, 1);
        (failed.failure.unwrap(), failed.group.message.unwrap())
    };
    let (kind, message) = cause(&["10.0.0.1"]);
    assert_eq!(kind, FailureKind::RankDied);
    assert!(message.starts_with("rank 1 died; the engine ended: exit code 1;"), "{message}");
    let (kind, message) = cause(&[]);
    assert_eq!(kind, FailureKind::EngineDied, "it may have been the end's own doing");
    assert!(message.starts_with("the engine ended: exit code 1;"), "{message}");
}

#[test]
fn waits_double_up_to_the_longest() {
    let policy = fleet(1).failure;
    let waits: Vec<_> = [1, 2, 3, 8, 1000].map(|failures| backoff(&policy, failures).as_secs()).into();
    assert_eq!(waits, [5, 10, 20, 300, 300]);
}
