//! From nothing to ready, and at rest.

use rayfleet_api::status::{Goal, GroupStatus, Phase, RankCount};

use super::{kinds, step};
use crate::effect::Effect;
use crate::observed::{ObservedGroup, ObservedJob, ObservedProbe, PodProblem};
use crate::testing::*;
use crate::time;

/// Bring-up is a ladder: each observation is one rung short of the next.
#[test]
fn bring_up_follows_what_is_seen() {
    let fleet = fleet(1);
    let mut group = entry(&fleet, 0);
    let mut climb = |edit: &dyn Fn(&GroupStatus, &mut ObservedGroup), phase: Phase, expected: &[&str]| {
        let mut observed = healthy(&group, t0());
        observed.pods[0].gate_open = false;
        edit(&group, &mut observed);
        let step = step(&fleet, &group, &observed, 1);
        assert_eq!(step.group.phase, phase, "{:?}", step.group.message);
        assert_eq!(kinds(&step), expected, "in {phase:?}");
        group = step.group;
        group.uid = Some("uid".to_owned());
    };
    climb(&|_, observed| *observed = ObservedGroup::default(), Phase::Pending, &["create"]);
    climb(&|_, observed| observed.pods.clear(), Phase::Provisioning, &[]);
    climb(&|_, observed| observed.pods[1].containers_ready = false, Phase::Provisioning, &[]);
    climb(&|_, observed| observed.ray = None, Phase::Forming, &[]);
    climb(
        &|_, observed| observed.ray.as_mut().unwrap().state = Err("refused".to_owned()),
        Phase::Forming,
        &[],
    );
    climb(&|_, observed| ray_mut(observed).nodes.truncate(1), Phase::Forming, &[]);
    let launch = "launch llama-pods1-0.eng1.1";
    climb(&|_, observed| ray_mut(observed).engine.job = None, Phase::Placing, &[launch]);
    climb(&|_, observed| ray_mut(observed).engine.job = None, Phase::Placing, &[launch]);
    climb(
        &|_, observed| {
            ray_mut(observed).engine.job = Some(ObservedJob::Pending);
            ray_mut(observed).engine.ranks_placed = 0;
            ray_mut(observed).engine.healthy = false;
        },
        Phase::Placing,
        &[],
    );
    climb(&|_, observed| ray_mut(observed).engine.healthy = false, Phase::Loading, &[]);
    climb(&|_, observed| ray_mut(observed).engine.probe = ObservedProbe::Unknown, Phase::Probing, &["probe"]);
    climb(&|_, _| {}, Phase::Ready, &["GroupReady", "gate true"]);
    climb(&|_, observed| observed.pods[0].gate_open = true, Phase::Ready, &[]);
    assert!(group.ready_since.is_some());
    assert_eq!(group.ranks, Some(RankCount { placed: 2, total: 2 }));
    assert_eq!(
        group.placement.iter().map(|rank| rank.node.as_str()).collect::<Vec<_>>(),
        ["node-0", "node-1"]
    );
}

/// A group on its way up whose head's gate tells of a launch.
fn opened_for(launch: &str, edit: impl Fn(&mut GroupStatus)) -> (GroupStatus, ObservedGroup) {
    let fleet = fleet(1);
    let mut group = GroupStatus {
        phase: Phase::Loading,
        ready_since: None,
        start_deadline: Some(time::began(at(5))),
        ..ready_entry(&fleet, 0)
    };
    edit(&mut group);
    let mut observed = healthy(&group, t0());
    observed.pods[0].opened_for = Some(launch.parse().unwrap());
    (group, observed)
}

#[test]
fn a_gate_that_was_opened_for_the_present_launch_tells_that_the_group_is_ready() {
    let launch = "llama-pods1-0.eng1.1";
    let (group, mut observed) = opened_for(launch, |_| {});
    observed.ray = None;
    let after = step(&fleet(1), &group, &observed, 10);
    assert_eq!((after.group.phase, after.group.start_deadline.is_none()), (Phase::Ready, true));
    assert_eq!(kinds(&after), Vec::<String>::new(), "nobody was asked yet, and the gate stays as it is");
    let (group, mut observed) = opened_for(launch, |_| {});
    ray_mut(&mut observed).engine.probe = ObservedProbe::Unknown;
    let after = step(&fleet(1), &group, &observed, 1);
    assert_eq!(
        (after.group.phase, kinds(&after)),
        (Phase::Ready, Vec::new()),
        "the prompt was answered then"
    );
}

