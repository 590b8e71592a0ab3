//! What could not be read is never called ok, and nobody's label is believed.

use serde_json::json;

use super::{World, forbidden, system_pod};
use crate::diagnose::answer::{List, NoAnswer};
use crate::diagnose::facts::{Facts, FleetFacts};
use crate::diagnose::finding::{Link, State, Step};
use crate::diagnose::{judge, show};

/// The first fleet of the facts.
fn of(facts: &mut Facts) -> &mut FleetFacts {
    &mut facts.fleets.as_mut().unwrap().items[0]
}

/// A world in which group 1 stands at this phase, if one is named.
fn at(phase: &str) -> World {
    let mut world = World::new();
    if !phase.is_empty() {
        world.enter(1, &json!({"phase": phase, "phaseSince": "2026-03-01T12:09:50Z"}));
    }
    world
}

fn step(facts: &Facts, link: Link) -> Step {
    judge::judge(facts).into_iter().find(|step| step.link == link).unwrap()
}

type Edit = fn(&mut Facts);

#[test]
fn what_is_not_read_is_not_ok() {
    let cases: [(&str, Link, Edit, &str); 11] = [
        ("", Link::Pods, |facts| of(facts).pods = forbidden("pods"), "you may not list pods"),
        ("", Link::Pods, |facts| of(facts).pods.as_mut().unwrap().unreadable = 2, "pods: 2 cannot be read"),
        (
            "",
            Link::RayClusters,
            |facts| of(facts).clusters.as_mut().unwrap().ends = Some(NoAnswer::TooLong(9)),
            "RayClusters: no more than the first 9 are read",
        ),
        (
            "",
            Link::Traffic,
            |facts| of(facts).endpoints = Err(NoAnswer::OutOfTime(60)),
            "the 60s for all calls",
        ),
        ("", Link::Traffic, |facts| of(facts).service = forbidden("services"), "you may not list services"),
        (
            "",
            Link::FleetCrd,
            |facts| facts.fleets.as_mut().unwrap().unreadable = 1,
            "fleets: 1 cannot be read",
        ),
        (
            "Loading",
            Link::Nodes,
            |facts| drop(facts.nodes.insert("node-d".to_owned(), forbidden("nodes"))),
            "you may not list nodes",
        ),
        (
            "Loading",
            Link::Nodes,
            |facts| drop(facts.nodes.insert("node-d".to_owned(), Err(NoAnswer::TooLong(256)))),
            "no more than the first 256",
        ),
        ("Forming", Link::Pods, |facts| of(facts).events = forbidden("events"), "you may not list events"),
        (
            "",
            Link::KubeRay,
            |facts| facts.rayclusters = forbidden("rayclusters"),
            "you may not list rayclusters",
        ),
        (
            "",
            Link::Rollout,
            |facts| {
                let status = of(facts).fleet.status.take();
                let mut status = json!(status);
                status["groups"][1]["phase"] = json!("Odd");
                of(facts).fleet.status = Some(serde_json::from_value(status).unwrap());
            },
            "status.groups[1].phase: cannot be read",
        ),
    ];
    for (phase, link, edit, words) in cases {
        let mut facts = at(phase).facts();
        edit(&mut facts);
        let step = step(&facts, link);
        assert!(step.state == State::Unknown && step.says.contains(words), "{link:?}: {step:?}");
        let now = judge::judge(&facts).pop().unwrap();
        assert_eq!(now.state == State::Unknown, step.fleet.is_some(), "{now:?}");
    }
    let mut facts = at("Provisioning").facts();
    of(&mut facts).events = forbidden("events");
    let pods = step(&facts, Link::Pods);
    assert!(
        pods.state == State::Waits && pods.says.contains("not checked: you may not list events"),
        "{pods:?}"
    );
}

/// Events and nodes say nothing about groups that serve.
#[test]
fn what_nobody_needs_may_be_unread() {
    let mut facts = World::new().facts();
    of(&mut facts).events = forbidden("events");
    facts.nodes.clear();
    assert!(judge::judge(&facts).iter().all(|step| step.state == State::Ok));
}

#[test]
fn what_bounds_have_cut_is_said_below_all_and_in_the_document() {
    let mut facts = World::new().facts();
    let shown = |facts: &Facts| {
        let steps = judge::judge(facts);
        (show::text(&steps, facts.is_cut(), false), show::document(&steps, facts.is_cut()))
    };
    of(&mut facts).pods = forbidden("pods");
    let (text, document) = shown(&facts);
    assert!(!text.contains("not everything") && document["cut"] == false, "{text}");
    assert!(
        text.contains("?     now           nothing is found wrong, and not all could be checked"),
        "{text}"
    );
    of(&mut facts).events.as_mut().unwrap().ends = Some(NoAnswer::OutOfTime(60));
    let (text, document) = shown(&facts);
    assert!(text.contains("\nnot everything was read: ") && document["cut"] == true, "{text}");
    assert_eq!(document["wrong"], false);
}

