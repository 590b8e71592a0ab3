//! Draining, stopping, swapping, deleting.

use rayfleet_api::status::{Goal, GroupStatus, Phase};

use super::{GroupDecision, kinds, step};
use crate::effect::Effect;
use crate::observed::{ObservedGroup, ObservedJob};
use crate::testing::*;
use crate::time;

/// Draining waits for the endpoints, then for the requests, then the engine goes, then the pods.
#[test]
fn a_drain_ends_no_request() {
    let fleet = fleet(1);
    let mut group = with_goal(ready_entry(&fleet, 0), Goal::Retire);
    let mut observed = healthy(&group, t0());
    let mut go = |observed: &ObservedGroup, seconds: i64, phase: Phase, expected: &[&str]| {
        let step = step(&fleet, &group, observed, seconds);
        assert_eq!(
            (step.group.phase, kinds(&step)),
            (phase, expected.iter().map(ToString::to_string).collect()),
            "after {seconds} s"
        );
        group = step.group;
    };
    ray_mut(&mut observed).engine.load.as_mut().unwrap().in_flight = 3;
    go(&observed, 1, Phase::Draining, &["gate false", "draining true"]);
    observed.pods[0].gate_open = false;
    go(&observed, 2, Phase::Draining, &["draining true"]);
    ray_mut(&mut observed).engine.load.as_mut().unwrap().draining = Some(true);
    observed.endpoint_ready = Some(false);
    go(&observed, 3, Phase::Draining, &[]);
    go(&observed, 4, Phase::Draining, &[]);
    go(&observed, 5, Phase::Draining, &[]);
    go(&observed, 6, Phase::Draining, &[]);
    ray_mut(&mut observed).engine.load.as_mut().unwrap().in_flight = 0;
    ray_mut(&mut observed).engine.load.as_mut().unwrap().idle_seconds = Some(0.5);
    go(&observed, 7, Phase::Draining, &[]);
    ray_mut(&mut observed).engine.load.as_mut().unwrap().idle_seconds = Some(1.5);
    go(&observed, 8, Phase::Stopping, &["stop"]);
    ray_mut(&mut observed).engine.job = Some(ObservedJob::Ended("stopped".to_owned()));
    go(&observed, 9, Phase::Stopping, &["delete"]);
    observed.cluster = None;
    go(&observed, 10, Phase::Stopping, &[]);
}

/// A group with three requests whose endpoints let go of it at 1 s, and what its drain says at a moment.
fn draining(seconds: i64, edit: impl FnOnce(&mut ObservedGroup)) -> GroupDecision {
    let fleet = fleet(1);
    let group = GroupStatus {
        phase: Phase::Draining,
        left_endpoints_at: Some(time::began(at(1))),
        ..with_goal(ready_entry(&fleet, 0), Goal::Retire)
    };
    let mut observed = healthy(&group, t0());
    observed.pods[0].gate_open = false;
    observed.endpoint_ready = Some(false);
    let load = ray_mut(&mut observed).engine.load.as_mut().unwrap();
    (load.in_flight, load.draining) = (3, Some(true));
    edit(&mut observed);
    step(&fleet, &group, &observed, seconds)
}

#[test]
fn pods_that_were_lost_while_they_drained_and_have_no_node_again_hold_no_group_up() {
    let lost = |observed: &mut ObservedGroup| {
        observed.ray = None;
        for pod in &mut observed.pods {
            (pod.node, pod.ip, pod.containers_ready) = (None, None, false);
        }
    };
    let step = draining(2, lost);
    assert_eq!((step.group.phase, kinds(&step)), (Phase::Stopping, vec!["delete".to_owned()]));
    // The head that ends beside the new one may still answer.
    let step = draining(2, |observed| {
        let mut ending = observed.pods[0].clone();
        (ending.name, ending.deleting) = ("ending".into(), true);
        lost(observed);
        observed.pods.push(ending);
    });
    assert_eq!(step.group.phase, Phase::Draining);
}

