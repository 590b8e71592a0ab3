//! One agent: whom it asks, with which token, and that what it is to do gets done.

use std::collections::BTreeMap;

use ray_bridge::Limits;
use ray_bridge::engine::Health;
use rayfleet_runtime::testing::{Answer, Fake};
use rayfleet_sim_ray::{DashboardState, EngineBehaviour, RayPod, RayWorld};
use serde_json::json;

use ray_bridge::placement::RayNode;

use super::commands::{doubled, of_pods};
use super::*;
use crate::agents::assignment::{Command, Launch};
use crate::fixtures::fleet;
use crate::kubernetes::GroupPods;

mod bench;
mod cost;
mod watched;

#[test]
fn addresses_of_both_families_make_urls() {
    let url = |ip| base_of(ip, 8265).map(|url| url.to_string());
    assert_eq!(url("10.0.0.1").as_deref(), Some("http://10.0.0.1:8265/"));
    assert_eq!(url("fd00::1").as_deref(), Some("http://[fd00::1]:8265/"));
    for bad in ["not an address", "a/b", "a@b", "a?b", "", "::1]/x"] {
        assert_eq!(url(bad), None, "{bad}");
    }
}

#[test]
fn a_look_at_what_starts_is_late_by_a_share_of_the_time_waited_and_by_four_seconds_at_most() {
    let loads = |waited| starting(Duration::from_millis(waited), false).as_millis();
    assert_eq!([0, 6_000, 12_000, 20_000, 3_600_000].map(loads), [300, 300, 600, 1_000, 4_000]);
    let has_passed = |waited| starting(Duration::from_millis(waited), true).as_millis();
    assert_eq!([0, 1_200, 4_000, 3_600_000].map(has_passed), [1_000, 1_000, 1_000, 4_000]);
}

/// An agent, and the API server that it reads its token from.
fn agent(assignment: Assignment) -> (Agent, Fake) {
    let secret = json!({"metadata": {"name": "g", "namespace": "n"}, "data": {"auth_token": "c2VjcmV0"}});
    let server = Fake::new(move |_| Answer::Reply(200, secret.clone()));
    let (_, assignment) = watch::channel(assignment);
    let shared = Shared {
        client: server.client(),
        bridge: Bridge::new(Limits::default()).unwrap(),
        index: Arc::new(Index::default()),
        metrics: Arc::new(Metrics::new()),
        reachability: Arc::default(),
        engine_watch: true,
    };
    let fleet = Key::new("n", "f");
    let agent = Agent::new(Arc::new(shared), fleet, assignment, Arc::default(), GateTimer::default());
    (agent, server)
}

fn assignment(head: &str) -> Assignment {
    let pods = GroupPods {
        head_ip: Some(head.to_owned()),
        ips: Vec::new(),
        dashboard_port: 8266,
        own_port: None,
        well: true,
        token_secret: Some("g".to_owned()),
    };
    Assignment {
        group: Key::new("n", "g"),
        pods,
        engine: Engine::Own { port: Some(8000) },
        pace: PollInterval::Quick,
    }
}

#[tokio::test]
async fn another_head_is_asked_with_a_token_that_was_read_for_it() {
    let (mut agent, server) = agent(assignment("10.0.0.1"));
    let first = agent.target(assignment("10.0.0.1")).await.unwrap().unwrap();
    assert_eq!(first.dashboard.as_str(), "http://10.0.0.1:8266/");
    agent.target(assignment("10.0.0.1")).await.unwrap().unwrap();
    assert_eq!(server.calls().len(), 1);
    let second = agent.target(assignment("fd00::2")).await.unwrap().unwrap();
    assert_eq!(server.calls().len(), 2, "the head at the new address may be another Ray cluster's");
    assert_eq!(second.engine.unwrap().as_str(), "http://[fd00::2]:8000/");
}

#[test]
fn ranks_are_placed_on_the_nodes_of_the_groups_pods_alone() {
    let node = |ip: &str| RayNode {
        id: ray_bridge::NodeId::from(ip),
        ip: ip.to_owned(),
        name: ip.to_owned(),
        is_head: false,
        alive: true,
        state_message: None,
        gpus_total: 1,
        gpus_free: 1,
        labels: BTreeMap::new(),
    };
    let kept = of_pods(vec![node("10.0.0.1"), node("10.0.0.9")], &["10.0.0.1".to_owned()]);
    assert_eq!(kept, [node("10.0.0.1")]);
}

