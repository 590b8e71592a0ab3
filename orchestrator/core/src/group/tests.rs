//! The step function, phase by phase: what was, what is seen, what follows.

use rayfleet_api::ValidFleet;
use rayfleet_api::status::{Goal, GroupStatus, Phase};

use super::{Step, backoff};
use crate::effect::Effect;
use crate::seen::{GroupSeen, JobSeen, PodProblem, ProbeSeen};
use crate::testing::*;
use crate::time;

fn step(fleet: &ValidFleet, group: &GroupStatus, seen: &GroupSeen, seconds: i64) -> Step {
    let mut seen = seen.clone();
    if let Some(ray) = &mut seen.ray {
        ray.at = at(seconds);
    }
    super::step(fleet, group, &seen, at(seconds))
}

/// The short names of effects, in order.
fn kinds(step: &Step) -> Vec<String> {
    step.effects
        .iter()
        .map(|effect| match effect {
            Effect::CreateCluster { .. } => "create".to_owned(),
            Effect::DeleteCluster { .. } => "delete".to_owned(),
            Effect::SetGate { open, .. } => format!("gate {open}"),
            Effect::LaunchEngine { submission, .. } => format!("launch {submission}"),
            Effect::SetDraining { draining, .. } => format!("draining {draining}"),
            Effect::StopEngine { .. } => "stop".to_owned(),
            Effect::Probe { .. } => "probe".to_owned(),
            Effect::Event { reason, .. } => (*reason).to_owned(),
        })
        .collect()
}

/// Bring-up is a ladder: each observation is one rung short of the next.
#[test]
fn bring_up_follows_what_is_seen() {
    let fleet = fleet(1);
    let mut group = entry(&fleet, 0);
    let mut climb = |edit: &dyn Fn(&GroupStatus, &mut GroupSeen), phase: Phase, expected: &[&str]| {
        let mut seen = healthy(&group, t0());
        seen.pods[0].gate_open = false;
        edit(&group, &mut seen);
        let step = step(&fleet, &group, &seen, 1);
        assert_eq!(step.group.phase, phase, "{:?}", step.group.message);
        assert_eq!(kinds(&step), expected, "in {phase:?}");
        group = step.group;
        group.uid = Some("uid".to_owned());
    };
    climb(&|_, seen| *seen = GroupSeen::default(), Phase::Pending, &["create"]);
    climb(&|_, seen| seen.pods.clear(), Phase::Provisioning, &[]);
    climb(&|_, seen| seen.pods[1].containers_ready = false, Phase::Provisioning, &[]);
    climb(&|_, seen| seen.ray = None, Phase::Forming, &[]);
    climb(&|_, seen| seen.ray.as_mut().unwrap().state = Err("refused".to_owned()), Phase::Forming, &[]);
    climb(&|_, seen| ray_mut(seen).nodes.truncate(1), Phase::Forming, &[]);
    let launch = "launch llama-pods1-0.eng1.1";
    climb(&|_, seen| ray_mut(seen).engine.job = None, Phase::Placing, &[launch]);
    climb(&|_, seen| ray_mut(seen).engine.job = None, Phase::Placing, &[launch]);
    climb(
        &|_, seen| {
            ray_mut(seen).engine.job = Some(JobSeen::Pending);
            ray_mut(seen).engine.ranks_placed = 0;
            ray_mut(seen).engine.healthy = false;
        },
        Phase::Placing,
        &[],
    );
    climb(&|_, seen| ray_mut(seen).engine.healthy = false, Phase::Loading, &[]);
    climb(&|_, seen| ray_mut(seen).engine.probe = ProbeSeen::Unknown, Phase::Probing, &["probe"]);
    climb(&|_, _| {}, Phase::Ready, &["GroupReady", "gate true"]);
    climb(&|_, seen| seen.pods[0].gate_open = true, Phase::Ready, &[]);
    assert!(group.ready_since.is_some());
    assert_eq!(group.ranks.as_deref(), Some("2/2"));
    assert_eq!(
        group.placement.iter().map(|rank| rank.node.as_str()).collect::<Vec<_>>(),
        ["node-0", "node-1"]
    );
}

