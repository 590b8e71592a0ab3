//! The table of faults: what is broken, and what must be said of it. The faults and bad inputs of the cluster
//! tier (e2e/tests/cluster) with the objects as they look then,
//! and others that only the API server knows.

mod engine;
mod outside;
mod pods;

use serde_json::{Value, json};

use super::{World, forbidden, pod_name};
use crate::diagnose::answer::NoAnswer;
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::{Finding, Link, State, Step};

type Looks = fn(&mut World);

/// A fault, how it looks, the link that is named, what it is about, and words that must be said. `docs/diagnose.md`
/// has each by its name.
pub(super) struct Fault {
    pub(super) name: &'static str,
    looks: Looks,
    link: Link,
    about: &'static str,
    words: &'static [&'static str],
}

impl Fault {
    /// What is found first.
    pub(super) fn first(&self) -> Option<(Step, Finding)> {
        let mut world = World::new();
        (self.looks)(&mut world);
        world.first()
    }
}

/// All faults, those of the cluster first.
pub(super) fn all() -> impl Iterator<Item = &'static Fault> {
    outside::FAULTS.iter().chain(pods::FAULTS).chain(engine::FAULTS)
}

/// Group 1 has failed with this kind and message.
fn failed(world: &mut World, kind: &str, message: &str) {
    let message = format!("{message}; the engine is started again at 2026-03-01T12:10:20Z (restart 1 of 3)");
    world.enter(
        1,
        &json!({
            "phase": "Failed", "phaseSince": "2026-03-01T12:09:40Z", "restarts": 1, "launch": 3,
            "lastFailure": {"kind": kind, "time": "2026-03-01T12:09:40Z"},
            "retryAfter": "2026-03-01T12:10:20Z", "message": message
        }),
    );
    world.says("ReplicaFailure", "True", "GroupFailed", &message);
}

/// Group 1 comes up and stands at this phase since `minutes` past twelve.
fn stands(world: &mut World, phase: &str, minutes: u8, message: &str) {
    let since = format!("2026-03-01T12:{minutes:02}:00Z");
    world.enter(1, &json!({"phase": phase, "phaseSince": since, "message": message}));
}

fn waits(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

fn ended(reason: &str, code: i64) -> Value {
    json!({"terminated": {"reason": reason, "exitCode": code, "finishedAt": "2026-03-01T12:09:00Z"}})
}

fn refused(world: &mut World, reason: &str, message: &str) {
    world.says("Progressing", "False", reason, message);
    world.says("Stalled", "True", reason, message);
    world.step(reason, message);
}

/// A pod that no node has room for.
fn unscheduled(world: &mut World, number: usize) {
    world.enter(number, &json!({"phase": "Provisioning", "phaseSince": "2026-03-01T12:06:00Z"}));
    let pod = world.pod(number, "head");
    pod["spec"]["nodeName"] = Value::Null;
    pod["status"] = json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    }]});
}

/// Nothing of a pod of group 1 has started, and Kubernetes warns about it.
fn not_given(world: &mut World, role: &str, reason: &str, message: &str) {
    stands(world, "Provisioning", 9, reason);
    let status = &mut world.pod(1, role)["status"];
    status["conditions"] = json!([{"type": "ContainersReady", "status": "False"}]);
    status["containerStatuses"][0]["state"] = waits("ContainerCreating", "");
    world.warn("Pod", &pod_name(1, role), reason, message);
}

/// A container of group 1 waits for this reason, and has ended before.
fn crashes(world: &mut World, role: &str, reason: &str, message: &str, last: &Value) {
    stands(world, "Provisioning", 6, reason);
    world.container(1, role, &waits(reason, message), last);
}

/// The fleet has stopped for this reason.
fn stalled(world: &mut World, reason: &str, message: &str) {
    world.says("Stalled", "True", reason, message);
}

fn no_fleets(facts: &mut Facts) {
    let what = "cannot reach the API server https://api:6443: Connection refused".to_owned();
    facts.fleets = Err(NoAnswer::Failed { what, cure: Some("check the context".to_owned()) });
}

fn late(world: &mut World) {
    world.fleet["status"]["observedGeneration"] = json!(3);
}