#[test]
fn a_group_that_was_not_ready_for_no_longer_than_its_gate_takes_to_close_keeps_it_open() {
    let not_ready = |group: &mut GroupStatus| {
        group.phase = Phase::Provisioning;
        group.not_ready_since = Some(time::began(t0()));
    };
    let (group, mut observed) = opened_for("llama-pods1-0.eng1.1", not_ready);
    ray_mut(&mut observed).engine.probe = ObservedProbe::Unknown;
    let back = step(&fleet(1), &group, &observed, 1);
    assert_eq!((back.group.phase, kinds(&back)), (Phase::Ready, vec!["GroupReady".to_owned()]));
    let nobody_asked = ObservedGroup { ray: None, ..observed };
    let waits = step(&fleet(1), &group, &nobody_asked, 1);
    assert_eq!((waits.group.phase, kinds(&waits)), (Phase::Provisioning, Vec::new()));
}

#[test]
fn a_gate_tells_nothing_of_another_launch_or_of_a_group_that_leaves() {
    let (group, mut observed) = opened_for("llama-pods1-0.eng1.0", |_| {});
    ray_mut(&mut observed).engine.probe = ObservedProbe::Unknown;
    let after = step(&fleet(1), &group, &observed, 1);
    assert_eq!(
        (after.group.phase, kinds(&after)),
        (Phase::Probing, vec!["gate false".to_owned(), "probe".to_owned()])
    );
    let (group, observed) = opened_for("llama-pods1-0.eng1.1", |group| group.phase = Phase::Stopping);
    let after = step(&fleet(1), &GroupStatus { goal: Goal::Retire, ..group }, &observed, 1);
    assert_eq!(after.group.phase, Phase::Stopping);
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
    let mut observed = healthy(&ready_entry(&fleet, 0), t0());
    observed.endpoint_ready = Some(false);
    assert_eq!(step(&fleet, &ready_entry(&fleet, 0), &observed, 1).group.ready_since, None);
    observed.endpoint_ready = None;
    assert!(step(&fleet, &ready_entry(&fleet, 0), &observed, 1).group.ready_since.is_some());
}

#[test]
fn a_restarted_controller_keeps_a_ready_group_ready() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.probe = ObservedProbe::Unknown;
    let probed_before = step(&fleet, &group, &observed, 1);
    assert_eq!((probed_before.group.phase, probed_before.effects), (Phase::Ready, vec![]));
    observed.ray = None;
    let not_asked = step(&fleet, &group, &observed, 1);
    assert_eq!((not_asked.group.phase, not_asked.effects), (Phase::Ready, vec![]));
}

#[test]
fn problems_of_pods_are_reported_once_and_in_words() {
    let fleet = fleet(1);
    let group = GroupStatus { uid: Some("uid".to_owned()), ..entry(&fleet, 0) };
    let mut observed = healthy(&group, t0());
    let mut problem = |reason: &str, message: &str| {
        observed.pods[1].containers_ready = false;
        observed.pods[0].gate_open = false;
        observed.pods[1].problem = Some(PodProblem {
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..PodProblem::default()
        });
        observed.clone()
    };
    let first = step(&fleet, &group, &problem("ErrImagePull", "not found"), 1);
    assert_eq!(kinds(&first), ["PodProblem"]);
    let message = first.group.message.clone().unwrap();
    assert!(message.contains("llama-pods1-0-w: ImagePullBackOff"), "{message}");
    assert!(message.contains("check the template's image: not found"), "{message}");
    let again = step(&fleet, &first.group, &problem("ImagePullBackOff", "not found"), 2);
    assert_eq!((kinds(&again), again.group), (vec![], first.group.clone()));
    let other = step(&fleet, &first.group, &problem("Unschedulable", "0/3 nodes"), 3);
    assert_eq!(kinds(&other), ["PodProblem"]);
    assert!(other.group.message.unwrap().contains("it asks for 1 nvidia.com/gpu: 0/3 nodes"));
}

