//! How long a group waits before it serves, for what, and what does not count.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rayfleet_api::ValidFleet;
use rayfleet_api::status::{FailureKind, Goal, GroupStatus, Phase};

use super::{kinds, step};
use crate::group::GroupDecision;
use crate::observed::{ObservedGroup, PodProblem};
use crate::testing::*;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// A group on its way up whose RayCluster is there, at this launch.
fn coming_up(fleet: &ValidFleet, launch: u32) -> GroupStatus {
    GroupStatus { uid: Some("uid".to_owned()), launch, ..entry(fleet, 0) }
}

fn problem(observed: &mut ObservedGroup, reason: &str) {
    let pod = &mut observed.pods[1];
    pod.containers_ready = false;
    pod.problem =
        Some(PodProblem { reason: reason.to_owned(), message: "why".to_owned(), ..PodProblem::default() });
    if reason == "Unschedulable" {
        pod.node = None;
    }
}

/// A look every ten seconds at what `edit` makes of a healthy group, from one moment to another. Gives the last step, or the one
/// in which the group was given up, and when that was.
fn looks(
    fleet: &ValidFleet,
    group: GroupStatus,
    from: i64,
    to: i64,
    edit: impl Fn(i64, &mut ObservedGroup),
) -> (GroupDecision, i64) {
    let mut group = group;
    let mut second = from;
    loop {
        let mut observed = healthy(&group, t0());
        observed.pods[0].gate_open = false;
        edit(second, &mut observed);
        let step = step(fleet, &group, &observed, second);
        if step.group.goal == Goal::Retire || second + 10 > to {
            return (step, second);
        }
        group = step.group;
        second += 10;
    }
}

fn gives_up(fleet: &ValidFleet, launch: u32, edit: impl Fn(i64, &mut ObservedGroup)) -> (GroupDecision, i64) {
    looks(fleet, coming_up(fleet, launch), 0, 3 * HOUR, edit)
}

#[test]
fn a_ray_node_that_never_joins_again_ends_the_group_and_counts_against_its_node() {
    let fleet = fleet(1);
    let (step, second) = gives_up(&fleet, 2, |_, observed| ray_mut(observed).nodes.truncate(1));
    assert_eq!((step.group.goal, second), (Goal::Retire, MINUTE), "hungAfter");
    let blamed = step.blamed.unwrap();
    assert_eq!((blamed.nodes, blamed.served), (vec!["node-1".into()], true));
    assert!(blamed.cause.ends_with("still Forming: 1 of 2 Ray nodes are in"), "{}", blamed.cause);
}

#[test]
fn the_first_time_ray_nodes_may_take_as_long_as_a_start() {
    let fleet = fleet(1);
    let (step, second) = gives_up(&fleet, 0, |_, observed| ray_mut(observed).nodes.truncate(1));
    assert_eq!((step.group.failures, second), (1, 10 * MINUTE), "model.startTimeout");
    let silent =
        |_, observed: &mut ObservedGroup| observed.ray.as_mut().unwrap().state = Err("refused".to_owned());
    assert_eq!(gives_up(&fleet, 0, silent).1, 10 * MINUTE);
    let (waits, _) = gives_up(&fleet, 0, |_, observed| observed.ray = None);
    assert_eq!(waits.group.goal, Goal::Serve, "nobody has asked yet");
}

#[test]
fn a_pod_that_keeps_ending_ends_the_group_and_counts_against_its_node() {
    let fleet = fleet(1);
    let (step, second) = gives_up(&fleet, 2, |_, observed| problem(observed, "CrashLoopBackOff"));
    assert_eq!((step.group.goal, second), (Goal::Retire, 5 * MINUTE));
    assert_eq!(step.blamed.unwrap().nodes, ["node-1"]);
}

#[test]
fn a_pod_that_runs_for_a_moment_between_two_crashes_gains_no_time() {
    let fleet = fleet(1);
    let by_turns = |second: i64, observed: &mut ObservedGroup| match second % 30 {
        0 => problem(observed, "CrashLoopBackOff"),
        _ => ray_mut(observed).nodes.truncate(1),
    };
    assert_eq!(gives_up(&fleet, 1, by_turns).1, 5 * MINUTE);
    let replaced = |second: i64, observed: &mut ObservedGroup| match second % 30 {
        0 => drop(observed.pods.pop()),
        _ => observed.pods[1].containers_ready = false,
    };
    let (step, second) = gives_up(&fleet, 1, replaced);
    assert_eq!(step.group.goal, Goal::Retire);
    assert!(second < 20 * MINUTE, "KubeRay makes a new pod each time: {second}");
}

