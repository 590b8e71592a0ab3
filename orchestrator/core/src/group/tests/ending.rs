//! Machines that say that they end: a kubelet that shuts down, a notice of a cloud.

use rayfleet_api::ValidFleet;
use rayfleet_api::status::{Goal, GroupStatus, Phase};

use super::{GroupDecision, kinds, step};
use crate::capacity::{Closing, Leaving};
use crate::effect::Effect;
use crate::observed::{ObservedGroup, ObservedJob};
use crate::testing::*;

fn closing(how: Leaving) -> Closing {
    Closing { what: "says so".to_owned(), how }
}

/// A group that serves three requests, one of its pods on a node of which that is said.
fn on(pod: usize, how: Leaving) -> (ValidFleet, GroupStatus, ObservedGroup) {
    let fleet = fleet(1);
    let group = GroupStatus { in_flight: Some(3), ..ready_entry(&fleet, 0) };
    let mut observed = healthy(&group, t0());
    observed.pods[pod].node_closing = Some(closing(how));
    ray_mut(&mut observed).engine.load.as_mut().unwrap().in_flight = 3;
    (fleet, group, observed)
}

fn message(step: &GroupDecision, of: &str) -> String {
    let mut events = step.effects.iter().filter_map(|effect| match effect {
        Effect::Event { reason, message, .. } if *reason == of => Some(message.clone()),
        _ => None,
    });
    events.next().unwrap_or_default()
}

/// Neither pod has a deletion timestamp, and both are ready.
#[test]
fn a_kubelet_that_shuts_down_closes_the_gate_at_once_and_ends_no_request() {
    for pod in [0, 1] {
        let (fleet, group, mut observed) = on(pod, Leaving::ShutsDown);
        let first = step(&fleet, &group, &observed, 10);
        assert_eq!(kinds(&first), ["GroupEvicted", "gate false", "draining true"], "pod {pod}");
        assert!(
            first.effects.iter().any(Effect::ends_traffic_of_the_dead),
            "the gate does not wait for the ledger"
        );
        assert_eq!((first.group.goal, first.group.phase), (Goal::Retire, Phase::Draining));
        let said = format!(
            "group llama-pods1-0: node node-{pod} of pod {} is being shut down; its requests may end; another",
            observed.pods[pod].name
        );
        assert!(message(&first, "GroupEvicted").starts_with(&said), "{}", message(&first, "GroupEvicted"));
        (observed.pods[0].gate_open, observed.endpoint_ready) = (false, Some(false));
        ray_mut(&mut observed).engine.load.as_mut().unwrap().draining = Some(true);
        let waits = step(&fleet, &step(&fleet, &first.group, &observed, 12).group, &observed, 40);
        assert_eq!((waits.group.phase, waits.lost_requests), (Phase::Draining, 0));
        ray_mut(&mut observed).engine.load.as_mut().unwrap().in_flight = 0;
        let done = step(&fleet, &waits.group, &observed, 41);
        assert_eq!((done.group.phase, done.group.failures, done.group.restarts), (Phase::Stopping, 0, 0));
        assert_eq!(done.blamed, None);
    }
}

#[test]
fn requests_that_a_shutdown_cuts_off_are_counted_and_no_failure() {
    let (fleet, group, mut observed) = on(1, Leaving::ShutsDown);
    let draining = step(&fleet, &group, &observed, 10).group;
    (observed.pods[1].over, observed.pods[1].containers_ready) = (true, false);
    ray_mut(&mut observed).engine.job = Some(ObservedJob::Ended("exit 1".to_owned()));
    let ended = step(&fleet, &draining, &observed, 12);
    assert_eq!((ended.group.phase, ended.lost_requests, ended.group.failures), (Phase::Stopping, 3, 0));
    assert_eq!(
        message(&ended, "DrainTimeout"),
        "group llama-pods1-0: 3 requests were cut off when pod llama-pods1-0-w ended with its node node-1"
    );
    // The engine is dead before the node's condition is observed: no node has failed.
    let group = GroupStatus {
        phase: Phase::Loading,
        ready_since: None,
        start_deadline: Some(crate::time::began(at(99))),
        ..group
    };
    let failed = step(&fleet, &group, &observed, 12);
    assert_eq!((failed.group.phase, failed.blamed), (Phase::Failed, None));
    observed.pods[1].node_closing = None;
    assert!(step(&fleet, &group, &observed, 12).blamed.is_some());
}

/// The planner has set its goal to `Retire`.
#[test]
fn a_group_that_leaves_a_machine_before_it_ends_says_so_and_drains() {
    let (fleet, group, mut observed) = on(0, Leaving::Ends);
    assert_eq!(
        step(&fleet, &group, &observed, 10).group.phase,
        Phase::Ready,
        "who goes is the planner's to say"
    );
    let reported = step(&fleet, &with_goal(group, Goal::Retire), &observed, 10);
    assert_eq!(kinds(&reported), ["GroupEvicted", "gate false", "draining true"]);
    assert_eq!(
        message(&reported, "GroupEvicted"),
        "group llama-pods1-0: node node-0 says so: its requests may end for as long as the machine is there; another group takes its \
         place"
    );
    (observed.pods[0].gate_open, observed.endpoint_ready) = (false, Some(false));
    let waits = step(&fleet, &reported.group, &observed, 40);
    assert_eq!((waits.group.phase, waits.lost_requests), (Phase::Draining, 0));
    // The machine ends, long before the drain's time is over.
    let ray = observed.ray.as_mut().unwrap();
    ray.unreachable_ips = vec![observed.pods[0].ip.clone().unwrap()];
    ray.state = Err("no answer within 5 s".to_owned());
    let ended = step(&fleet, &waits.group, &observed, 45);
    assert_eq!((ended.group.phase, ended.lost_requests), (Phase::Stopping, 3));
    assert!(
        message(&ended, "DrainTimeout")
            .ends_with("3 requests were cut off when pod llama-pods1-0-head ended with its node node-0")
    );
}

#[test]
fn silence_of_a_machine_that_did_not_say_that_it_ends_is_no_end_of_a_drain() {
    let (fleet, group, mut observed) = on(0, Leaving::Emptied);
    let draining = step(&fleet, &with_goal(group, Goal::Retire), &observed, 10).group;
    let ray = observed.ray.as_mut().unwrap();
    ray.unreachable_ips = vec![observed.pods[0].ip.clone().unwrap()];
    ray.state = Err("no answer within 5 s".to_owned());
    assert_eq!(step(&fleet, &draining, &observed, 45).group.phase, Phase::Draining);
    observed.pods[0].node_lost = true;
    assert_eq!(
        step(&fleet, &draining, &observed, 45).group.phase,
        Phase::Stopping,
        "but Kubernetes has lost it, too"
    );
}
