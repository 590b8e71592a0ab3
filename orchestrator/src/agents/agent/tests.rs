//! One agent: whom it asks, with which token, and that what it is to do gets done.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use ray_bridge::{Limits, Unreached, Wire};
use reqwest::{Request, Response};
use serde_json::{Value, json};

use super::*;
use crate::fixtures::fleet;
use crate::kubernetes::{GroupKey, GroupPods};
use rayfleet_runtime::testing::{Answer, Fake};

#[test]
fn addresses_of_both_families_make_urls() {
    let url = |ip| base_of(ip, 8265).map(|url| url.to_string());
    assert_eq!(url("10.0.0.1").as_deref(), Some("http://10.0.0.1:8265/"));
    assert_eq!(url("fd00::1").as_deref(), Some("http://[fd00::1]:8265/"));
    for bad in ["not an address", "a/b", "a@b", "a?b", "", "::1]/x"] {
        assert_eq!(url(bad), None, "{bad}");
    }
}

/// An agent, and the API server that it reads its token from.
fn agent(assignment: Assignment) -> (Agent, Fake) {
    let secret = json!({"metadata": {"name": "g", "namespace": "n"}, "data": {"auth_token": "c2VjcmV0"}});
    let server = Fake::new(move |_| Answer::Reply(200, secret.clone()));
    let (_, assignment) = watch::channel(assignment);
    let agent = Agent::new(
        Bridge::new(Limits::default()).unwrap(),
        GroupToken::new(server.client()),
        Arc::new(Index::default()),
        Arc::new(Metrics::new()),
        Arc::default(),
        Key::new("n", "f"),
        assignment,
        Arc::default(),
        GateTimer::default(),
    );
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
        labels: std::collections::BTreeMap::new(),
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
        labels: std::collections::BTreeMap::new(),
    };
    let of = |second_alive: bool| {
        [node("a", "10.0.0.1", true), node("b", "10.0.0.2", true), node("c", "10.0.0.1", second_alive)]
    };
    assert_eq!(doubled(&of(true)), Some("10.0.0.1"));
    assert_eq!(doubled(&of(false)), None, "Ray has struck it out");
}

#[test]
fn an_opening_is_measured_once() {
    let opening = GateTimer::default();
    assert_eq!(opening.take(), None);
    opening.begin(clock::monotonic());
    assert!(opening.take().is_some());
    assert_eq!(opening.take(), None);
}

/// A Ray whose GPUs come in late.
#[derive(Debug)]
struct Late {
    ready: Instant,
    submits: AtomicUsize,
}

impl Late {
    fn answer(&self, request: &Request) -> (u16, Value) {
        let gpus = if clock::monotonic() < self.ready { 0 } else { 8 };
        let node = json!({
            "node_id": "ab", "node_ip": "10.0.0.1", "is_head_node": true, "state": "ALIVE", "resources_total": {"GPU": gpus},
        });
        match (request.method().as_str(), request.url().path()) {
            ("GET", "/api/version") => (200, json!({"ray_version": "2.60.0", "session_name": "s"})),
            ("GET", "/api/v0/nodes") => {
                (200, json!({"result": true, "data": {"result": {"num_filtered": 1, "result": [node]}}}))
            }
            ("GET", "/api/cluster_status") => (200, json!({"data": {}})),
            ("POST", "/api/jobs/") => {
                self.submits.fetch_add(1, Ordering::Relaxed);
                (200, json!({}))
            }
            ("GET", path) if path.starts_with("/api/packages/") => (200, json!({})),
            _ => (404, json!({})),
        }
    }
}

#[derive(Debug)]
struct Over(Arc<Late>);

impl Wire for Over {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Response, Unreached>> {
        let (status, body) = self.0.answer(&request);
        let reply = http::Response::builder().status(status).body(body.to_string()).unwrap();
        futures::future::ready(Ok(Response::from(reply))).boxed()
    }

    fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<()>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn jitter(&self) -> f64 {
        1.0
    }
}