#[test]
fn pods_of_a_tenant_with_kuberays_label_do_not_hide_the_operator() {
    let mut world = World::new();
    world
        .operators
        .extend((0..9).map(|number| system_pod("a-tenant", &format!("kuberay-operator-{number}"))));
    world.operators.extend((0..9).map(|number| system_pod("serving", &format!("kuberay-operator-{number}"))));
    // The list of the API server is in the order of names.
    world.operators.sort_by_key(|pod| pod["metadata"]["namespace"].to_string());
    world.answers = |facts| facts.rayclusters = Err(NoAnswer::Missing);
    let kuberay = step(&world.facts(), Link::KubeRay);
    let shown = format!("{:?}", kuberay.finding);
    assert!(shown.contains("in namespace default: pod kuberay-operator-7f9d"), "{shown}");
    assert!(shown.contains("14 pods more have the label"), "{shown}");
}

#[test]
fn a_pod_with_kuberays_label_neither_hides_nor_fakes_kuberay() {
    let mut world = World::new();
    let mut fake = system_pod("tenant", "kuberay-operator-fake");
    fake["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    world.operators = vec![fake];
    assert_eq!(world.first(), None);
    let kuberay = step(&world.facts(), Link::KubeRay);
    assert!(
        kuberay.state == State::Unknown && kuberay.says.contains("tenant/kuberay-operator-fake"),
        "{kuberay:?}"
    );
    // A ready one does not keep a RayCluster that nobody works on from being found.
    world.operators = vec![system_pod("tenant", "kuberay-operator-fake")];
    world.enter(1, &json!({"phase": "Provisioning", "phaseSince": "2026-03-01T12:06:00Z"}));
    world.clusters[1]["status"] = json!(null);
    let (step, finding) = world.first().unwrap();
    assert_eq!((step.link, finding.about.as_deref()), (Link::RayClusters, Some("status")));
}

#[test]
fn clocks_that_differ_do_not_unseat_a_leader() {
    for time in ["2026-03-01T11:10:00Z", "2026-03-01T13:10:00Z"] {
        let mut world = World::new();
        world.lease["spec"]["renewTime"] = json!(time);
        // It could not be read again.
        assert_eq!(world.first(), None, "{time}");
        assert_eq!(step(&world.facts(), Link::Orchestrator).state, State::Unknown, "{time}");
        world.answers = |facts| facts.renews = Some(false);
        assert_eq!(world.first().unwrap().0.link, Link::Orchestrator, "{time}");
        world.answers = |facts| facts.renews = Some(true);
        assert_eq!(world.first(), None, "{time}");
        assert!(step(&world.facts(), Link::Orchestrator).says.contains("its clock differs"));
    }
}

/// A spec that nobody has looked at is neither accepted nor well, whatever the status says of the one before.
#[test]
fn what_was_said_of_an_earlier_spec_is_not_said_of_this_one() {
    let mut world = World::new();
    world.fleet["status"]["observedGeneration"] = json!(3);
    let facts = |world: &World| {
        let mut facts = world.facts();
        of(&mut facts).written = Some(facts.now);
        facts
    };
    let steps = judge::judge(&facts(&world));
    let spec = steps.iter().find(|step| step.link == Link::Spec).unwrap();
    assert_eq!((spec.state, &*spec.says), (State::Waits, "generation 4 is about to be observed"));
    assert!(steps.last().unwrap().state == State::Waits, "{steps:?}");
}

/// Without the lease one fleet that is late says nothing of the others.
#[test]
fn a_late_fleet_beside_others_is_its_own_trouble() {
    let mut late = World::new();
    late.fleet["metadata"]["name"] = json!("mistral");
    late.fleet["status"]["observedGeneration"] = json!(3);
    let mut facts = World::new().facts();
    facts.lease = forbidden("leases");
    facts.fleets.as_mut().unwrap().items.extend(late.facts().fleets.unwrap().items);
    // A status says nothing of whether anybody works now.
    assert_eq!(step(&facts, Link::Orchestrator).state, State::Unknown);
    let wrong: Vec<_> = judge::judge(&facts).into_iter().filter(|step| step.state == State::Wrong).collect();
    assert_eq!(
        (wrong.len(), wrong[0].link, wrong[0].fleet.as_deref()),
        (1, Link::Control, Some("serving/mistral"))
    );
    facts.fleets.as_mut().unwrap().items.remove(0);
    assert_eq!(step(&facts, Link::Orchestrator).state, State::Wrong);
    facts.fleets = Ok(List::default());
    facts.asked = None;
    assert_eq!(step(&facts, Link::Orchestrator).state, State::Unknown);
}