#[test]
fn a_group_at_rest_is_not_changed() {
    let fleet = fleet(1);
    let first = step(&fleet, &ready_entry(&fleet, 0), &healthy(&ready_entry(&fleet, 0), t0()), 1);
    let second = step(&fleet, &first.group, &healthy(&first.group, t0()), 500);
    assert_eq!(second.group, first.group);
    assert_eq!(second.effects, []);
    assert_eq!(second.wake, None);
}

#[test]
fn it_is_not_ready_before_the_endpoints_follow() {
    let fleet = fleet(1);
    let mut seen = healthy(&ready_entry(&fleet, 0), t0());
    seen.endpoint_ready = Some(false);
    assert_eq!(step(&fleet, &ready_entry(&fleet, 0), &seen, 1).group.ready_since, None);
    seen.endpoint_ready = None;
    assert!(step(&fleet, &ready_entry(&fleet, 0), &seen, 1).group.ready_since.is_some());
}

#[test]
fn a_restarted_controller_keeps_a_ready_group_ready() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut seen = healthy(&group, t0());
    ray_mut(&mut seen).engine.probe = ProbeSeen::Unknown;
    let probed_before = step(&fleet, &group, &seen, 1);
    assert_eq!((probed_before.group.phase, probed_before.effects), (Phase::Ready, vec![]));
    seen.ray = None;
    let not_asked = step(&fleet, &group, &seen, 1);
    assert_eq!((not_asked.group.phase, not_asked.effects), (Phase::Ready, vec![]));
}

#[test]
fn problems_of_pods_are_told_once_and_in_words() {
    let fleet = fleet(1);
    let group = GroupStatus { uid: Some("uid".to_owned()), ..entry(&fleet, 0) };
    let mut seen = healthy(&group, t0());
    let mut problem = |reason: &str, message: &str| {
        seen.pods[1].containers_ready = false;
        seen.pods[0].gate_open = false;
        seen.pods[1].problem = Some(PodProblem { reason: reason.to_owned(), message: message.to_owned() });
        seen.clone()
    };
    let first = step(&fleet, &group, &problem("ErrImagePull", "not found"), 1);
    assert_eq!(kinds(&first), ["PodProblem"]);
    let message = first.group.message.clone().unwrap();
    assert!(message.contains("llama-pods1-0-w: ImagePullBackOff"), "{message}");
    assert!(message.contains("check the template's image: not found"), "{message}");
    let again = step(&fleet, &first.group, &problem("ImagePullBackOff", "Back-off"), 2);
    assert_eq!((kinds(&again), again.group), (vec![], first.group.clone()));
    let other = step(&fleet, &first.group, &problem("Unschedulable", "0/3 nodes"), 3);
    assert_eq!(kinds(&other), ["PodProblem"]);
    assert!(other.group.message.unwrap().contains("it asks for 1 nvidia.com/gpu: 0/3 nodes"));
}

#[test]
fn what_kuberay_refuses_is_told() {
    let fleet = fleet(1);
    let group = GroupStatus { uid: Some("uid".to_owned()), ..entry(&fleet, 0) };
    let mut seen = healthy(&group, t0());
    seen.pods.clear();
    seen.cluster.as_mut().unwrap().warning = Some("headGroupSpec: bad".to_owned());
    let first = step(&fleet, &group, &seen, 1);
    assert_eq!(kinds(&first), ["RayClusterProblem"]);
    assert_eq!(kinds(&step(&fleet, &first.group, &seen, 2)), Vec::<String>::new());
}

type Edit = dyn Fn(&mut GroupSeen);