#[test]
fn a_worker_that_cannot_reach_the_head_is_not_waited_for_without_an_end() {
    let fleet = fleet(1);
    let (step, second) = gives_up(&fleet, 0, |_, observed| observed.pods[1].containers_ready = false);
    assert_eq!((step.group.phase, step.group.goal, second), (Phase::Stopping, Goal::Retire, 10 * MINUTE));
    assert!(step.group.goal_reason.as_ref().unwrap().contains("1 of 2 pods are ready"));
    // With one that serves beside it, its node would count.
    assert_eq!(step.blamed.unwrap().nodes, ["node-1"]);
}

#[test]
fn an_init_container_that_is_waited_for_is_named_with_what_it_waits_for() {
    let fleet = fleet(1);
    let message = |edit: fn(&mut ObservedGroup)| {
        let (step, _) = looks(&fleet, coming_up(&fleet, 0), 0, 0, |_, observed| edit(observed));
        step.group.message.unwrap()
    };
    let gcs = message(|observed| {
        observed.pods[1].containers_ready = false;
        observed.pods[1].init_container = Some("wait-gcs-ready".to_owned());
    });
    assert_eq!(
        gcs,
        "1 of 2 pods are ready; pod llama-pods1-0-w waits for its init container wait-gcs-ready, which ends once \
         Ray's GCS on the head answers it: see `kubectl logs llama-pods1-0-w -c wait-gcs-ready`"
    );
    // Workers wait for the head, so its own comes first.
    let own = message(|observed| {
        for (pod, init) in observed.pods.iter_mut().zip(["fetch-model", "wait-gcs-ready"]) {
            pod.containers_ready = false;
            pod.init_container = Some(init.to_owned());
        }
    });
    assert_eq!(
        own,
        "0 of 2 pods are ready; pod llama-pods1-0-head waits for its init container fetch-model: see `kubectl logs \
         llama-pods1-0-head -c fetch-model`"
    );
    // What is worse is reported instead, and what is over is not.
    let worse = message(|observed| {
        problem(observed, "CrashLoopBackOff");
        observed.pods[1].init_container = Some("wait-gcs-ready".to_owned());
    });
    assert!(worse.contains("CrashLoopBackOff") && !worse.contains("waits for"), "{worse}");
    let plain = message(|observed| observed.pods[1].containers_ready = false);
    assert!(!plain.contains("init container"), "{plain}");
}

#[test]
fn no_room_and_no_image_are_waited_for_and_the_time_does_not_count() {
    let fleet = fleet(1);
    for reason in
        ["Unschedulable", "SchedulingGated", "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"]
    {
        let (waits, _) = gives_up(&fleet, 2, |_, observed| {
            problem(observed, reason);
            if reason == "SchedulingGated" {
                observed.pods[1].node = None;
            }
        });
        assert_eq!((waits.group.goal, waits.group.phase), (Goal::Serve, Phase::Provisioning), "{reason}");
        // Then it has as long as any other.
        let late = |_, observed: &mut ObservedGroup| observed.pods[1].containers_ready = false;
        let (_, second) = looks(&fleet, waits.group, 3 * HOUR, 6 * HOUR, late);
        assert_eq!(second, 3 * HOUR + 10 * MINUTE, "{reason}");
    }
}

/// A volume that another pod holds comes when that lets go of it; another group would want the same one.
#[test]
fn a_volume_that_is_held_elsewhere_is_waited_for_and_no_nodes_fault() {
    let (waits, _) = gives_up(&fleet(1), 2, |_, observed| problem(observed, "FailedAttachVolume"));
    assert_eq!((waits.group.goal, waits.blamed), (Goal::Serve, None));
    let message = waits.group.message.unwrap();
    assert!(
        message.contains("FailedAttachVolume: a volume cannot be attached to its node: why"),
        "{message}"
    );
    // What the node is to do has as long as anything else.
    for reason in ["FailedMount", "FailedCreatePodSandBox"] {
        let (failed, _) = gives_up(&fleet(1), 0, |_, observed| problem(observed, reason));
        assert_eq!(failed.group.goal, Goal::Retire, "{reason}");
        let message = failed.group.goal_reason.unwrap();
        assert!(message.contains(&format!("pod llama-pods1-0-w: {reason}: ")), "{message}");
    }
}