/// Between two looks nothing changes, so nobody would decide it again.
#[tokio::test(start_paused = true)]
async fn a_launch_that_failed_is_tried_again_until_it_succeeds() {
    let late = Arc::new(Late {
        ready: clock::monotonic() + Duration::from_secs(20),
        submits: AtomicUsize::default(),
    });
    let model = fleet().model.unwrap();
    let submission = Submission::of("g.e.1".parse().unwrap()).unwrap();
    let launch = Launch::of(&model, submission.clone()).unwrap();
    let engine = Engine::Launched { submission, port: 8000 };
    let pods =
        GroupPods { ips: vec!["10.0.0.1".to_owned()], token_secret: None, ..assignment("10.0.0.1").pods };
    let (sender, receiver) = watch::channel(Assignment { pods, engine, ..assignment("10.0.0.1") });
    let (mut agent, _) = agent(assignment("10.0.0.1"));
    agent.bridge = Bridge::over(Arc::new(Over(late.clone())), Limits::default()).unwrap();
    agent.assignment = receiver;
    let (mailbox, index) = (agent.commands.clone(), agent.index.clone());
    mailbox.put(Command::Launch(Box::new(launch)));
    let running = tokio::spawn(agent.run());

    let error = || {
        let observed = index.read(|known| known.ray.get(&GroupKey::new("n", "g")).cloned())?;
        observed.state.ok()?.engine.launch_error
    };
    let mut reported = None;
    for _ in 0..600 {
        reported = reported.or_else(error);
        if late.submits.load(Ordering::Relaxed) > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(late.submits.load(Ordering::Relaxed), 1);
    assert!(reported.unwrap().starts_with("the plan does not fit: "));
    running.abort();
    drop(sender);
}

/// No head yet: there is nobody to tell.
#[tokio::test(start_paused = true)]
async fn a_launch_waits_for_a_head_with_an_address() {
    let late = Arc::new(Late { ready: clock::monotonic(), submits: AtomicUsize::default() });
    let model = fleet().model.unwrap();
    let submission = Submission::of("g.e.1".parse().unwrap()).unwrap();
    let launch = Launch::of(&model, submission.clone()).unwrap();
    let engine = Engine::Launched { submission, port: 8000 };
    let pods =
        GroupPods { ips: vec!["10.0.0.1".to_owned()], token_secret: None, ..assignment("10.0.0.1").pods };
    let whole = Assignment { engine, pods: pods.clone(), ..assignment("10.0.0.1") };
    let headless = Assignment { pods: GroupPods { head_ip: None, ..pods }, ..whole.clone() };
    let (sender, receiver) = watch::channel(headless);
    let (mut agent, _) = agent(assignment("10.0.0.1"));
    agent.bridge = Bridge::over(Arc::new(Over(late.clone())), Limits::default()).unwrap();
    agent.assignment = receiver;
    agent.commands.put(Command::Launch(Box::new(launch)));
    let running = tokio::spawn(agent.run());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(late.submits.load(Ordering::Relaxed), 0);
    sender.send(whole).unwrap();
    for _ in 0..100 {
        if late.submits.load(Ordering::Relaxed) > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(late.submits.load(Ordering::Relaxed), 1);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_the_group_has_left_is_not_done() {
    let late = Arc::new(Late { ready: clock::monotonic(), submits: AtomicUsize::default() });
    let model = fleet().model.unwrap();
    let launch = Launch::of(&model, Submission::of("g.e.1".parse().unwrap()).unwrap()).unwrap();
    let engine =
        Engine::Launched { submission: Submission::of("g.e.2".parse().unwrap()).unwrap(), port: 8000 };
    let (_sender, receiver) = watch::channel(Assignment { engine, ..assignment("10.0.0.1") });
    let (mut agent, _) = agent(assignment("10.0.0.1"));
    agent.bridge = Bridge::over(Arc::new(Over(late.clone())), Limits::default()).unwrap();
    agent.assignment = receiver;
    let target = agent.target(assignment("10.0.0.1")).await.unwrap().unwrap();
    let command = Command::Launch(Box::new(launch));
    agent.carry_out(command, &target).await;
    assert_eq!((late.submits.load(Ordering::Relaxed), agent.is_quiet()), (0, false));
}

/// A dashboard that never answers, beside a server that answers `/health` with a status.
#[derive(Debug)]
struct Dashless(u16);

impl Wire for Dashless {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Response, Unreached>> {
        if request.url().port() == Some(8266) {
            return futures::future::pending().boxed();
        }
        let status = if request.url().path() == "/health" { self.0 } else { 404 };
        let reply = http::Response::builder().status(status).body("{}").unwrap();
        futures::future::ready(Ok(Response::from(reply))).boxed()
    }

    fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<()>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn jitter(&self) -> f64 {
        1.0
    }
}

/// The template's own engine goes by what it says itself, if it served before; so does a group that has no engine to ask.
#[tokio::test(start_paused = true)]
async fn a_dead_dashboard_beside_an_own_engine_that_serves_is_no_silence() {
    for (health, pace, port, serves) in [
        (200, PollInterval::Steady, Some(8000), true),
        (200, PollInterval::Quick, Some(8000), false),
        (503, PollInterval::Steady, Some(8000), false),
        (503, PollInterval::Steady, None, true),
    ] {
        let pods =
            GroupPods { ips: vec!["10.0.0.1".to_owned()], token_secret: None, ..assignment("10.0.0.1").pods };
        let assignment = Assignment { pods, pace, engine: Engine::Own { port }, ..assignment("10.0.0.1") };
        let (mut agent, _) = agent(assignment.clone());
        agent.bridge = Bridge::over(Arc::new(Dashless(health)), Limits::default()).unwrap();
        let target = agent.target(assignment.clone()).await.unwrap().unwrap();
        agent.look(assignment, target).await;
        let observed =
            agent.index.read(|known| known.ray.get(&GroupKey::new("n", "g")).cloned()).unwrap().state;
        assert_eq!(observed.is_ok(), serves, "{health} {pace:?} {port:?}: {observed:?}");
        if let Ok(alive) = observed {
            assert_eq!((alive.engine.healthy, alive.nodes), (true, vec!["10.0.0.1".to_owned()]));
            assert!(alive.engine.unverified.is_some());
        }
    }
}