/// Each way to fail closes the gate at once and says what is tried next.
#[test]
fn failures_of_a_ready_group_close_the_gate() {
    let fleet = fleet(1);
    let cases: [(&str, &Edit); 6] = [
        ("killed", &|seen| ray_mut(seen).engine.job = Some(JobSeen::Ended("killed".to_owned()))),
        ("not healthy", &|seen| ray_mut(seen).engine.healthy = false),
        ("rank 1 is on node-2", &|seen| {
            ray_mut(seen).engine.differences = vec!["rank 1 is on node-2".to_owned()];
        }),
        ("does not know", &|seen| ray_mut(seen).engine.job = None),
        ("a pod of the group is gone", &|seen| drop(seen.pods.pop())),
        ("a pod of the group is gone", &|seen| seen.pods[1].deleting = true),
    ];
    for (cause, edit) in cases {
        let group = ready_entry(&fleet, 0);
        let mut seen = healthy(&group, t0());
        edit(&mut seen);
        let step = step(&fleet, &group, &seen, 1);
        assert_eq!((step.group.phase, step.group.restarts), (Phase::Failed, 1), "{cause}");
        assert_eq!(kinds(&step), ["gate false", "GroupFailed"], "{cause}");
        assert!(step.group.message.as_ref().unwrap().contains(cause), "{:?}", step.group.message);
        assert_eq!((step.group.ready_since, step.wake), (None, Some(at(6))), "{cause}");
    }
}

#[test]
fn a_failed_engine_is_stopped_then_launched_anew() {
    let fleet = fleet(1);
    let failed = GroupStatus {
        phase: Phase::Failed,
        restarts: 1,
        retry_after: Some(time::began(at(6))),
        ready_since: None,
        ..ready_entry(&fleet, 0)
    };
    let mut seen = healthy(&failed, t0());
    seen.pods[0].gate_open = false;
    let running = step(&fleet, &failed, &seen, 7);
    assert_eq!((running.group.phase, kinds(&running)), (Phase::Failed, vec!["stop".to_owned()]));
    ray_mut(&mut seen).engine.job = Some(JobSeen::Ended("stopped".to_owned()));
    let early = step(&fleet, &failed, &seen, 5);
    assert_eq!((early.group.phase, early.wake), (Phase::Failed, Some(at(6))));
    let next = step(&fleet, &failed, &seen, 6);
    assert_eq!(next.group.phase, Phase::Placing);
    assert_eq!(kinds(&next), ["launch llama-pods1-0.eng1.2"]);
    assert_eq!(next.group.deadline.unwrap().0, at(606));
}

#[test]
fn news_of_the_launch_before_are_not_taken_for_this_one() {
    let fleet = fleet(1);
    let before = ready_entry(&fleet, 0);
    let mut seen = healthy(&before, t0());
    ray_mut(&mut seen).engine.job = Some(JobSeen::Ended("old".to_owned()));
    seen.pods[0].gate_open = false;
    let group = GroupStatus {
        phase: Phase::Placing,
        launch: 2,
        ranks: None,
        ready_since: None,
        deadline: Some(time::began(at(600))),
        ..before
    };
    let step = step(&fleet, &group, &seen, 1);
    assert_eq!((step.group.phase, kinds(&step)), (Phase::Placing, vec![]));
}

#[test]
fn after_too_many_restarts_the_group_is_given_up() {
    let fleet = fleet(1);
    let group = GroupStatus { restarts: 2, ..ready_entry(&fleet, 0) };
    let mut seen = healthy(&group, t0());
    ray_mut(&mut seen).engine.job = Some(JobSeen::Ended("no such model".to_owned()));
    let step = step(&fleet, &group, &seen, 1);
    assert_eq!((step.group.goal, step.group.failures), (Goal::Retire, 1));
    assert!(step.group.goal_reason.as_ref().unwrap().contains("no such model"));
    assert_eq!(kinds(&step), ["gate false", "GroupFailed", "gate false", "delete"]);
}

#[test]
fn silence_is_borne_for_a_while() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut seen = healthy(&group, t0());
    seen.ray.as_mut().unwrap().state = Err("timed out".to_owned());
    let first = step(&fleet, &group, &seen, 10);
    assert_eq!((first.group.phase, kinds(&first), first.wake), (Phase::Ready, vec![], Some(at(15))));
    let later = step(&fleet, &first.group, &seen, 14);
    assert_eq!(later.group.phase, Phase::Ready);
    let lost = step(&fleet, &later.group, &seen, 15);
    assert_eq!(
        (lost.group.phase, kinds(&lost)),
        (Phase::Forming, vec!["gate false".to_owned(), "GroupNotReady".to_owned()])
    );
    let back = step(&fleet, &lost.group, &healthy(&group, t0()), 20);
    assert_eq!((back.group.phase, back.group.restarts), (Phase::Ready, 0));
    let failed = step(&fleet, &lost.group, &seen, 75);
    assert_eq!((failed.group.phase, failed.group.restarts), (Phase::Failed, 1));
}