#[test]
fn nothing_is_planned_on_two_ray_nodes_of_one_pod() {
    let node = |id: &str, ip: &str, alive: bool| RayNode {
        id: ray_bridge::NodeId::from(id),
        ip: ip.to_owned(),
        name: ip.to_owned(),
        is_head: false,
        alive,
        state_message: None,
        gpus_total: 1,
        gpus_free: 1,
        labels: BTreeMap::new(),
    };
    let of = |second_alive: bool| {
        [node("a", "10.0.0.1", true), node("b", "10.0.0.2", true), node("c", "10.0.0.1", second_alive)]
    };
    assert_eq!(doubled(&of(true)), Some("10.0.0.1"));
    assert_eq!(doubled(&of(false)), None, "Ray has struck it out");
}

#[test]
fn an_opening_is_measured_once() {
    let (opening, now) = (GateTimer::default(), clock::monotonic());
    let launch = |number| Submission::of(format!("g.e.{number}").parse().unwrap()).unwrap();
    assert_eq!(opening.take(), None);
    opening.healthy(&launch(1), true, now);
    assert!(opening.take().is_some());
    opening.healthy(&launch(1), true, now);
    assert_eq!(opening.take(), None, "it was healthy before");
    opening.healthy(&launch(2), false, now);
    assert_eq!(opening.take(), None, "its gate is open already");
    opening.healthy(&launch(3), true, now);
    assert!(opening.take().is_some());
}

const HEAD: &str = "10.0.0.1";
const WORKER: &str = "10.0.0.2";
const CLUSTER: &str = "n/g";

/// A Ray whose head has joined, without GPUs.
async fn head() -> RayWorld {
    let ray = RayWorld::new(1);
    start_head(&ray, None).await;
    ray
}

/// Starts a head without GPUs, and waits until it has joined.
async fn start_head(ray: &RayWorld, own_engine_port: Option<u16>) {
    ray.start(RayPod {
        ip: HEAD.to_owned(),
        host_node: "a".to_owned(),
        cluster: CLUSTER.to_owned(),
        head: true,
        head_ip: None,
        gpus: 0,
        labels: BTreeMap::new(),
        token: None,
        own_engine_port,
    });
    until("the head to join", || ray.ready(HEAD)).await;
}

/// Starts a worker with the GPUs of the fleet's model.
fn start_worker(ray: &RayWorld) {
    start_node(ray, WORKER);
}

fn start_node(ray: &RayWorld, ip: &str) {
    ray.start(RayPod {
        ip: ip.to_owned(),
        host_node: "b".to_owned(),
        cluster: CLUSTER.to_owned(),
        head: false,
        head_ip: Some(HEAD.to_owned()),
        gpus: 2,
        labels: BTreeMap::new(),
        token: None,
        own_engine_port: None,
    });
}

/// How many jobs there are.
fn jobs(ray: &RayWorld) -> usize {
    ray.snapshot()["clusters"][CLUSTER]["jobs"].as_array().map_or(0, Vec::len)
}

async fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..600 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("timed out waiting for {what}");
}

/// Pods of a group without authentication, on the ports of the simulated Ray.
fn pods() -> GroupPods {
    GroupPods {
        ips: vec![HEAD.to_owned(), WORKER.to_owned()],
        dashboard_port: 8265,
        token_secret: None,
        ..assignment(HEAD).pods
    }
}

fn assigned(engine: Engine) -> Assignment {
    Assignment { pods: pods(), engine, ..assignment(HEAD) }
}

/// A launch of the fleet's model, and the engine that it is.
fn launch() -> (Launch, Engine) {
    let submission = Submission::of("g.e.1".parse().unwrap()).unwrap();
    let launch = Launch::of(&fleet().model.unwrap(), submission.clone()).unwrap();
    (launch, Engine::Launched { submission, port: 8000 })
}

/// An agent of the simulated Ray that follows an assignment.
fn agent_on(ray: &RayWorld, assignment: Assignment) -> (Agent, watch::Sender<Assignment>) {
    let (sender, receiver) = watch::channel(assignment.clone());
    let (mut agent, _) = agent(assignment);
    let shared = Arc::get_mut(&mut agent.shared).unwrap();
    shared.bridge = Bridge::over(ray.wire(), Limits::default()).unwrap();
    agent.assignment = receiver;
    (agent, sender)
}