/// A request came two seconds after the group had left its endpoints, on a connection that its client had kept, between the last look
/// and the end of the engine.
#[test]
fn a_drain_waits_for_connections_on_which_a_request_may_come() {
    let kept = |kept_connections: u32, seconds: i64| {
        draining(seconds, |observed| {
            let load = ray_mut(observed).engine.load.as_mut().unwrap();
            (load.in_flight, load.idle_seconds, load.kept_connections) = (0, Some(3.0), kept_connections);
        })
    };
    let waits = kept(2, 10).group;
    assert_eq!(waits.phase, Phase::Draining);
    assert!(waits.message.unwrap().contains("2 connections of clients"));
    assert_eq!(kept(0, 10).group.phase, Phase::Stopping);
    let late = kept(2, 60);
    assert_eq!((late.group.phase, late.lost_requests), (Phase::Stopping, 0));
}

#[test]
fn a_drain_that_takes_too_long_counts_what_it_cuts_off() {
    assert_eq!(draining(59, |_| {}).group.phase, Phase::Draining);
    let late = draining(60, |_| {});
    assert_eq!((late.group.phase, late.lost_requests), (Phase::Stopping, 3));
    assert_eq!(kinds(&late), ["DrainTimeout", "stop"]);
}

#[test]
fn a_drain_says_what_it_waits_for_and_is_looked_at_every_second() {
    let waits = draining(30, |_| {});
    assert_eq!((waits.group.message.as_deref(), waits.wake), (Some("3 requests in flight"), Some(at(31))));
    assert_eq!(draining(2, |_| {}).group.message.as_deref(), Some("leaves the endpoints"));
    let silent = draining(30, |observed| ray_mut(observed).engine.load = None);
    assert!(silent.group.message.unwrap().contains("does not tell its requests in flight"));
}

#[test]
fn a_head_without_a_gate_goes_at_the_first_moment_without_requests() {
    let stays = |observed: &mut ObservedGroup| {
        observed.pods[0].ungated = true;
        observed.endpoint_ready = Some(true);
    };
    let busy = draining(2, stays).group;
    assert_eq!(busy.phase, Phase::Draining);
    let message = busy.message.unwrap();
    assert!(message.contains("kubectl label pod llama-pods1-0-head model.aibrix.ai/name-"), "{message}");
    let idle = draining(2, |observed| {
        stays(observed);
        let load = ray_mut(observed).engine.load.as_mut().unwrap();
        (load.in_flight, load.idle_seconds) = (0, Some(2.0));
    });
    assert_eq!(idle.group.phase, Phase::Stopping);
}

#[test]
fn requests_that_a_drain_cuts_off_are_reported_with_the_cause() {
    let reported = |step: GroupDecision| {
        let found = step.effects.into_iter().find_map(|effect| match effect {
            Effect::Event { message, .. } => Some(message),
            _ => None,
        });
        found.map(|message| message.replace("group llama-pods1-0: ", ""))
    };
    let said = |edit: fn(&mut ObservedGroup)| reported(draining(60, edit));
    assert_eq!(said(|_| {}).unwrap(), "3 requests were cut off after 60 s: raise drain.timeout");
    let hangs = said(|observed| ray_mut(observed).engine.load.as_mut().unwrap().stalled_since = Some(at(50)));
    assert_eq!(hangs.unwrap(), "3 requests were cut off: the engine hangs");
    let silent = said(|observed| ray_mut(observed).engine.load = None);
    assert_eq!(silent.unwrap(), "an unknown number of requests was cut off after 60 s");
    let idle = |observed: &mut ObservedGroup| {
        let load = ray_mut(observed).engine.load.as_mut().unwrap();
        (load.in_flight, load.idle_seconds) = (0, Some(0.5));
    };
    assert_eq!(said(idle), None, "there was none");
}

#[test]
fn without_its_head_a_group_has_nothing_to_drain() {
    let ended = |observed: &mut ObservedGroup| {
        (observed.pods[0].deleting, observed.pods[0].containers_ready) = (true, false);
    };
    assert_eq!(draining(2, ended).group.phase, Phase::Stopping);
    assert_eq!(draining(2, |observed| drop(observed.pods.remove(0))).group.phase, Phase::Stopping);
    let lost =
        |observed: &mut ObservedGroup| (observed.pods[0].deleting, observed.pods[0].node_lost) = (true, true);
    assert_eq!(draining(2, lost).group.phase, Phase::Stopping, "nobody knows what runs there");
    assert_eq!(
        draining(2, |observed| observed.pods[0].deleting = true).group.phase,
        Phase::Draining,
        "its containers run"
    );
}