#[test]
fn an_engine_that_does_not_answer_gets_no_traffic_and_then_fails() {
    let fleet = fleet(1);
    let mut group = ready_entry(&fleet, 0);
    let mut seen = healthy(&group, t0());
    ray_mut(&mut seen).engine.healthy = false;
    ray_mut(&mut seen).engine.answering = false;
    for (seconds, phase) in
        [(1, Phase::Ready), (6, Phase::Loading), (60, Phase::Loading), (66, Phase::Failed)]
    {
        group = step(&fleet, &group, &seen, seconds).group;
        assert_eq!(group.phase, phase, "after {seconds} s");
    }
}

#[test]
fn an_old_answer_is_no_answer() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let seen = healthy(&group, t0());
    let step = super::step(&fleet, &group, &seen, at(31));
    assert!(step.group.unreachable_since.is_some());
}

#[test]
fn a_container_that_is_not_ready_stops_traffic_but_not_the_engine() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut seen = healthy(&group, t0());
    seen.pods[1].containers_ready = false;
    let lost = step(&fleet, &group, &seen, 1);
    assert_eq!((lost.group.phase, lost.group.restarts), (Phase::Provisioning, 0));
    assert_eq!(kinds(&lost), ["gate false", "GroupNotReady"]);
    let mut healthy = healthy(&group, t0());
    healthy.pods[0].gate_open = false;
    let back = step(&fleet, &lost.group, &healthy, 5);
    assert_eq!((back.group.phase, back.group.launch), (Phase::Ready, 1));
    let late = step(&fleet, &lost.group, &seen, 61);
    assert_eq!(late.group.phase, Phase::Failed);
}

#[test]
fn a_start_that_takes_too_long_has_failed() {
    let fleet = fleet(1);
    let loading = GroupStatus {
        phase: Phase::Loading,
        deadline: Some(time::began(at(600))),
        ready_since: None,
        ..ready_entry(&fleet, 0)
    };
    let mut seen = healthy(&loading, t0());
    seen.pods[0].gate_open = false;
    ray_mut(&mut seen).engine.healthy = false;
    let early = step(&fleet, &loading, &seen, 599);
    assert_eq!((early.group.phase, early.wake), (Phase::Loading, Some(at(600))));
    let late = step(&fleet, &loading, &seen, 600);
    assert_eq!(late.group.phase, Phase::Failed);
    assert!(late.group.message.unwrap().contains("not ready in time"));
}

#[test]
fn a_wrong_answer_to_the_probe_is_a_failure() {
    let fleet = fleet(1);
    let probing = GroupStatus {
        phase: Phase::Probing,
        deadline: Some(time::began(at(600))),
        ready_since: None,
        ..ready_entry(&fleet, 0)
    };
    let mut seen = healthy(&probing, t0());
    seen.pods[0].gate_open = false;
    ray_mut(&mut seen).engine.probe = ProbeSeen::Failed("answered `x`".to_owned());
    let step = step(&fleet, &probing, &seen, 1);
    assert_eq!(step.group.phase, Phase::Failed);
    assert!(step.group.message.unwrap().contains("answered `x`"));
}

#[test]
fn a_pod_that_does_not_end_has_the_group_recreated() {
    let fleet = fleet(1);
    let group = GroupStatus { phase: Phase::Provisioning, ready_since: None, ..ready_entry(&fleet, 0) };
    let mut seen = healthy(&group, t0());
    seen.pods[0].gate_open = false;
    seen.pods[1].deleting = true;
    assert_eq!(step(&fleet, &group, &seen, 59).group.goal, Goal::Serve);
    let stuck = step(&fleet, &group, &seen, 60);
    assert_eq!(stuck.group.goal, Goal::Retire);
    assert!(stuck.group.goal_reason.unwrap().contains("llama-pods1-0-w on node-1 does not end"));
}