#[test]
fn an_image_on_its_way_has_an_hour_and_no_node_is_blamed_for_it() {
    let mut fleet = fleet(1);
    fleet.model.as_mut().unwrap().start_timeout = std::time::Duration::from_mins(10);
    let (failed, second) = gives_up(&fleet, 0, |_, observed| problem(observed, "Pulling"));
    assert_eq!((failed.group.goal, failed.blamed), (Goal::Retire, None));
    assert!((HOUR + 9 * MINUTE..=HOUR + 11 * MINUTE).contains(&second), "{second}");
    let message = failed.group.goal_reason.unwrap();
    assert!(message.contains("1 of 2 pods are ready; pod llama-pods1-0-w pulls its image"), "{message}");
    // Once it is there, the time before does not count.
    let slow = |second: i64, observed: &mut ObservedGroup| {
        problem(observed, if second < 50 * MINUTE { "Pulling" } else { "FailedMount" });
    };
    let (_, second) = gives_up(&fleet, 0, slow);
    assert!((59 * MINUTE..=61 * MINUTE).contains(&second), "{second}");
}

#[test]
fn time_that_was_waited_for_others_is_not_taken_off_the_time_before() {
    let fleet = fleet(1);
    let edit = |second: i64, observed: &mut ObservedGroup| {
        if (5 * MINUTE..HOUR).contains(&second) {
            problem(observed, "Unschedulable");
        } else {
            observed.pods[1].containers_ready = false;
        }
    };
    assert_eq!(gives_up(&fleet, 0, edit).1, HOUR + 5 * MINUTE);
}

#[test]
fn kuberay_that_makes_no_pods_is_named_and_no_reason_to_recreate() {
    let fleet = fleet(1);
    for made in 0..2 {
        let few = |_, observed: &mut ObservedGroup| observed.pods.truncate(made);
        let (early, _) = looks(&fleet, coming_up(&fleet, 0), 0, 20, few);
        assert!(!early.group.message.unwrap().contains("KubeRay"));
        assert_eq!(early.wake, Some(at(30)));
        let (waits, _) = gives_up(&fleet, 0, few);
        assert_eq!(waits.group.goal, Goal::Serve);
        let message = waits.group.message.unwrap();
        assert!(
            message.starts_with(&format!("KubeRay has not made {} of 2 pods: does", 2 - made)),
            "{message}"
        );
    }
}

#[test]
fn without_a_model_a_group_that_served_and_never_comes_back_is_recreated() {
    let mut fleet = plain_fleet(1);
    fleet.own_engine_port = Some(8000);
    let gone: [fn(i64, &mut ObservedGroup); 3] = [
        |_, observed| {
            let engine = &mut ray_mut(observed).engine;
            (engine.healthy, engine.answering) = (false, true);
        },
        |_, observed| ray_mut(observed).nodes.truncate(1),
        |_, observed| observed.pods[1].containers_ready = false,
    ];
    for edit in gone {
        let (step, second) = looks(&fleet, ready_entry(&fleet, 0), 0, 3 * HOUR, edit);
        assert_eq!((step.group.goal, step.group.failures), (Goal::Retire, 1));
        assert_eq!(second, 12 * MINUTE, "ten minutes and one for each of two GPUs");
    }
}

#[test]
fn without_a_model_a_first_start_has_an_hour_and_an_engine_that_loads_all_the_time_it_wants() {
    let mut fleet = plain_fleet(1);
    fleet.own_engine_port = Some(8000);
    let crashes = |_, observed: &mut ObservedGroup| problem(observed, "CrashLoopBackOff");
    assert_eq!(gives_up(&fleet, 0, crashes).1, HOUR);
    fleet.progress_deadline = Some(std::time::Duration::from_hours(2));
    assert_eq!(gives_up(&fleet, 0, crashes).1, 2 * HOUR, "spec.progressDeadlineSeconds");
    let (loads, _) = gives_up(&fleet, 0, |_, observed| ray_mut(observed).engine.healthy = false);
    assert_eq!((loads.group.goal, loads.group.phase), (Goal::Serve, Phase::Loading));
}

#[test]
fn waits_end_with_the_launch() {
    let fleet = fleet(1);
    let (waits, _) =
        looks(&fleet, coming_up(&fleet, 0), 0, 60, |_, observed| observed.pods[1].containers_ready = false);
    assert!(waits.group.forming_since.is_some());
    let (launched, _) = looks(&fleet, waits.group, 70, 70, |_, observed| ray_mut(observed).engine.job = None);
    assert_eq!((launched.group.phase, launched.group.forming_since), (Phase::Placing, None));
}

