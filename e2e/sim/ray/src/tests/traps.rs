//! Traps of real Ray that the bridge must handle. A simulation without them would prove nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use ray_bridge::dashboard::{Authentication, Filter, JobRequest, JobStatus, Package};
use ray_bridge::diagnose::Trouble;
use ray_bridge::placement::{Policy, plan};
use ray_bridge::{CallErrorKind, Launched, NodeId};

use super::super::{DashboardState, RayWorld, Timing};
use super::bench::{Bench, CLUSTER, HEAD, name, pod, spec};

fn short(id: &str, node: Option<NodeId>) -> JobRequest {
    JobRequest {
        submission_id: name(id),
        entrypoint: "true".to_owned(),
        working_dir: None,
        env_vars: BTreeMap::new(),
        node,
        metadata: BTreeMap::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_submission_id_can_be_used_once() {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    let dashboard = bench.bridge.dashboard(&bench.target);
    let refused = dashboard.submit(&short("chat-1", None)).await.unwrap_err();
    assert_eq!(refused.kind, CallErrorKind::Conflict);
    assert_eq!(bench.ray.snapshot()["engines"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_succeeded_job_is_a_dead_engine() {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    bench.ray.end_launcher(CLUSTER, 0);
    let reported = bench.diagnose(&name("chat-1")).await.unwrap();
    assert_eq!(reported.trouble, Trouble::EngineDied);
    let engine = bench.look(Some(&name("chat-1"))).await.unwrap().engine.unwrap();
    assert_eq!(engine.status, JobStatus::Succeeded);
    assert!(engine.cause.unwrap().starts_with("the engine's server returned"), "a server must not");
}

#[tokio::test(start_paused = true)]
async fn gpus_in_use_are_reported_late() {
    let bench = Bench::new().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    bench.launch(&spec("chat-1")).await;
    let mut seen = Vec::new();
    for _ in 0..60 {
        let created = bench.ray.snapshot()["clusters"][CLUSTER]["groups"][0]["state"] == "CREATED";
        let nodes = bench.look(None).await.unwrap().cluster.unwrap().nodes;
        seen.push((created, nodes.iter().map(|node| node.gpus_free).sum::<u32>()));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(seen.contains(&(true, 4)), "the report was never behind: {seen:?}");
    assert_eq!(seen.last(), Some(&(true, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_package_is_removed_with_the_last_job_that_used_it() {
    let bench = Bench::new().await;
    let dashboard = bench.bridge.dashboard(&bench.target);
    let package = Package::of(&[("a.py", b"print(1)")]).unwrap();
    dashboard.ensure_package(&package).await.unwrap();
    let uses = |id: &str| JobRequest { working_dir: Some(package.uri()), ..short(id, None) };
    let ended = async |id: &str| {
        let job = async || Some(dashboard.job(&name(id)).await.unwrap()).filter(|job| job.status.has_ended());
        bench.until("the end of a job", job).await
    };
    dashboard.submit(&uses("first")).await.unwrap();
    assert_eq!(ended("first").await.status, JobStatus::Succeeded);
    // A package that was read is kept for ten minutes, and then no job holds it.
    tokio::time::sleep(Duration::from_mins(11)).await;
    dashboard.submit(&uses("second")).await.unwrap();
    let job = ended("second").await;
    assert_eq!(job.status, JobStatus::Failed);
    assert!(job.message.unwrap().contains("Failed to download runtime_env file package"));
    dashboard.ensure_package(&package).await.unwrap();
    dashboard.submit(&uses("third")).await.unwrap();
    assert_eq!(ended("third").await.status, JobStatus::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_job_comes_back_once() {
    let bench = Bench::new().await;
    let dashboard = bench.bridge.dashboard(&bench.target);
    dashboard.submit(&short("gone", None)).await.unwrap();
    let ended =
        async || Some(dashboard.job(&name("gone")).await.unwrap()).filter(|job| job.status.has_ended());
    bench.until("its end", ended).await;
    let times =
        dashboard.delete_until_gone(&name("gone"), Duration::from_secs(7), Duration::from_mins(1)).await;
    assert_eq!(times, Ok(2));
    let running = dashboard.delete(&name("gone")).await.unwrap_err();
    assert!(matches!(running.kind, CallErrorKind::NotFound { .. }), "{running}");
}

#[tokio::test(start_paused = true)]
async fn a_running_job_is_not_deleted() {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    let refused = bench.bridge.dashboard(&bench.target).delete(&name("chat-1")).await.unwrap_err();
    assert!(refused.to_string().contains("non-terminal state RUNNING"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_container_is_a_second_node_at_its_address() {
    let bench = Bench::new().await;
    bench.ray.die("10.0.0.2");
    bench.ray.start(pod(2, false));
    let all = async || bench.look(None).await.unwrap().cluster.unwrap().nodes;
    let twice = async || {
        let nodes: Vec<_> = all().await.into_iter().filter(|node| node.ip == "10.0.0.2").collect();
        (nodes.len() == 2).then_some(nodes)
    };
    let nodes = bench.until("the second node", twice).await;
    assert_ne!(nodes[0].id, nodes[1].id);
    assert!(nodes.iter().all(|node| node.alive), "Ray has not noticed yet");
    let noticed =
        async || Some(all().await).filter(|nodes| nodes.iter().filter(|node| !node.alive).count() == 1);
    let nodes = bench.until("Ray to notice", noticed).await;
    assert_eq!(nodes.len(), 4, "dead nodes stay listed");
    let dead = nodes.iter().find(|node| !node.alive).unwrap();
    assert!(dead.state_message.as_ref().unwrap().contains("missing too many heartbeats"), "{dead:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_pinned_to_a_lost_node_waits_and_times_out() {
    let bench = Bench::new().await;
    let dashboard = bench.bridge.dashboard(&bench.target);
    dashboard.submit(&short("lost", Some(NodeId::from("ffff")))).await.unwrap();
    tokio::time::sleep(Duration::from_mins(14)).await;
    assert_eq!(dashboard.job(&name("lost")).await.unwrap().status, JobStatus::Pending);
    tokio::time::sleep(Duration::from_mins(2)).await;
    let job = dashboard.job(&name("lost")).await.unwrap();
    assert_eq!(job.error_type.as_deref(), Some("JOB_SUPERVISOR_ACTOR_START_TIMEOUT"));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_required_and_checked() {
    let bench = Bench::with_token(Some("s3cret")).await;
    let ask = async |token: Option<&str>| {
        let token = token.map(|token| ray_bridge::Token::new(token).unwrap());
        let target = ray_bridge::Target { token, ..bench.target.clone() };
        bench.bridge.dashboard(&target).version().await.map_err(|error| error.kind)
    };
    assert!(ask(Some("s3cret")).await.is_ok());
    assert_eq!(ask(None).await, Err(CallErrorKind::Unauthorized));
    assert_eq!(ask(Some("other")).await, Err(CallErrorKind::Forbidden));
    let stranger = bench.bridge.dashboard(&ray_bridge::Target { token: None, ..bench.target.clone() });
    assert_eq!(stranger.authentication().await, Ok(Authentication::Token));
    assert_eq!(stranger.gcs_health().await, Ok(None), "health needs no token");
    assert_eq!(bench.launch(&spec("chat-1")).await, Launched::Submitted);
}

#[tokio::test(start_paused = true)]
async fn a_bad_filter_and_an_unknown_job_are_refused_as_ray_does() {
    let bench = Bench::new().await;
    let dashboard = bench.bridge.dashboard(&bench.target);
    let refused = dashboard.actors(&[Filter { key: "nonsense", value: "x" }]).await.unwrap_err();
    assert!(refused.to_string().contains("nonsense is not supported"), "{refused}");
    let unknown = dashboard.log_tail(&name("nobody")).await.unwrap_err();
    assert!(matches!(unknown.kind, CallErrorKind::NotFound { .. }), "{unknown}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_dashboard_answers_late() {
    let bench = Bench::new().await;
    bench.ray.set_dashboard(CLUSTER, DashboardState::Slow(Duration::from_secs(2)));
    let began = bench.ray.now().0;
    bench.bridge.dashboard(&bench.target).version().await.unwrap();
    assert!(bench.ray.now().0.saturating_sub(began) >= Duration::from_secs(2));
    bench.ray.set_dashboard(CLUSTER, DashboardState::Slow(Duration::from_secs(20)));
    let error = bench.bridge.dashboard(&bench.target).version().await.unwrap_err();
    assert!(matches!(error.kind, CallErrorKind::TimedOut { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_was_applied_and_timed_out_is_found_again() {
    let bench = Bench::new().await;
    let nodes = bench.look(None).await.unwrap().cluster.unwrap().nodes;
    let placement = plan(spec("chat-1").shape, &nodes, &Policy::default()).unwrap();
    let package = Package::launcher().unwrap();
    bench.bridge.dashboard(&bench.target).ensure_package(&package).await.unwrap();
    let ray = bench.ray.clone();
    // The package is looked up first, so only the answer to the submit is lost.
    let deafen = async {
        tokio::time::sleep(Duration::from_millis(3)).await;
        ray.set_dashboard(CLUSTER, DashboardState::Unheard);
    };
    let spec = spec("chat-1");
    let (lost, ()) =
        futures::future::join(bench.bridge.launch(&bench.target, &spec, &placement), deafen).await;
    assert!(lost.unwrap_err().to_string().contains("POST /api/jobs/: no answer within 30.000 s"));
    bench.ray.set_dashboard(CLUSTER, DashboardState::Well);
    let again = bench.bridge.launch(&bench.target, &spec, &placement).await.unwrap();
    assert_eq!(again, Launched::AlreadyThere);
    assert_eq!(bench.ray.snapshot()["clusters"][CLUSTER]["jobs"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn jittered_times_come_from_the_seed() {
    let joins = async |seed: u64| {
        let ray = RayWorld::new(seed);
        ray.timing(Timing { spread: 0.5, ..Timing::default() });
        ray.start(pod(1, true));
        while !ray.ready(HEAD) {
            ray.changed_since(ray.version()).await;
        }
        ray.now().0
    };
    assert_eq!(joins(1).await, joins(1).await);
    assert_ne!(joins(1).await, joins(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_machine_gives_a_sign_while_it_has_power() {
    let bench = Bench::new().await;
    assert!(bench.bridge.gives_sign("10.0.0.2").await);
    bench.ray.stop("10.0.0.2");
    assert!(bench.bridge.gives_sign("10.0.0.2").await, "a refusal is a sign");
    bench.ray.forget("10.0.0.2");
    assert!(!bench.bridge.gives_sign("10.0.0.2").await);
    bench.ray.lose_node("machine-1");
    assert!(!bench.bridge.gives_sign(HEAD).await);
    let knock =
        async || tokio::time::timeout(Duration::from_mins(5), bench.ray.wire().connect(HEAD, 8265)).await;
    assert!(knock().await.is_err(), "nothing answers or refuses, however long one waits");
    bench.ray.restore_node("machine-1");
    assert!(knock().await.unwrap().is_err(), "the machine is back and nothing listens at this address");
    bench.ray.start(pod(1, true));
    assert!(bench.bridge.gives_sign(HEAD).await);
}