#[test]
fn failures_are_forgotten_after_a_while_of_serving() {
    let fleet = fleet(1);
    let group = GroupStatus { restarts: 2, failures: 1, ..ready_entry(&fleet, 0) };
    let seen = healthy(&group, t0());
    let early = step(&fleet, &group, &seen, 599);
    assert_eq!((early.group.restarts, early.wake), (2, Some(at(600))));
    let late = step(&fleet, &group, &seen, 600);
    assert_eq!((late.group.restarts, late.group.failures), (0, 0));
}

/// Draining waits for the endpoints, then for the requests, then the engine goes, then the pods.
#[test]
fn a_drain_ends_no_request() {
    let fleet = fleet(1);
    let mut group = with_goal(ready_entry(&fleet, 0), Goal::Retire);
    let mut seen = healthy(&group, t0());
    let mut go = |seen: &GroupSeen, seconds: i64, phase: Phase, expected: &[&str]| {
        let step = step(&fleet, &group, seen, seconds);
        assert_eq!(
            (step.group.phase, kinds(&step)),
            (phase, expected.iter().map(ToString::to_string).collect()),
            "after {seconds} s"
        );
        group = step.group;
    };
    ray_mut(&mut seen).engine.load.as_mut().unwrap().in_flight = 3;
    go(&seen, 1, Phase::Draining, &["gate false"]);
    seen.pods[0].gate_open = false;
    go(&seen, 2, Phase::Draining, &[]);
    seen.endpoint_ready = Some(false);
    go(&seen, 3, Phase::Draining, &[]);
    go(&seen, 4, Phase::Draining, &[]);
    go(&seen, 5, Phase::Draining, &["draining true"]);
    ray_mut(&mut seen).engine.load.as_mut().unwrap().draining = Some(true);
    go(&seen, 6, Phase::Draining, &[]);
    ray_mut(&mut seen).engine.load.as_mut().unwrap().in_flight = 0;
    ray_mut(&mut seen).engine.load.as_mut().unwrap().idle_seconds = Some(0.5);
    go(&seen, 7, Phase::Draining, &[]);
    ray_mut(&mut seen).engine.load.as_mut().unwrap().idle_seconds = Some(1.5);
    go(&seen, 8, Phase::Stopping, &["stop"]);
    ray_mut(&mut seen).engine.job = Some(JobSeen::Ended("stopped".to_owned()));
    go(&seen, 9, Phase::Stopping, &["delete"]);
    seen.cluster = None;
    go(&seen, 10, Phase::Stopping, &[]);
}

#[test]
fn a_drain_that_takes_too_long_counts_what_it_cuts_off() {
    let fleet = fleet(1);
    let group = GroupStatus {
        phase: Phase::Draining,
        closed_since: Some(time::began(at(1))),
        ..with_goal(ready_entry(&fleet, 0), Goal::Retire)
    };
    let mut seen = healthy(&group, t0());
    seen.pods[0].gate_open = false;
    seen.endpoint_ready = Some(false);
    let load = ray_mut(&mut seen).engine.load.as_mut().unwrap();
    (load.in_flight, load.draining) = (3, Some(true));
    assert_eq!(step(&fleet, &group, &seen, 59).group.phase, Phase::Draining);
    let late = step(&fleet, &group, &seen, 60);
    assert_eq!((late.group.phase, late.lost_requests), (Phase::Stopping, 3));
    assert_eq!(kinds(&late), ["DrainTimeout", "stop"]);
}

#[test]
fn an_engine_that_tells_no_load_is_waited_for() {
    let fleet = fleet(1);
    let group = GroupStatus {
        phase: Phase::Draining,
        closed_since: Some(time::began(at(1))),
        ..with_goal(ready_entry(&fleet, 0), Goal::Retire)
    };
    let mut seen = healthy(&group, t0());
    seen.pods[0].gate_open = false;
    seen.endpoint_ready = None;
    ray_mut(&mut seen).engine.load = None;
    assert_eq!(step(&fleet, &group, &seen, 30).group.phase, Phase::Draining);
    ray_mut(&mut seen).engine.job = None;
    assert_eq!(step(&fleet, &group, &seen, 30).group.phase, Phase::Stopping, "a dead engine has no requests");
}