#[test]
fn every_fault_is_named_with_its_evidence_and_cure() {
    let complaints: Vec<String> =
        all().filter_map(|fault| complaint(fault).map(|it| format!("{}: {it}", fault.name))).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What is not said of a fault as it should be.
fn complaint(fault: &Fault) -> Option<String> {
    let Some((step, finding)) = fault.first() else { return Some("nothing is found".to_owned()) };
    let about = finding.about.as_deref().unwrap_or_default();
    if (step.link, about) != (fault.link, fault.about) {
        return Some(format!("{:?} {about:?} is found: {}", step.link, finding.what));
    }
    let said = format!("{}\n{}\n{}", finding.what, finding.evidence.join("\n"), finding.cure);
    let missing = fault.words.iter().find(|word| !said.contains(**word));
    if let Some(word) = missing {
        return Some(format!("{word:?} is not in {said}"));
    }
    let whole = !finding.cure.is_empty() && !finding.subject.kind.is_empty();
    (!whole).then(|| format!("{finding:?}"))
}

/// What the groups wait for comes before what follows from it.
#[test]
fn a_cause_hides_its_consequences() {
    let mut world = World::new();
    unscheduled(&mut world, 1);
    world.enter(1, &json!({"phase": "Provisioning", "failures": 1}));
    world.says("Available", "False", "MinimumGroupsUnavailable", "1 of 2 groups");
    world.says("Progressing", "False", "ProgressDeadlineExceeded", "nothing has moved for 600 s");
    world.says("Stalled", "True", "ProgressDeadlineExceeded", "nothing has moved for 600 s");
    assert_eq!(world.first().unwrap().0.link, Link::Pods);
    let wrong = world.steps().into_iter().filter(|step| step.state == State::Wrong);
    assert_eq!(wrong.map(|step| step.link).collect::<Vec<_>>(), [Link::Pods, Link::Rollout]);
}

/// Two causes at one link: both are named, the cure is of the first.
#[test]
fn another_cause_is_named_beside_the_first() {
    let mut world = World::new();
    unscheduled(&mut world, 0);
    world.enter(1, &json!({"phase": "Provisioning", "phaseSince": "2026-03-01T12:06:00Z"}));
    world.container(1, "head", &waits("CrashLoopBackOff", "back-off 40s"), &ended("Error", 1));
    let (_, finding) = world.first().unwrap();
    assert!(finding.what.starts_with("group llama-bcdfgh-0: no node"), "{}", finding.what);
    let beside = finding.evidence.last().unwrap();
    assert!(beside.starts_with("beside it, group llama-bcdfgh-1: container ray"), "{beside}");
}

/// What ends by itself is no fault.
#[test]
fn waits_are_not_wrong() {
    let cases: [(&str, Looks, Link); 10] = [
        (
            "about to be made",
            |world| {
                stands(world, "Pending", 9, "the RayCluster is being created");
                world.not_made();
            },
            Link::RayClusters,
        ),
        (
            "its image comes",
            |world| {
                stands(world, "Provisioning", 9, "0 of 2 pods are ready; pod w pulls its image");
                world.container(1, "head", &waits("ContainerCreating", ""), &Value::Null);
            },
            Link::Pods,
        ),
        (
            "Ray forms",
            |world| {
                world.enter(1, &json!({"phase": "Forming", "phaseSince": "2026-03-01T12:09:30Z"}));
            },
            Link::Ray,
        ),
        (
            "an autoscaler may add nodes",
            |world| {
                unscheduled(world, 1);
                world.group(1)["pendUntil"] = json!("2026-03-01T12:20:00Z");
            },
            Link::Pods,
        ),
        (
            "its volume came after a while",
            |world| {
                not_given(world, "worker", "FailedMount", "timed out");
                world.events[0]["lastTimestamp"] = json!("2026-03-01T12:04:00Z");
            },
            Link::Pods,
        ),
        ("it loads", |world| stands(world, "Loading", 0, "loading weights"), Link::Engine),
        (
            "it drains, and has been restarted a while ago",
            |world| {
                stands(world, "Draining", 9, "3 requests in flight");
                world.group(1)["restarts"] = json!(1);
            },
            Link::Traffic,
        ),
        (
            "it goes for another revision before it was ready, and stands in for one that failed",
            |world| {
                stands(world, "Stopping", 9, "the engine is being stopped");
                let group = world.group(1);
                group["goal"] = json!("Retire");
                group["failures"] = json!(1);
                group["startedAt"] = json!("2026-03-01T12:09:20Z");
                group["lastFailure"] = json!({"kind": "RankDied", "time": "2026-03-01T12:09:10Z"});
            },
            Link::Traffic,
        ),
        (
            "a new spec",
            |world| {
                world.fleet["metadata"]["managedFields"] = json!([
                    {"time": "2026-03-01T12:09:50Z"}, {"time": "2026-03-01T12:00:00Z", "subresource": "status"}
                ]);
                late(world);
            },
            Link::Rollout,
        ),
        (
            "its node is cordoned",
            |world| {
                stands(world, "Draining", 9, "3 requests in flight");
                world.nodes.get_mut("node-d").unwrap()["spec"]["unschedulable"] = json!(true);
            },
            Link::Nodes,
        ),
    ];
    for (name, looks, link) in cases {
        let mut world = World::new();
        looks(&mut world);
        assert_eq!(world.first(), None, "{name}");
        let steps = world.steps();
        let state = if name == "a new spec" { State::Ok } else { State::Waits };
        assert!(steps.iter().any(|step| step.link == link && step.state == state), "{name}: {steps:#?}");
    }
}

/// What may not be read is said, and the orchestrator's own words still count.
#[test]
fn a_fault_is_found_without_the_right_to_read_pods() {
    let mut world = World::new();
    failed(&mut world, "RankDied", "rank 1 on node-d died: SIGKILL");
    world.answers = |facts| {
        let of = &mut facts.fleets.as_mut().unwrap().items[0];
        (of.pods, of.clusters) = (forbidden("pods"), forbidden("rayclusters.ray.io"));
        (of.events, of.endpoints) = (forbidden("events"), forbidden("endpointslices"));
        facts.lease = forbidden("leases");
    };
    let steps = world.steps();
    let pods = steps.iter().find(|step| step.link == Link::Pods).unwrap();
    assert_eq!((pods.state, &*pods.says), (State::Unknown, "you may not list pods in namespace serving"));
    assert_eq!(world.first().unwrap().1.about.as_deref(), Some("RankDied"));
}

/// Objects that others wrote may hold anything.
#[test]
fn odd_objects_are_survived() {
    let mut world = World::new();
    stands(&mut world, "Provisioning", 9, &"ß".repeat(10_000));
    world.container(
        1,
        "head",
        &waits("CrashLoopBackOff", &"x\u{1b}[2J\n".repeat(5_000)),
        &ended("Error", i64::MAX),
    );
    world.lease["spec"]["leaseDurationSeconds"] = json!(i64::MAX);
    world.clusters[1]["metadata"]["creationTimestamp"] = json!("9999-12-31T23:59:59Z");
    let (_, finding) = world.first().unwrap();
    let longest = finding.evidence.iter().map(String::len).max().unwrap();
    assert!(longest <= 1024, "{longest}");
    assert!(!crate::diagnose::show::text(&world.steps(), false, false).contains('\u{1b}'));
}
