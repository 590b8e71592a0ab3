//! Machines that say that they end: a kubelet that shuts down, a notice of a cloud.

use rayfleet_api::ValidFleet;
use rayfleet_api::status::{Goal, GroupStatus, Phase};

use super::{Step, kinds, step};
use crate::capacity::{Closing, Leaving};
use crate::effect::Effect;
use crate::seen::{GroupSeen, JobSeen};
use crate::testing::*;

fn closing(how: Leaving) -> Closing {
    Closing { what: "says so".to_owned(), how }
}

/// A group that serves three requests, one of its pods on a node of which that is said.
fn on(pod: usize, how: Leaving) -> (ValidFleet, GroupStatus, GroupSeen) {
    let fleet = fleet(1);
    let group = GroupStatus { in_flight: Some(3), ..ready_entry(&fleet, 0) };
    let mut seen = healthy(&group, t0());
    seen.pods[pod].node_closing = Some(closing(how));
    ray_mut(&mut seen).engine.load.as_mut().unwrap().in_flight = 3;
    (fleet, group, seen)
}

fn message(step: &Step, of: &str) -> String {
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
        let (fleet, group, mut seen) = on(pod, Leaving::ShutsDown);
        let first = step(&fleet, &group, &seen, 10);
        assert_eq!(kinds(&first), ["GroupEvicted", "gate false"], "pod {pod}");
        assert!(
            first.effects.iter().any(Effect::ends_traffic_of_the_dead),
            "the gate does not wait for the ledger"
        );
        assert_eq!((first.group.goal, first.group.phase), (Goal::Retire, Phase::Draining));
        let said = format!(
            "group llama-pods1-0: node node-{pod} of pod {} is being shut down; its requests may end; another",
            seen.pods[pod].name
        );
        assert!(message(&first, "GroupEvicted").starts_with(&said), "{}", message(&first, "GroupEvicted"));
        (seen.pods[0].gate_open, seen.endpoint_ready) = (false, Some(false));
        ray_mut(&mut seen).engine.load.as_mut().unwrap().draining = Some(true);
        let waits = step(&fleet, &step(&fleet, &first.group, &seen, 12).group, &seen, 40);
        assert_eq!((waits.group.phase, waits.lost_requests), (Phase::Draining, 0));
        ray_mut(&mut seen).engine.load.as_mut().unwrap().in_flight = 0;
        let done = step(&fleet, &waits.group, &seen, 41);
        assert_eq!((done.group.phase, done.group.failures, done.group.restarts), (Phase::Stopping, 0, 0));
        assert_eq!(done.blamed, None);
    }
}

#[test]
fn what_a_shutdown_cuts_off_is_counted_and_no_failure() {
    let (fleet, group, mut seen) = on(1, Leaving::ShutsDown);
    let draining = step(&fleet, &group, &seen, 10).group;
    (seen.pods[1].over, seen.pods[1].containers_ready) = (true, false);
    ray_mut(&mut seen).engine.job = Some(JobSeen::Ended("exit 1".to_owned()));
    let ended = step(&fleet, &draining, &seen, 12);
    assert_eq!((ended.group.phase, ended.lost_requests, ended.group.failures), (Phase::Stopping, 3, 0));
    assert_eq!(
        message(&ended, "DrainTimeout"),
        "group llama-pods1-0: 3 requests were cut off when pod llama-pods1-0-w ended with its node node-1"
    );
    // The engine is dead before the node's condition is seen: no node has failed.
    let group = GroupStatus {
        phase: Phase::Loading,
        ready_since: None,
        deadline: Some(crate::time::began(at(99))),
        ..group
    };
    let failed = step(&fleet, &group, &seen, 12);
    assert_eq!((failed.group.phase, failed.blamed), (Phase::Failed, None));
    seen.pods[1].node_closing = None;
    assert!(step(&fleet, &group, &seen, 12).blamed.is_some());
}

/// The planner has told it to go.
#[test]
fn a_group_that_leaves_a_machine_before_it_ends_says_so_and_drains() {
    let (fleet, group, mut seen) = on(0, Leaving::Ends);
    assert_eq!(step(&fleet, &group, &seen, 10).group.phase, Phase::Ready, "who goes is the planner's to say");
    let told = step(&fleet, &with_goal(group, Goal::Retire), &seen, 10);
    assert_eq!(kinds(&told), ["GroupEvicted", "gate false"]);
    assert_eq!(
        message(&told, "GroupEvicted"),
        "group llama-pods1-0: node node-0 says so: its requests may end for as long as the machine is there; another group takes its \
         place"
    );
    (seen.pods[0].gate_open, seen.endpoint_ready) = (false, Some(false));
    let waits = step(&fleet, &told.group, &seen, 40);
    assert_eq!((waits.group.phase, waits.lost_requests), (Phase::Draining, 0));
    // The machine ends, long before the drain's time is over.
    let ray = seen.ray.as_mut().unwrap();
    ray.no_sign = vec![seen.pods[0].ip.clone().unwrap()];
    ray.state = Err("no answer within 5 s".to_owned());
    let ended = step(&fleet, &waits.group, &seen, 45);
    assert_eq!((ended.group.phase, ended.lost_requests), (Phase::Stopping, 3));
    assert!(
        message(&ended, "DrainTimeout")
            .ends_with("3 requests were cut off when pod llama-pods1-0-head ended with its node node-0")
    );
}

#[test]
fn silence_of_a_machine_that_did_not_say_that_it_ends_is_no_end_of_a_drain() {
    let (fleet, group, mut seen) = on(0, Leaving::Emptied);
    let draining = step(&fleet, &with_goal(group, Goal::Retire), &seen, 10).group;
    let ray = seen.ray.as_mut().unwrap();
    ray.no_sign = vec![seen.pods[0].ip.clone().unwrap()];
    ray.state = Err("no answer within 5 s".to_owned());
    assert_eq!(step(&fleet, &draining, &seen, 45).group.phase, Phase::Draining);
    seen.pods[0].node_lost = true;
    assert_eq!(
        step(&fleet, &draining, &seen, 45).group.phase,
        Phase::Stopping,
        "but Kubernetes has lost it, too"
    );
}