/// Between two looks nothing changes, so nobody would decide it again.
#[tokio::test(start_paused = true)]
async fn a_launch_that_failed_is_tried_again_until_it_succeeds() {
    let ray = head().await;
    let (launch, engine) = launch();
    let (agent, _assignment) = agent_on(&ray, assigned(engine));
    let index = agent.shared.index.clone();
    agent.commands.put(Command::Launch(Box::new(launch)));
    let running = tokio::spawn(agent.run());

    let error = || {
        let observed = index.read(|known| known.ray.get(&Key::new("n", "g")).cloned())?;
        observed.state.ok()?.engine.launch_error
    };
    until("the failure to be reported", || error().is_some()).await;
    assert!(error().unwrap().starts_with("the plan does not fit: "));
    assert_eq!(jobs(&ray), 0);
    start_worker(&ray);
    until("a job", || jobs(&ray) > 0).await;
    assert_eq!(jobs(&ray), 1);
    running.abort();
}

/// No head yet: there is nobody to launch it.
#[tokio::test(start_paused = true)]
async fn a_launch_waits_for_a_head_with_an_address() {
    let ray = head().await;
    start_worker(&ray);
    until("the worker to join", || ray.ready(WORKER)).await;
    let (launch, engine) = launch();
    let whole = assigned(engine);
    let headless = Assignment { pods: GroupPods { head_ip: None, ..pods() }, ..whole.clone() };
    let (agent, assignment) = agent_on(&ray, headless);
    agent.commands.put(Command::Launch(Box::new(launch)));
    let running = tokio::spawn(agent.run());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(jobs(&ray), 0);
    assignment.send(whole).unwrap();
    until("a job", || jobs(&ray) > 0).await;
    assert_eq!(jobs(&ray), 1);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_the_group_has_left_is_not_done() {
    let ray = head().await;
    start_worker(&ray);
    until("the worker to join", || ray.ready(WORKER)).await;
    let (launch, _) = launch();
    let next = assigned(Engine::Launched {
        submission: Submission::of("g.e.2".parse().unwrap()).unwrap(),
        port: 8000,
    });
    let (mut agent, _assignment) = agent_on(&ray, next.clone());
    let target = agent.target(next).await.unwrap().unwrap();
    agent.carry_out(Command::Launch(Box::new(launch)), &target).await;
    assert_eq!((jobs(&ray), agent.is_quiet()), (0, false));
}

/// The template's own engine goes by what it says itself, if it served before; so does a group that has no engine to ask. One that is
/// ill says so; one that still loads says nothing.
#[tokio::test(start_paused = true)]
async fn a_dead_dashboard_beside_an_own_engine_that_serves_is_no_silence() {
    for (healthy, pace, port, serves) in [
        (Some(true), PollInterval::Steady, Some(8000), true),
        (Some(true), PollInterval::Quick, Some(8000), true),
        (Some(true), PollInterval::Starting, Some(8000), false),
        (Some(false), PollInterval::Steady, Some(8000), false),
        (None, PollInterval::Steady, Some(8000), false),
        (None, PollInterval::Steady, None, true),
    ] {
        let ray = RayWorld::new(1);
        let dead = healthy == Some(false);
        ray.models(move |_, _| EngineBehaviour { dead, ..EngineBehaviour::default() });
        start_head(&ray, Some(8000)).await;
        if healthy.is_some() {
            tokio::time::sleep(EngineBehaviour::default().load).await;
        }
        ray.set_dashboard(CLUSTER, DashboardState::Silent);
        let assignment = Assignment { pace, ..assigned(Engine::Own { port }) };
        let (mut agent, _assignment) = agent_on(&ray, assignment.clone());
        let target = agent.target(assignment.clone()).await.unwrap().unwrap();
        if let Some(engine) = agent.shared.bridge.engine(&target) {
            let health = engine.own_health().await;
            assert_eq!(health == Health::Serving, healthy == Some(true), "{health:?}");
            assert_eq!(health == Health::Unhealthy(503), healthy == Some(false), "{health:?}");
        }
        agent.look(&assignment, &target, true, None).await;
        let observed =
            agent.shared.index.read(|known| known.ray.get(&Key::new("n", "g")).cloned()).unwrap().state;
        assert_eq!(observed.is_ok(), serves, "{healthy:?} {pace:?} {port:?}: {observed:?}");
        if let Ok(alive) = observed {
            assert!(alive.engine.healthy && alive.engine.unverified.is_some(), "{alive:?}");
            assert_eq!(alive.nodes, [HEAD, WORKER]);
        }
    }
}