#[test]
fn a_swap_keeps_the_pods_and_launches_the_wanted_engine() {
    let mut fleet = fleet(1);
    let old = GroupStatus {
        phase: Phase::Stopping,
        restarts: 2,
        ..with_goal(ready_entry(&fleet, 0), Goal::SwapEngine)
    };
    fleet.revision.engine = Some("eng2".to_owned());
    let mut seen = healthy(&old, t0());
    seen.pods[0].gate_open = false;
    let running = step(&fleet, &old, &seen, 1);
    assert_eq!(kinds(&running), ["stop"]);
    ray_mut(&mut seen).engine.job = Some(JobSeen::Ended("stopped".to_owned()));
    let next = step(&fleet, &old, &seen, 2);
    assert_eq!(kinds(&next), ["launch llama-pods1-0.eng2.2"]);
    assert_eq!((next.group.phase, next.group.goal, next.group.restarts), (Phase::Placing, Goal::Serve, 0));
    assert_eq!((next.group.engine_revision, next.group.uid), (Some("eng2".to_owned()), old.uid));
}

#[test]
fn a_group_without_an_engine_yet_just_takes_the_new_revision() {
    let mut fleet = fleet(1);
    let young = with_goal(entry(&fleet, 0), Goal::SwapEngine);
    fleet.revision.engine = Some("eng2".to_owned());
    let step = step(&fleet, &young, &GroupSeen::default(), 1);
    assert_eq!(kinds(&step), ["create"]);
    assert_eq!((step.group.goal, step.group.engine_revision), (Goal::Serve, Some("eng2".to_owned())));
}

#[test]
fn a_group_that_does_not_serve_is_not_drained() {
    let fleet = fleet(1);
    for phase in
        [Phase::Pending, Phase::Provisioning, Phase::Forming, Phase::Placing, Phase::Loading, Phase::Failed]
    {
        let group = GroupStatus { phase, ..with_goal(ready_entry(&fleet, 0), Goal::Retire) };
        let mut seen = healthy(&group, t0());
        seen.pods[0].gate_open = false;
        assert_eq!(step(&fleet, &group, &seen, 1).group.phase, Phase::Stopping, "{phase:?}");
    }
}

#[test]
fn an_engine_that_does_not_stop_holds_nothing_up() {
    let fleet = fleet(1);
    let group = GroupStatus { phase: Phase::Stopping, ..with_goal(ready_entry(&fleet, 0), Goal::Retire) };
    let mut seen = healthy(&group, t0());
    seen.pods[0].gate_open = false;
    assert_eq!(kinds(&step(&fleet, &group, &seen, 29)), ["stop"]);
    assert_eq!(kinds(&step(&fleet, &group, &seen, 30)), ["stop", "delete"]);
}

#[test]
fn an_engine_that_does_not_stop_is_not_swapped_in_place() {
    let mut fleet = fleet(1);
    let group = GroupStatus { phase: Phase::Stopping, ..with_goal(ready_entry(&fleet, 0), Goal::SwapEngine) };
    fleet.revision.engine = Some("eng2".to_owned());
    let mut seen = healthy(&group, t0());
    seen.pods[0].gate_open = false;
    let stuck = step(&fleet, &group, &seen, 30);
    assert_eq!(
        (stuck.group.goal, kinds(&stuck)),
        (Goal::Retire, vec!["stop".to_owned(), "GroupFailed".to_owned(), "delete".to_owned()])
    );
}

#[test]
fn a_drain_can_be_taken_back() {
    let fleet = fleet(1);
    let group = GroupStatus { phase: Phase::Draining, ..ready_entry(&fleet, 0) };
    let mut seen = healthy(&group, t0());
    seen.pods[0].gate_open = false;
    ray_mut(&mut seen).engine.load.as_mut().unwrap().draining = Some(true);
    let told = step(&fleet, &group, &seen, 1);
    assert_eq!((told.group.phase, kinds(&told)), (Phase::Draining, vec!["draining false".to_owned()]));
    ray_mut(&mut seen).engine.load.as_mut().unwrap().draining = Some(false);
    let back = step(&fleet, &told.group, &seen, 2);
    assert_eq!((back.group.phase, kinds(&back)), (Phase::Ready, vec!["gate true".to_owned()]));
}

