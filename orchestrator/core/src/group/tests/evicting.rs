//! Pods that are told to go and have time for it; groups whose fleet asks for another kind of engine by now.

use rayfleet_api::ValidFleet;
use rayfleet_api::status::{Goal, GroupStatus, Phase};

use super::{GroupDecision, kinds, step};
use crate::observed::{ObservedEngine, ObservedGroup, ObservedJob, ObservedLoad};
use crate::testing::*;
use crate::time;

/// A group of which one pod is told to go at 10 s, with 45 s to do so.
fn with_ending_pod(pod: usize) -> (ValidFleet, GroupStatus, ObservedGroup) {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    (observed.pods[pod].deleting, observed.pods[pod].ends_at) = (true, Some(at(55)));
    ray_mut(&mut observed).engine.load.as_mut().unwrap().in_flight = 3;
    (fleet, group, observed)
}

#[test]
fn an_evicted_pod_closes_the_gate_at_once_and_ends_no_request() {
    for pod in [0, 1] {
        let (fleet, mut group, mut observed) = with_ending_pod(pod);
        let first = step(&fleet, &group, &observed, 10);
        assert_eq!(kinds(&first), ["GroupEvicted", "gate false", "draining true"], "pod {pod}");
        assert_eq!((first.group.goal, first.group.phase), (Goal::Retire, Phase::Draining));
        assert_eq!((first.group.failures, first.group.restarts), (0, 0), "nobody failed");
        group = first.group;
        observed.pods[0].gate_open = false;
        observed.endpoint_ready = Some(false);
        for second in 11..55 {
            let load = ray_mut(&mut observed).engine.load.as_mut().unwrap();
            load.draining = Some(true);
            let next = step(&fleet, &group, &observed, second);
            assert_eq!(
                (next.group.phase, next.lost_requests),
                (Phase::Draining, 0),
                "pod {pod} at {second} s"
            );
            group = next.group;
        }
        ray_mut(&mut observed).engine.load.as_mut().unwrap().in_flight = 0;
        let done = step(&fleet, &group, &observed, 54);
        assert_eq!((done.group.phase, kinds(&done)), (Phase::Stopping, vec!["stop".to_owned()]), "pod {pod}");
    }
}

#[test]
fn requests_that_outlast_the_grace_period_are_counted() {
    let (fleet, group, mut observed) = with_ending_pod(1);
    let group = step(&fleet, &group, &observed, 10).group;
    ray_mut(&mut observed).engine.load.as_mut().unwrap().draining = Some(true);
    (observed.pods[0].gate_open, observed.endpoint_ready) = (false, Some(false));
    let group = step(&fleet, &group, &observed, 12).group;
    let late = step(&fleet, &group, &observed, 55);
    assert_eq!((late.group.phase, late.lost_requests), (Phase::Stopping, 3));
    let reported = late.effects.iter().find_map(|effect| match effect {
        crate::effect::Effect::Event { message, .. } => Some(message.clone()),
        _ => None,
    });
    assert_eq!(
        reported.unwrap(),
        "group llama-pods1-0: 3 requests were cut off when the grace period of pod llama-pods1-0-w ended: raise the \
         template's terminationGracePeriodSeconds"
    );
}

#[test]
fn a_pod_without_a_grace_period_is_a_failure() {
    let (fleet, group, mut observed) = with_ending_pod(1);
    observed.pods[1].ends_at = Some(at(10));
    assert_eq!(step(&fleet, &group, &observed, 10).group.phase, Phase::Failed);
    observed.pods.remove(1);
    assert_eq!(step(&fleet, &group, &observed, 10).group.phase, Phase::Failed);
}

#[test]
fn a_pod_that_ends_beside_a_whole_group_is_a_leftover() {
    let (fleet, group, mut observed) = with_ending_pod(1);
    let mut new = pod(&group, 1);
    new.name = "llama-pods1-0-new".into();
    observed.pods.push(new);
    assert_eq!(step(&fleet, &group, &observed, 10).group.phase, Phase::Ready);
}