#[test]
fn a_drain_is_not_taken_back_while_the_dashboard_is_silent() {
    let fleet = fleet(1);
    let group = GroupStatus {
        phase: Phase::Draining,
        left_endpoints_at: Some(time::began(at(1))),
        ..ready_entry(&fleet, 0)
    };
    let mut observed = healthy(&group, t0());
    observed.ray = None;
    let waits = step(&fleet, &group, &observed, 2);
    assert_eq!((waits.group.phase, waits.group.left_endpoints_at), (Phase::Draining, None));
}

#[test]
fn an_engine_that_tells_no_load_is_waited_for() {
    let fleet = fleet(1);
    let group = GroupStatus {
        phase: Phase::Draining,
        left_endpoints_at: Some(time::began(at(1))),
        ..with_goal(ready_entry(&fleet, 0), Goal::Retire)
    };
    let mut observed = healthy(&group, t0());
    observed.pods[0].gate_open = false;
    observed.endpoint_ready = None;
    ray_mut(&mut observed).engine.load = None;
    assert_eq!(step(&fleet, &group, &observed, 30).group.phase, Phase::Draining);
    ray_mut(&mut observed).engine.job = None;
    assert_eq!(
        step(&fleet, &group, &observed, 30).group.phase,
        Phase::Stopping,
        "a dead engine has no requests"
    );
}

#[test]
fn a_swap_keeps_the_pods_and_launches_the_wanted_engine() {
    let mut fleet = fleet(1);
    let old = GroupStatus {
        phase: Phase::Stopping,
        restarts: 2,
        ..with_goal(ready_entry(&fleet, 0), Goal::SwapEngine)
    };
    fleet.revision.engine = Some("eng2".into());
    let mut observed = healthy(&old, t0());
    observed.pods[0].gate_open = false;
    let running = step(&fleet, &old, &observed, 1);
    assert_eq!(kinds(&running), ["stop"]);
    ray_mut(&mut observed).engine.job = Some(ObservedJob::Ended("stopped".to_owned()));
    let next = step(&fleet, &old, &observed, 2);
    assert_eq!(kinds(&next), ["launch llama-pods1-0.eng2.2"]);
    assert_eq!((next.group.phase, next.group.goal, next.group.restarts), (Phase::Placing, Goal::Serve, 0));
    assert_eq!((next.group.engine_revision, next.group.uid), (Some("eng2".into()), old.uid));
}

#[test]
fn a_group_without_an_engine_yet_just_takes_the_new_revision() {
    let mut fleet = fleet(1);
    let young = with_goal(entry(&fleet, 0), Goal::SwapEngine);
    fleet.revision.engine = Some("eng2".into());
    let step = step(&fleet, &young, &ObservedGroup::default(), 1);
    assert_eq!(kinds(&step), ["create"]);
    assert_eq!((step.group.goal, step.group.engine_revision), (Goal::Serve, Some("eng2".into())));
}

#[test]
fn a_group_between_two_launches_just_takes_the_new_revision() {
    let mut fleet = fleet(1);
    let between = GroupStatus {
        phase: Phase::Provisioning,
        launch: 2,
        ready_since: None,
        ..with_goal(ready_entry(&fleet, 0), Goal::SwapEngine)
    };
    fleet.revision.engine = Some("eng2".into());
    let mut observed = healthy(&between, t0());
    observed.pods[0].gate_open = false;
    ray_mut(&mut observed).engine.job = None;
    assert_eq!(kinds(&step(&fleet, &between, &observed, 1)), ["launch llama-pods1-0.eng2.2"]);
}

/// A group that lost its traffic a moment ago: its head does not answer, its engine may.
fn not_ready(phase: Phase) -> GroupStatus {
    GroupStatus {
        phase,
        not_ready_since: Some(time::began(at(0))),
        ready_since: None,
        ..with_goal(ready_entry(&fleet(1), 0), Goal::Retire)
    }
}

#[test]
fn a_group_that_is_not_ready_is_drained_if_its_engine_still_tells_its_load() {
    let group = not_ready(Phase::Provisioning);
    let mut observed = healthy(&group, t0());
    observed.pods[0].gate_open = false;
    assert_eq!(step(&fleet(1), &group, &observed, 1).group.phase, Phase::Draining);
    ray_mut(&mut observed).engine.load = None;
    assert_eq!(step(&fleet(1), &group, &observed, 1).group.phase, Phase::Stopping);
}