#[test]
fn a_cluster_that_was_deleted_from_outside_is_given_up() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut seen = healthy(&group, t0());
    seen.cluster.as_mut().unwrap().deleting = true;
    let first = step(&fleet, &group, &seen, 1);
    assert_eq!((first.group.goal, first.group.phase), (Goal::Retire, Phase::Stopping));
    assert_eq!(kinds(&first), ["GroupDeleted", "gate false"]);
    let second = step(&fleet, &first.group, &seen, 2);
    assert_eq!(second.group, first.group);
}

#[test]
fn in_flight_is_not_written_all_the_time() {
    let fleet = fleet(1);
    let mut group = ready_entry(&fleet, 0);
    let mut seen = healthy(&group, t0());
    let mut after = |seconds: i64, in_flight: u32| {
        ray_mut(&mut seen).engine.load.as_mut().unwrap().in_flight = in_flight;
        group = step(&fleet, &group, &seen, seconds).group;
        group.in_flight
    };
    assert_eq!(after(1, 5), Some(5));
    assert_eq!(after(2, 7), Some(5));
    assert_eq!(after(11, 8), Some(8));
}

#[test]
fn without_a_model_pods_and_ray_nodes_decide() {
    let mut fleet = plain_fleet(1);
    let group = GroupStatus { phase: Phase::Forming, ready_since: None, ..ready_entry(&fleet, 0) };
    let mut seen = healthy(&group, t0());
    seen.pods[0].gate_open = false;
    ray_mut(&mut seen).engine = crate::seen::EngineSeen::default();
    let ready = step(&fleet, &group, &seen, 1);
    assert_eq!(
        (ready.group.phase, kinds(&ready)),
        (Phase::Ready, vec!["GroupReady".to_owned(), "gate true".to_owned()])
    );
    fleet.own_engine_port = Some(8000);
    assert_eq!(step(&fleet, &group, &seen, 1).group.phase, Phase::Loading);
    ray_mut(&mut seen).engine.healthy = true;
    assert_eq!(step(&fleet, &group, &seen, 1).group.phase, Phase::Ready);
}

#[test]
fn without_a_model_lost_pods_are_waited_for() {
    let fleet = plain_fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut seen = healthy(&group, t0());
    seen.pods[1].deleting = true;
    let lost = step(&fleet, &group, &seen, 1);
    assert_eq!((lost.group.phase, lost.group.deadline, lost.group.restarts), (Phase::Provisioning, None, 0));
}

#[test]
fn without_a_model_a_drain_settles_and_deletes() {
    let fleet = plain_fleet(1);
    let group = with_goal(ready_entry(&fleet, 0), Goal::Retire);
    let mut seen = healthy(&group, t0());
    ray_mut(&mut seen).engine.load = None;
    let first = step(&fleet, &group, &seen, 1);
    assert_eq!((first.group.phase, kinds(&first)), (Phase::Draining, vec!["gate false".to_owned()]));
    seen.pods[0].gate_open = false;
    seen.endpoint_ready = Some(false);
    let closed = step(&fleet, &first.group, &seen, 2);
    assert_eq!(closed.group.phase, Phase::Draining);
    assert_eq!(kinds(&step(&fleet, &closed.group, &seen, 4)), ["delete"]);
}

#[test]
fn a_group_waits_before_it_is_recreated() {
    let fleet = fleet(1);
    let group = GroupStatus { retry_after: Some(time::began(at(9))), ..entry(&fleet, 0) };
    let early = step(&fleet, &group, &GroupSeen::default(), 8);
    assert_eq!((early.wake, early.effects), (Some(at(9)), vec![]));
    assert_eq!(kinds(&step(&fleet, &group, &GroupSeen::default(), 9)), ["create"]);
}

#[test]
fn waits_double_up_to_the_longest() {
    let policy = fleet(1).failure;
    let waits: Vec<_> = [1, 2, 3, 8, 1000].map(|failures| backoff(&policy, failures).as_secs()).into();
    assert_eq!(waits, [5, 10, 20, 300, 300]);
}