#[test]
fn a_pod_inside_its_grace_period_is_not_stuck() {
    let fleet = fleet(1);
    let group = GroupStatus { phase: Phase::Provisioning, ..entry(&fleet, 0) };
    let mut observed = healthy(&group, t0());
    (observed.pods[1].deleting, observed.pods[1].containers_ready) = (true, false);
    observed.pods[1].ends_at = Some(at(300));
    assert_eq!(step(&fleet, &group, &observed, 359).group.goal, Goal::Serve);
    assert_eq!(step(&fleet, &group, &observed, 360).group.goal, Goal::Retire);
}

/// A group whose pods start their engine, under a fleet that asks for a launched one by now.
fn plain_group(edit: impl FnOnce(&mut GroupStatus, &mut ObservedGroup)) -> GroupDecision {
    let mut group = ready_entry(&plain_fleet(1), 0);
    let mut observed = healthy(&group, t0());
    observed.cluster.as_mut().unwrap().own_port = Some(9000);
    edit(&mut group, &mut observed);
    step(&fleet(1), &group, &observed, 40)
}

fn own_engine(healthy: bool, in_flight: u32) -> ObservedEngine {
    let load = ObservedLoad {
        in_flight,
        draining: None,
        kept_connections: 0,
        idle_seconds: None,
        stalled_since: None,
        deferred: false,
    };
    ObservedEngine { healthy, answering: true, load: Some(load), ..ObservedEngine::default() }
}

#[test]
fn a_plain_group_is_watched_by_its_own_rules_when_the_fleet_has_a_model() {
    let ill = plain_group(|_, observed| ray_mut(observed).engine = own_engine(false, 0));
    assert_eq!(ill.group.phase, Phase::Loading);
    assert_eq!(kinds(&ill).first().map(String::as_str), Some("gate false"));
    let well = plain_group(|_, observed| ray_mut(observed).engine = own_engine(true, 0));
    assert_eq!((well.group.phase, kinds(&well)), (Phase::Ready, Vec::new()));
}

#[test]
fn a_plain_group_is_drained_by_what_its_engine_tells_when_the_fleet_has_a_model() {
    let leaving = |in_flight: u32| {
        plain_group(|group, observed| {
            (group.goal, group.phase, group.phase_since) =
                (Goal::Retire, Phase::Draining, Some(time::began(at(30))));
            group.left_endpoints_at = Some(time::began(at(30)));
            (observed.pods[0].gate_open, observed.endpoint_ready) = (false, Some(false));
            ray_mut(observed).engine = own_engine(true, in_flight);
        })
    };
    assert_eq!(leaving(2).group.phase, Phase::Draining);
    let done = leaving(0);
    assert_eq!((done.group.phase, kinds(&done)), (Phase::Stopping, vec!["delete".to_owned()]));
}

#[test]
fn a_launched_group_is_watched_and_drained_by_its_launch_when_the_fleet_has_no_model_any_more() {
    let group = ready_entry(&fleet(1), 0);
    let plain = plain_fleet(1);
    let mut observed = healthy(&group, t0());
    assert_eq!(step(&plain, &group, &observed, 40).group.phase, Phase::Ready, "it serves on");
    ray_mut(&mut observed).engine.job = Some(ObservedJob::Ended("exit 1".to_owned()));
    assert_eq!(step(&plain, &group, &observed, 40).group.phase, Phase::Failed);

    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.load = None;
    (observed.pods[0].gate_open, observed.endpoint_ready) = (false, Some(false));
    let leaving = GroupStatus {
        goal: Goal::Retire,
        phase: Phase::Draining,
        phase_since: Some(time::began(at(30))),
        left_endpoints_at: Some(time::began(at(30))),
        ..group.clone()
    };
    assert_eq!(
        step(&plain, &leaving, &observed, 40).group.phase,
        Phase::Draining,
        "its load is not known for a moment"
    );

    let swapping = GroupStatus { goal: Goal::SwapEngine, ..group };
    let observed = healthy(&swapping, t0());
    let kept = step(&plain, &swapping, &observed, 40).group;
    assert_eq!(
        (kept.goal, kept.engine_revision.as_deref()),
        (Goal::Serve, Some("eng1")),
        "its pods start no engine"
    );
}