#[test]
fn the_worst_trouble_of_the_pods_is_reported_first() {
    let fleet = fleet(1);
    let group = GroupStatus { uid: Some("uid".to_owned()), ..entry(&fleet, 0) };
    let reported = |head: &str, worker: &str| {
        let mut observed = healthy(&group, t0());
        for (pod, reason) in observed.pods.iter_mut().zip([head, worker]) {
            pod.containers_ready = false;
            pod.problem = Some(PodProblem {
                reason: reason.to_owned(),
                message: "why".to_owned(),
                ..PodProblem::default()
            });
        }
        step(&fleet, &group, &observed, 1).group.message.unwrap()
    };
    let by_severity = [
        &["InvalidImageName", "ErrImagePull", "ImagePullBackOff"][..],
        &["CrashLoopBackOff"],
        &["CreateContainerError"],
        &["Unschedulable"],
    ];
    for (at, worse) in by_severity.iter().enumerate() {
        for (worse, less) in worse
            .iter()
            .flat_map(|worse| by_severity[at + 1..].concat().into_iter().map(move |less| (worse, less)))
        {
            let message = reported(less, worse);
            assert!(message.starts_with("pod llama-pods1-0-w: "), "{worse} before {less}: {message}");
        }
        let message = reported(worse[0], worse[0]);
        assert!(message.starts_with("pod llama-pods1-0-head: "), "among equals the head: {message}");
    }
    assert_eq!(
        reported("CreateContainerError", "Unschedulable"),
        "pod llama-pods1-0-head: CreateContainerError: why"
    );
    assert!(
        reported("CrashLoopBackOff", "Unschedulable").contains("`kubectl logs -p llama-pods1-0-head`: why")
    );
}

#[test]
fn a_pod_without_a_node_is_reported_with_what_it_asks_for() {
    let mut fleet = fleet(1);
    let group = GroupStatus { uid: Some("uid".to_owned()), ..entry(&fleet, 0) };
    fleet.shape.roles[0].spec =
        serde_json::json!({"containers": [{"resources": {"requests": {"cpu": "2"}}}]}).into();
    let mut larger = fleet.shape.roles[1].clone();
    (larger.gpus, larger.spec) = (4, gpu_pod(4).into());
    fleet.shape.roles.insert(1, larger);
    let asks = |number: usize| {
        let mut observed = healthy(&group, t0());
        observed.pods[number].containers_ready = false;
        observed.pods[number].problem = Some(PodProblem {
            reason: "Unschedulable".to_owned(),
            message: "0/3 nodes".to_owned(),
            ..PodProblem::default()
        });
        step(&fleet, &group, &observed, 1).group.message.unwrap()
    };
    assert!(asks(0).ends_with("it asks for 2 cpu: 0/3 nodes"), "{}", asks(0));
    assert!(asks(1).ends_with("it asks for 4 nvidia.com/gpu: 0/3 nodes"), "the largest worker: {}", asks(1));
}

#[test]
fn pods_that_are_not_there_yet_are_counted() {
    let fleet = fleet(1);
    let group = GroupStatus { uid: Some("uid".to_owned()), ..entry(&fleet, 0) };
    let mut observed = healthy(&group, t0());
    observed.pods[0].containers_ready = false;
    let message = |observed: &ObservedGroup| step(&fleet, &group, observed, 1).group.message.unwrap();
    assert_eq!(message(&observed), "1 of 2 pods are ready");
    observed.pods[1].deleting = true;
    assert_eq!(message(&observed), "0 of 2 pods are ready; pod llama-pods1-0-w is ending");
}

#[test]
fn a_cluster_that_is_not_seen_yet_is_not_made_twice() {
    let fleet = fleet(1);
    let group = entry(&fleet, 0);
    let observed = ObservedGroup { cluster: None, ..healthy(&group, t0()) };
    let waits = step(&fleet, &group, &observed, 1);
    assert_eq!((waits.group.phase, kinds(&waits)), (Phase::Pending, vec![]));
    assert!(waits.group.message.unwrap().contains("not observed yet"));
}