#[test]
fn why_an_engine_is_not_launched_is_reported_once_and_stays_in_the_message() {
    let fleet = fleet(1);
    let deadline = Some(crate::time::began(at(600)));
    let group = GroupStatus { phase: Phase::Placing, start_deadline: deadline, ..coming_up(&fleet, 1) };
    let mut observed = healthy(&group, t0());
    observed.pods[0].gate_open = false;
    let engine = &mut ray_mut(&mut observed).engine;
    (engine.job, engine.launch_error) = (None, Some("the plan does not fit: 4 GPUs are missing".to_owned()));
    let first = step(&fleet, &group, &observed, 1);
    let message = first.group.message.as_ref().unwrap();
    assert_eq!(message, "the engine could not be launched yet: the plan does not fit: 4 GPUs are missing");
    let launch = "launch llama-pods1-0.eng1.1".to_owned();
    assert_eq!(kinds(&first), ["LaunchFailed".to_owned(), launch.clone()]);
    assert_eq!(kinds(&step(&fleet, &first.group, &observed, 2)), [launch]);
    let late = step(&fleet, &first.group, &observed, 600).group;
    assert!(late.message.unwrap().contains("4 GPUs are missing"));
}

#[test]
fn a_group_that_starts_its_engine_itself_keeps_its_time_when_the_fleet_has_a_model_by_now() {
    let group = ready_entry(&plain_fleet(1), 0);
    let edit = |_, observed: &mut ObservedGroup| observed.pods[1].containers_ready = false;
    assert_eq!(looks(&fleet(1), group, 0, 3 * HOUR, edit).1, 12 * MINUTE, "not model.startTimeout");
}

/// KubeRay has made another head beside the first, whose name comes before.
fn another_head(observed: &mut ObservedGroup) {
    let mut other = observed.pods[0].clone();
    other.name = format!("a-{}", other.name).into();
    other.uid.push('2');
    (other.gate_open, other.opened_for) = (false, None);
    observed.pods.push(other);
}

#[test]
fn a_group_of_several_heads_that_does_not_serve_is_replaced_soon() {
    let fleet = fleet(1);
    let (step, second) = gives_up(&fleet, 0, |second, observed| {
        ray_mut(observed).nodes.truncate(1);
        if second >= 20 {
            another_head(observed);
        }
    });
    assert_eq!((step.group.goal, second), (Goal::Retire, 30));
    assert_eq!(step.failure, Some(FailureKind::SeveralHeads));
    let reason = step.group.goal_reason.unwrap();
    assert!(reason.contains("its RayCluster has 2 head pods, a-"), "{reason}");
    assert_eq!(
        (step.blamed, step.group.failed_starts),
        (None, 0),
        "neither a node nor the fleet is at fault"
    );
    // A moment in which a list shows a head that is gone beside its successor.
    let (step, _) = looks(&fleet, coming_up(&fleet, 0), 0, MINUTE, |second, observed| {
        ray_mut(observed).nodes.truncate(1);
        if second == 20 {
            another_head(observed);
        }
    });
    assert_eq!((step.group.goal, step.group.failures), (Goal::Serve, 0));
}

#[test]
fn a_group_that_serves_goes_on_beside_another_head_and_says_so() {
    let fleet = fleet(1);
    let group = GroupStatus { phase: Phase::Ready, ready_since: Some(Time(at(0))), ..coming_up(&fleet, 1) };
    let mut observed = healthy(&group, t0());
    another_head(&mut observed);
    // It is not up, and that is not waited for.
    observed.pods.last_mut().unwrap().containers_ready = false;
    let first = step(&fleet, &group, &observed, 30);
    assert_eq!((first.group.phase, kinds(&first)), (Phase::Ready, vec!["SeveralHeads".to_owned()]));
    let head = &observed.pods[0].name;
    let message = first.group.message.clone().unwrap();
    assert!(message.contains(&format!("{head} serves: delete the others")), "{message}");
    assert_eq!((first.group.head.as_ref(), first.group.ready_since.clone()), (Some(head), Some(Time(at(0)))));
    assert_eq!(kinds(&step(&fleet, &first.group, &observed, 40)), [""; 0], "said once");
    observed.pods.pop();
    assert_eq!(step(&fleet, &first.group, &observed, 50).group.message, None);
}