#[test]
fn a_stopping_group_is_not_drained_again() {
    let group = not_ready(Phase::Stopping);
    let mut observed = healthy(&group, t0());
    observed.pods[0].gate_open = false;
    assert_eq!(step(&fleet(1), &group, &observed, 1).group.phase, Phase::Stopping);
}

#[test]
fn a_group_that_does_not_serve_is_not_drained() {
    let fleet = fleet(1);
    for phase in
        [Phase::Pending, Phase::Provisioning, Phase::Forming, Phase::Placing, Phase::Loading, Phase::Failed]
    {
        let group = GroupStatus { phase, ..with_goal(ready_entry(&fleet, 0), Goal::Retire) };
        let mut observed = healthy(&group, t0());
        observed.pods[0].gate_open = false;
        assert_eq!(step(&fleet, &group, &observed, 1).group.phase, Phase::Stopping, "{phase:?}");
    }
}

#[test]
fn an_engine_that_does_not_stop_holds_nothing_up() {
    let fleet = fleet(1);
    let group = GroupStatus { phase: Phase::Stopping, ..with_goal(ready_entry(&fleet, 0), Goal::Retire) };
    let mut observed = healthy(&group, t0());
    observed.pods[0].gate_open = false;
    assert_eq!(kinds(&step(&fleet, &group, &observed, 29)), ["stop"]);
    assert_eq!(kinds(&step(&fleet, &group, &observed, 30)), ["stop", "delete"]);
}

#[test]
fn an_engine_that_does_not_stop_is_not_swapped_in_place() {
    let mut fleet = fleet(1);
    let group = GroupStatus { phase: Phase::Stopping, ..with_goal(ready_entry(&fleet, 0), Goal::SwapEngine) };
    fleet.revision.engine = Some("eng2".into());
    let mut observed = healthy(&group, t0());
    observed.pods[0].gate_open = false;
    let stuck = step(&fleet, &group, &observed, 30);
    assert_eq!(
        (stuck.group.goal, kinds(&stuck)),
        (Goal::Retire, vec!["stop".to_owned(), "GroupFailed".to_owned(), "delete".to_owned()])
    );
}

#[test]
fn a_drain_can_be_taken_back() {
    let fleet = fleet(1);
    let since = Some(time::began(at(1)));
    let group = GroupStatus { phase: Phase::Draining, phase_since: since, ..ready_entry(&fleet, 0) };
    let mut observed = healthy(&group, t0());
    (observed.pods[0].gate_open, observed.pods[0].gate_since) = (false, Some(at(1)));
    ray_mut(&mut observed).engine.load.as_mut().unwrap().draining = Some(true);
    let reported = step(&fleet, &group, &observed, 1);
    assert_eq!(
        (reported.group.phase, kinds(&reported)),
        (Phase::Draining, vec!["draining false".to_owned()])
    );
    ray_mut(&mut observed).engine.load.as_mut().unwrap().draining = Some(false);
    let leaves = step(&fleet, &reported.group, &observed, 2);
    assert_eq!(
        (leaves.group.phase, kinds(&leaves)),
        (Phase::Draining, Vec::new()),
        "the endpoints tell of before"
    );
    observed.endpoint_ready = Some(false);
    let back = step(&fleet, &leaves.group, &observed, 3);
    assert_eq!((back.group.phase, kinds(&back)), (Phase::Ready, vec!["gate true".to_owned()]));
    assert_eq!(back.group.ready_since, None);
    observed.endpoint_ready = Some(true);
    let kept_by_hand = step(&fleet, &leaves.group, &observed, 6);
    assert_eq!(kept_by_hand.group.phase, Phase::Ready);
}

#[test]
fn a_cluster_that_was_deleted_from_outside_is_given_up() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    observed.cluster.as_mut().unwrap().deleting = true;
    let first = step(&fleet, &group, &observed, 1);
    assert_eq!(
        (first.group.goal, first.group.phase),
        (Goal::Retire, Phase::Draining),
        "its containers still run"
    );
    assert_eq!(kinds(&first), ["GroupDeleted", "gate false", "draining true"]);
    assert!(matches!(first.effects[1], Effect::SetGate { reason: "Evicted", .. }));
    let second = step(&fleet, &first.group, &observed, 2);
    assert_eq!(second.group, first.group);
}