#[test]
fn a_starting_engine_shows_what_the_launcher_reports() {
    let fleet = fleet(1);
    let group = GroupStatus {
        phase: Phase::Placing,
        start_deadline: Some(time::began(at(600))),
        ..ready_entry(&fleet, 0)
    };
    let mut observed = healthy(&group, t0());
    observed.pods[0].gate_open = false;
    let engine = &mut ray_mut(&mut observed).engine;
    (engine.healthy, engine.note) = (false, Some("40 %".to_owned()));
    assert_eq!(step(&fleet, &group, &observed, 1).group.message.unwrap(), "the engine loads the model: 40 %");
    ray_mut(&mut observed).engine.ranks_placed = 1;
    assert_eq!(step(&fleet, &group, &observed, 1).group.message.unwrap(), "1 of 2 ranks are placed: 40 %");
}

#[test]
fn an_engine_that_drained_before_is_asked_not_to() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.load.as_mut().unwrap().draining = Some(true);
    assert_eq!(kinds(&step(&fleet, &group, &observed, 1)), ["draining false"]);
}

#[test]
fn a_refusal_of_kuberay_is_reported() {
    let fleet = fleet(1);
    let group = GroupStatus { uid: Some("uid".to_owned()), ..entry(&fleet, 0) };
    let mut observed = healthy(&group, t0());
    observed.pods.clear();
    observed.cluster.as_mut().unwrap().warning = Some("headGroupSpec: bad".to_owned());
    let first = step(&fleet, &group, &observed, 1);
    assert_eq!(kinds(&first), ["RayClusterProblem"]);
    assert_eq!(kinds(&step(&fleet, &first.group, &observed, 2)), Vec::<String>::new());
}

#[test]
fn in_flight_is_not_written_all_the_time() {
    let fleet = fleet(1);
    let mut group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    let mut after = |seconds: i64, in_flight: u32| {
        ray_mut(&mut observed).engine.load.as_mut().unwrap().in_flight = in_flight;
        group = step(&fleet, &group, &observed, seconds).group;
        group.in_flight
    };
    assert_eq!(after(1, 5), Some(5));
    assert_eq!(after(2, 7), Some(5));
    assert_eq!(after(11, 8), Some(8));
}

#[test]
fn in_flight_of_a_group_that_does_not_serve_is_written_at_once() {
    let fleet = fleet(1);
    let mut group = GroupStatus {
        phase: Phase::Draining,
        in_flight: Some(5),
        in_flight_at: Some(time::began(at(1))),
        ..with_goal(ready_entry(&fleet, 0), Goal::Retire)
    };
    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.load.as_mut().unwrap().in_flight = 4;
    group = step(&fleet, &group, &observed, 2).group;
    assert_eq!((group.in_flight, group.in_flight_at), (Some(4), Some(time::began(at(2)))));
}

#[test]
fn a_group_shows_its_nodes_the_heads_first_and_keeps_them_on_its_way_out() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    observed.pods[0].node = Some("z".into());
    let up = step(&fleet, &group, &observed, 1).group;
    assert_eq!(
        (up.head.as_deref(), &up.nodes[..]),
        (Some("llama-pods1-0-head"), &["z", "node-1"].map(Into::into)[..])
    );
    let stopping = GroupStatus { phase: Phase::Stopping, ..with_goal(up.clone(), Goal::Retire) };
    let gone = ObservedGroup { pods: Vec::new(), ..observed.clone() };
    assert_eq!(step(&fleet, &stopping, &gone, 2).group.nodes, up.nodes);
    observed.pods[1].node = None;
    assert_eq!(step(&fleet, &stopping, &observed, 2).group.nodes, ["z"]);
    assert!(step(&fleet, &up, &gone, 2).group.nodes.is_empty(), "its pods are yet to come again");
}

#[test]
fn without_a_model_pods_and_ray_nodes_decide() {
    let mut fleet = plain_fleet(1);
    let group = GroupStatus { phase: Phase::Forming, ready_since: None, ..ready_entry(&fleet, 0) };
    let mut observed = healthy(&group, t0());
    observed.pods[0].gate_open = false;
    ray_mut(&mut observed).engine = crate::observed::ObservedEngine::default();
    let ready = step(&fleet, &group, &observed, 1);
    assert_eq!(
        (ready.group.phase, kinds(&ready)),
        (Phase::Ready, vec!["GroupReady".to_owned(), "gate true".to_owned()])
    );
    fleet.own_engine_port = Some(8000);
    assert_eq!(step(&fleet, &group, &observed, 1).group.phase, Phase::Loading);
    ray_mut(&mut observed).engine.healthy = true;
    assert_eq!(step(&fleet, &group, &observed, 1).group.phase, Phase::Ready);
}

#[test]
fn without_a_model_silence_is_borne_for_a_while_and_an_answer_is_not() {
    let mut fleet = plain_fleet(1);
    fleet.own_engine_port = Some(8000);
    let mut group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    ray_mut(&mut observed).engine.healthy = false;
    let ill = step(&fleet, &group, &observed, 1).group;
    assert_eq!(ill.phase, Phase::Loading);
    let message = ill.message.unwrap();
    assert!(message.starts_with("the template's engine is not healthy on port 8000: "), "{message}");
    ray_mut(&mut observed).engine.answering = false;
    for (seconds, phase) in [(1, Phase::Ready), (30, Phase::Ready), (31, Phase::Loading)] {
        group = step(&fleet, &group, &observed, seconds).group;
        assert_eq!(group.phase, phase, "after {seconds} s");
    }
    let message = group.message.unwrap();
    assert!(message.starts_with("the template's engine does not answer on port 8000: "), "{message}");
    assert!(message.contains("rayfleet.io/engine-port=none"), "{message}");
    assert_eq!(group.unreachable_since, None);
}

#[test]
fn a_waiting_ray_cluster_reports_the_cause() {
    let fleet = fleet(1);
    let group = GroupStatus { uid: Some("uid".to_owned()), ..entry(&fleet, 0) };
    let reported = |edit: &dyn Fn(&mut ObservedGroup)| {
        let mut observed = healthy(&group, t0());
        observed.pods[0].gate_open = false;
        edit(&mut observed);
        let step = step(&fleet, &group, &observed, 1).group;
        assert_eq!(step.phase, Phase::Forming);
        step.message.unwrap()
    };
    let silent =
        |observed: &mut ObservedGroup| observed.ray.as_mut().unwrap().state = Err("refused".to_owned());
    let no_sign = |observed: &mut ObservedGroup, ip: &str| {
        observed.ray.as_mut().unwrap().unreachable_ips = vec![ip.to_owned()];
    };
    assert_eq!(reported(&|observed| observed.ray = None), "waits for the Ray dashboard's first answer");
    assert_eq!(reported(&silent), "the Ray dashboard does not answer: refused");
    assert_eq!(reported(&|observed| ray_mut(observed).nodes.truncate(1)), "1 of 2 Ray nodes are in");
    assert_eq!(
        reported(&|observed| no_sign(observed, "10.0.0.1")),
        "1 of 2 Ray nodes are in; no sign of life from pod llama-pods1-0-w on node-1"
    );
    let headless = reported(&|observed| {
        silent(observed);
        no_sign(observed, "10.0.0.0");
    });
    assert_eq!(headless, "the head is gone; no sign of life from pod llama-pods1-0-head on node-0");
}

#[test]
fn the_gate_of_a_head_that_is_being_deleted_is_closed_and_never_opened() {
    let fleet = plain_fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    observed.pods[0].deleting = true;
    assert_eq!(kinds(&step(&fleet, &group, &observed, 1)), ["gate false", "GroupNotReady"]);
    // Its successor is there, and is the one that counts.
    let mut next = pod(&group, 0);
    (next.name, next.gate_open) = ("next-head".into(), false);
    observed.pods.push(next);
    let opens = step(&fleet, &GroupStatus { phase: Phase::Forming, ..group }, &observed, 2);
    let gated = opens.effects.iter().find_map(|effect| match effect {
        Effect::SetGate { pod, open, .. } => Some((pod.as_str(), *open)),
        _ => None,
    });
    assert_eq!(gated, Some(("next-head", true)));
}

#[test]
fn without_a_model_lost_pods_are_waited_for() {
    let fleet = plain_fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    observed.pods[1].deleting = true;
    let lost = step(&fleet, &group, &observed, 1);
    assert_eq!(
        (lost.group.phase, lost.group.start_deadline, lost.group.restarts),
        (Phase::Provisioning, None, 0)
    );
}