#[test]
fn without_a_model_a_drain_settles_and_deletes() {
    let fleet = plain_fleet(1);
    let group = with_goal(ready_entry(&fleet, 0), Goal::Retire);
    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.load = None;
    let first = step(&fleet, &group, &observed, 1);
    assert_eq!((first.group.phase, kinds(&first)), (Phase::Draining, vec!["gate false".to_owned()]));
    observed.pods[0].gate_open = false;
    observed.endpoint_ready = Some(false);
    let closed = step(&fleet, &first.group, &observed, 2);
    assert_eq!(closed.group.phase, Phase::Draining);
    assert_eq!(kinds(&step(&fleet, &closed.group, &observed, 4)), ["delete"]);
}

/// The same drain, of a head that its gate has closed for at 1 s and that endpoints list for ever.
fn listed(drain: u64, seconds: i64, edit: impl FnOnce(&mut ObservedGroup)) -> GroupDecision {
    let mut fleet = fleet(1);
    fleet.drain_timeout = std::time::Duration::from_secs(drain);
    let group = GroupStatus { phase: Phase::Draining, ..with_goal(ready_entry(&fleet, 0), Goal::Retire) };
    let mut observed = healthy(&group, t0());
    (observed.pods[0].gate_open, observed.pods[0].gate_since) = (false, Some(at(1)));
    let load = ray_mut(&mut observed).engine.load.as_mut().unwrap();
    (load.in_flight, load.draining, load.idle_seconds) = (0, Some(true), Some(9.0));
    edit(&mut observed);
    step(&fleet, &group, &observed, seconds)
}

#[test]
fn endpoints_that_never_follow_are_named_and_not_waited_for_until_the_drain_times_out() {
    assert_eq!(listed(600, 3, |_| {}).group.message.as_deref(), Some("leaves the endpoints"));
    let waits = listed(600, 60, |_| {});
    assert_eq!(waits.group.phase, Phase::Draining);
    let message = waits.group.message.unwrap();
    assert!(message.contains("an EndpointSlice lists pod") && message.contains("kubectl get endpointslices"));
    let gone_on = listed(600, 61, |_| {});
    assert!(gone_on.group.left_endpoints_at.is_some(), "from now on no new request is expected");
    let busy = listed(600, 90, |observed| ray_mut(observed).engine.load.as_mut().unwrap().in_flight = 2);
    assert_eq!(busy.group.phase, Phase::Draining, "what it answers it may end");
    // Settled since 61 s.
    let fleet = fleet(1);
    let group = GroupStatus {
        phase: Phase::Draining,
        left_endpoints_at: gone_on.group.left_endpoints_at,
        ..ready_entry(&fleet, 0)
    };
    let mut observed = healthy(&group, t0());
    (observed.pods[0].gate_open, observed.pods[0].gate_since) = (false, Some(at(1)));
    let load = ray_mut(&mut observed).engine.load.as_mut().unwrap();
    (load.draining, load.idle_seconds) = (Some(true), Some(9.0));
    let ended = step(&fleet, &with_goal(group, Goal::Retire), &observed, 63);
    assert_eq!((ended.group.phase, ended.lost_requests), (Phase::Stopping, 0));
}

#[test]
fn a_drain_ends_at_its_deadline_whatever_slices_and_gate_say() {
    type Edit = fn(&mut ObservedGroup);
    let cases: [(&str, Edit); 5] = [
        ("idle", |_| {}),
        ("busy", |observed| ray_mut(observed).engine.load.as_mut().unwrap().in_flight = 3),
        ("it does not tell", |observed| ray_mut(observed).engine.load = None),
        ("the gate is never closed", |observed| observed.pods[0].gate_open = true),
        ("nobody knows since when it is closed", |observed| observed.pods[0].gate_since = None),
    ];
    for (name, edit) in cases {
        assert_eq!(listed(30, 29, edit).group.phase, Phase::Draining, "{name}");
        assert_eq!(listed(30, 30, edit).group.phase, Phase::Stopping, "{name}");
    }
}
