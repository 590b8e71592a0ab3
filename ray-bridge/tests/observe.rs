//! The requests of an observation in each state, and its results.
#![allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

mod common;

use std::time::{Duration, Instant};

use common::{Answer, Fake, bridge, changed, closed_port, id, recorded, silent, target};
use ray_bridge::dashboard::JobStatus;
use ray_bridge::engine::{Health, PhaseKind};
use ray_bridge::observe::{ObserveOptions, RayState};
use ray_bridge::placement::{GroupState, Placement, RankSlot, Shape};
use ray_bridge::{CallErrorKind, NodeId};
use serde_json::{Value, json};

const STAGE_0: &str = "cdca8422c8af46ebc07431d205bb536996be53d4504dc25a512c88b9";
const STAGE_1: &str = "a0bbc55d907b00c23dd529ca20054430208ebd708dc2a58a576321bc";

/// The plan of the engine in the recorded replies: TP2×PP2 on two nodes.
fn plan() -> Placement {
    let slot = |rank: u32, node: &str| RankSlot {
        rank,
        data_rank: None,
        tensor_rank: rank % 2,
        stage: rank / 2,
        node_id: NodeId::from(node),
        node_ip: String::new(),
    };
    Placement {
        shape: Shape::new(2, 2).unwrap(),
        ranks: vec![slot(0, STAGE_0), slot(1, STAGE_0), slot(2, STAGE_1), slot(3, STAGE_1)],
        api_server_node: NodeId::from(STAGE_0),
    }
}

fn job(status: &str) -> Answer {
    changed("job_get_succeeded", |j| {
        j["status"] = json!(status);
        j["metadata"] = json!({ "rayfleet.io/plan": serde_json::to_string(&plan()).unwrap() });
    })
}

struct Cluster {
    ray: Fake,
    engine: Fake,
}

/// A cluster whose engine serves; each test changes what it is about.
async fn cluster() -> Cluster {
    let (ray, engine) = (Fake::start().await, Fake::start().await);
    ray.on("GET /api/jobs/chat", [job("RUNNING")])
        .on("GET /api/jobs/chat/logs", [recorded("job_logs_dead_node")])
        .on("GET /api/version", [recorded("version")])
        .on("GET /api/v0/nodes", [recorded("v0_nodes_detail")])
        .on("GET /api/cluster_status", [recorded("cluster_status")])
        .on("GET /api/v0/placement_groups", [recorded("v0_placement_groups_vllm")])
        .on("GET /api/v0/actors", [recorded("v0_actors_vllm_workers")]);
    let state = json!({"inFlight": 3, "awaiting": 0, "served": 7, "draining": false, "idleSeconds": 1.5, "name": "chat"});
    engine
        .on("GET /health", [(200, vec![])])
        .on("GET /rayfleet/v1/state", [(200, state.to_string().into_bytes())]);
    Cluster { ray, engine }
}

impl Cluster {
    async fn observe(&self, options: ObserveOptions) -> RayState {
        let target = target(&self.ray.url, Some(&self.engine.url));
        bridge().observe(&target, Some(&id("chat")), options).await.unwrap()
    }

    async fn look(&self) -> RayState {
        self.observe(ObserveOptions::default()).await
    }
}

#[tokio::test]
async fn an_engine_that_serves_costs_three_calls() {
    let cluster = cluster().await;
    let state = cluster.look().await;
    assert_eq!(cluster.ray.calls(), ["GET /api/jobs/chat"]);
    assert_eq!(cluster.engine.calls(), ["GET /health", "GET /rayfleet/v1/state"]);
    let sent: Vec<_> =
        cluster.engine.asked().into_iter().map(|asked| (asked.path, asked.authorization.is_some())).collect();
    assert!(sent.contains(&("/health".to_owned(), false)), "{sent:?}");
    assert!(sent.contains(&("/rayfleet/v1/state".to_owned(), true)), "{sent:?}");

    let engine = state.engine.unwrap();
    assert_eq!((engine.status, engine.health.clone()), (JobStatus::Running, Some(Health::Serving)));
    let load = engine.load.clone().unwrap();
    assert_eq!((load.in_flight, load.served, load.draining), (3, Some(7), Some(false)));
    assert_eq!(load.idle, Some(Duration::from_millis(1500)));
    assert_eq!((state.cluster, &engine.placed, &engine.phase, &engine.cause), (None, &None, &None, &None));
    assert!(!engine.is_placed(), "it is unknown if not read");
}

#[tokio::test]
async fn an_engine_that_is_watched_costs_one_call_and_its_port_none() {
    let cluster = cluster().await;
    let load = cluster.look().await.engine.unwrap().load;
    let asked = cluster.engine.calls().len();
    let target = target(&cluster.ray.url, Some(&cluster.engine.url));
    let port = (Health::Serving, load.clone());
    let state =
        bridge().observe_watched(&target, &id("chat"), ObserveOptions::default(), port).await.unwrap();
    assert_eq!(cluster.ray.calls(), ["GET /api/jobs/chat", "GET /api/jobs/chat"]);
    assert_eq!(cluster.engine.calls().len(), asked);
    let engine = state.engine.unwrap();
    assert_eq!((engine.health, engine.load), (Some(Health::Serving), load));
}

#[tokio::test]
async fn steps_are_read_only_while_requests_wait() {
    let cluster = cluster().await;
    let metrics = |generated: &str| {
        let text = include_str!("fixtures/vllm_metrics.txt");
        let counter = "vllm:generation_tokens_total{engine=\"0\",model_name=\"tiny\"} ";
        (200, text.replace(&format!("{counter}40.0"), &format!("{counter}{generated}")).into_bytes())
    };
    let state = |awaiting: u64| {
        let state =
            json!({"inFlight": 3, "awaiting": awaiting, "served": 7, "draining": false, "idleSeconds": 1.5});
        (200, state.to_string().into_bytes())
    };
    cluster.engine.on("GET /rayfleet/v1/state", [state(0), state(2)]);
    cluster.engine.on("GET /metrics", [metrics("40.0"), metrics("40.0"), metrics("41.0"), (500, vec![])]);
    let load = async || cluster.look().await.engine.unwrap().load.unwrap();

    let idle = load().await;
    assert_eq!((idle.awaiting, idle.progress), (0, None));
    assert!(!cluster.engine.calls().contains(&"GET /metrics".to_owned()));
    let (first, same, moved) = (load().await, load().await, load().await);
    assert_eq!((first.awaiting, first.in_flight), (2, 3));
    assert!(first.progress.is_some());
    assert_eq!(first.progress, same.progress);
    assert_ne!(first.progress, moved.progress);
    assert_eq!(load().await.progress, None, "missing counters do not hide the rest");
}

/// A response in the background, or other work whose request has ended.
#[tokio::test]
async fn a_draining_engine_is_asked_for_work_without_an_open_request() {
    let cluster = cluster().await;
    let metrics = |running: u64| {
        let text = include_str!("fixtures/vllm_metrics.txt");
        let gauge = "vllm:num_requests_running{engine=\"0\",model_name=\"tiny\"} ";
        let text = text.replace(&format!("{gauge}0.0"), &format!("{gauge}{running}.0"));
        (200, text.into_bytes())
    };
    let state = |in_flight: u64, draining: bool| {
        let state = json!({"inFlight": in_flight, "awaiting": 0, "served": 7, "draining": draining, "idleSeconds": 1.5});
        (200, state.to_string().into_bytes())
    };
    cluster.engine.on("GET /rayfleet/v1/state", [state(0, false), state(1, true), state(0, true)]);
    cluster.engine.on("GET /metrics", [metrics(2), metrics(2), metrics(0), (404, vec![]), (0, vec![])]);
    let load = async || cluster.look().await.engine.unwrap().load;
    let busy = async || load().await.map(|load| (load.in_flight, load.awaiting, load.progress.is_some()));

    assert_eq!((busy().await, busy().await), (Some((0, 0, false)), Some((1, 0, false))));
    assert!(!cluster.engine.calls().contains(&"GET /metrics".to_owned()), "no metrics are needed");
    assert_eq!((busy().await, busy().await), (Some((2, 2, true)), Some((2, 2, true))));
    assert_eq!(busy().await, Some((0, 0, false)), "now it has ended");
    assert_eq!(busy().await, Some((0, 0, false)), "without metrics the requests decide");
    assert_eq!(load().await, None, "no reply does not prove that it has none");
}

#[tokio::test]
async fn a_deep_observation_compares_the_ranks_with_the_plan() {
    let cluster = cluster().await;
    let state = cluster.observe(ObserveOptions::full()).await;
    let engine = state.engine.unwrap();
    assert!(engine.is_placed(), "{:?}", engine.placed);
    let placed = engine.placed.unwrap();
    assert_eq!(placed.group, Some(GroupState::Created));
    let ranks: Vec<_> = placed.ranks.iter().map(|r| (r.rank, r.alive)).collect();
    assert_eq!(ranks, [(0, true), (1, true), (2, true), (3, true)]);
    let seen = state.cluster.unwrap();
    assert_eq!((seen.version.as_str(), seen.nodes.len()), ("2.60.0", 4));
    assert!(seen.session.starts_with("session_2026"));
}

/// DP2×TP2 on two nodes, the API server with the first engine: the recorded placement group and ranks as two of each.
fn engines(cluster: &Cluster, actors: impl FnOnce(&mut Vec<Value>)) {
    let node = |engine: usize| [STAGE_0, STAGE_1][engine];
    let slot = |rank: u32| RankSlot {
        rank,
        data_rank: Some(rank / 2),
        tensor_rank: rank % 2,
        stage: 0,
        node_id: NodeId::from(node(rank as usize / 2)),
        node_ip: String::new(),
    };
    let plan = Placement {
        shape: Shape::of(2, 2, 1).unwrap(),
        ranks: (0..4).map(slot).collect(),
        api_server_node: NodeId::from(STAGE_0),
    };
    let job = changed("job_get_succeeded", |j| {
        j["status"] = json!("RUNNING");
        j["job_id"] = json!("0a000000");
        j["metadata"] = json!({ "rayfleet.io/plan": serde_json::to_string(&plan).unwrap() });
    });
    let groups = changed("v0_placement_groups_vllm", |answer| {
        let found = &mut answer["data"]["result"]["result"];
        let group = |engine: usize| {
            let bundle =
                |index: usize| json!({"bundle_id": {"bundle_index": index}, "node_id": node(engine)});
            json!({
                "placement_group_id": format!("g{engine}"), "name": format!("chat/dp{engine}"), "state": "CREATED",
                "bundles": [bundle(0), bundle(1), bundle(2)],
            })
        };
        *found = json!([group(1), group(0)]);
    });
    let ranks = changed("v0_actors_vllm_workers", |answer| {
        let actor = |rank: usize| {
            let (engine, tensor) = (rank / 2, rank % 2);
            json!({
                "class_name": "RayWorkerProc", "name": format!("vllm_Worker_1_dp{engine}_TP{tensor}"), "state": "ALIVE",
                "node_id": node(engine), "placement_group_id": format!("g{engine}"),
            })
        };
        let core = json!({
            "class_name": "DPMoEEngineCoreActor", "name": "", "state": "ALIVE", "node_id": STAGE_0, "placement_group_id": "g0",
        });
        let mut all: Vec<Value> = (0..4).map(actor).chain([core]).collect();
        actors(&mut all);
        answer["data"]["result"]["num_filtered"] = json!(all.len());
        answer["data"]["result"]["result"] = json!(all);
    });
    cluster.ray.on("GET /api/jobs/chat", [job]);
    cluster.ray.on("GET /api/v0/placement_groups", [groups]).on("GET /api/v0/actors", [ranks]);
}

#[tokio::test]
async fn data_parallel_engines_cost_as_many_calls_as_one_and_are_compared_with_the_plan() {
    let cluster = cluster().await;
    engines(&cluster, |_| ());
    let engine = cluster.observe(ObserveOptions::full()).await.engine.unwrap();
    assert!(engine.is_placed(), "{:?}", engine.placed);
    let ranks: Vec<_> = engine.placed.unwrap().ranks.iter().map(|r| (r.rank, r.data_rank)).collect();
    assert_eq!(ranks, [(0, Some(0)), (1, Some(0)), (2, Some(1)), (3, Some(1))]);
    let of = |kind: &str| {
        let calls = cluster.ray.calls();
        calls.iter().filter(|call| call.starts_with(&format!("GET /api/v0/{kind}"))).count()
    };
    assert_eq!((of("placement_groups"), of("actors")), (1, 1));
}

#[tokio::test]
async fn a_rank_is_of_the_engine_whose_gpu_it_holds() {
    let cluster = cluster().await;
    engines(&cluster, |actors| {
        actors[3]["placement_group_id"] = json!("g0");
        actors.push(json!({
            "class_name": "Trainer", "name": "", "state": "ALIVE", "node_id": STAGE_1, "placement_group_id": "g1",
            "required_resources": {"GPU_group_1_g1": 1.0},
        }));
        actors.push(json!({
            "class_name": "RayWorkerProc", "name": "vllm_Worker_2_TP0", "state": "ALIVE", "node_id": STAGE_1,
            "placement_group_id": "another",
        }));
    });
    let placed = cluster.observe(ObserveOptions::full()).await.engine.unwrap().placed.unwrap();
    let said: Vec<String> = placed.differences.iter().map(ToString::to_string).collect();
    let foreign =
        format!("actor Trainer holds the GPU of bundle 3 on node {STAGE_1}, but is no rank of the engine");
    assert_eq!(
        said,
        ["rank 1 (DP0 TP1 PP0) has several living actors", "rank 3 (DP1 TP1 PP0) has no actor", &foreign]
    );
}

#[tokio::test]
async fn ranks_on_other_nodes_than_planned_are_reported() {
    let cluster = cluster().await;
    let elsewhere = changed("v0_actors_vllm_workers", |a| {
        let ranks = a["data"]["result"]["result"].as_array_mut().unwrap();
        let moved = ranks.iter_mut().find(|r| r["name"].as_str().unwrap().ends_with("_TP1_PP0")).unwrap();
        moved["node_id"] = json!(STAGE_1);
    });
    cluster.ray.on("GET /api/v0/actors", [elsewhere]);
    let engine = cluster.observe(ObserveOptions::full()).await.engine.unwrap();
    assert!(!engine.is_placed());
    let said: Vec<String> = engine.placed.unwrap().differences.iter().map(ToString::to_string).collect();
    assert_eq!(said, [format!("rank 1 (TP1 PP0) is on node {STAGE_1}, planned node {STAGE_0} ()")]);
}

#[tokio::test]
async fn without_an_engine_only_the_cluster_is_read() {
    let cluster = cluster().await;
    let target = target(&cluster.ray.url, None);
    let state = bridge().observe(&target, None, ObserveOptions::default()).await.unwrap();
    assert_eq!(state.engine, None);
    assert_eq!(state.cluster.unwrap().nodes.len(), 4);
    assert_eq!(cluster.ray.calls(), ["GET /api/cluster_status", "GET /api/v0/nodes", "GET /api/version"]);
}

#[tokio::test]
async fn an_engine_unknown_to_ray_is_none() {
    let cluster = cluster().await;
    cluster.ray.on("GET /api/jobs/chat", [recorded("job_get_unknown")]);
    let state = cluster.look().await;
    assert!(state.engine.is_none() && state.cluster.is_some());
}

#[tokio::test]
async fn a_loading_engine_has_its_phase_and_its_ranks() {
    let cluster = cluster().await;
    let log = "RAYFLEET_PHASE {\"phase\": \"Ranks\", \"seconds\": 1}\nx\nRAYFLEET_PHASE {\"phase\": \"Loading\", \"seconds\": 9.5}\n";
    cluster.ray.on("GET /api/jobs/chat/logs", [(200, json!({ "logs": log }).to_string().into_bytes())]);
    let target = target(&cluster.ray.url, Some(&closed_port().await));
    let state = bridge().observe(&target, Some(&id("chat")), ObserveOptions::default()).await.unwrap();
    let engine = state.engine.unwrap();
    assert_eq!(engine.health, Some(Health::NotYet));
    assert_eq!(engine.phase.as_ref().map(|p| p.kind), Some(PhaseKind::Loading));
    assert!(engine.is_placed() && state.cluster.is_some());
}

#[tokio::test]
async fn a_dead_engine_core_is_unhealthy_and_has_no_load() {
    let cluster = cluster().await;
    cluster.engine.on("GET /health", [(503, vec![])]);
    let engine = cluster.look().await.engine.unwrap();
    assert_eq!((engine.health, engine.load), (Some(Health::Unhealthy(503)), None));
    assert!(engine.placed.is_some());
}

#[tokio::test]
async fn a_job_that_succeeded_has_failed_as_a_service() {
    let cluster = cluster().await;
    cluster.ray.on("GET /api/jobs/chat", [job("SUCCEEDED")]);
    cluster.ray.on("GET /api/jobs/chat/logs", [recorded("job_logs")]);
    let engine = cluster.look().await.engine.unwrap();
    assert!(engine.has_ended());
    let cause = engine.cause.unwrap();
    assert!(cause.starts_with("the engine's server returned"), "{cause}");
    assert!(cause.contains("last lines of its log:\n"), "{cause}");
    assert_eq!((engine.health, engine.load, engine.placed), (None, None, None));
}

#[tokio::test]
async fn a_job_that_ray_reports_running_without_its_actor_has_ended() {
    let cluster = cluster().await;
    let target = target(&cluster.ray.url, Some(&closed_port().await));
    let look = async || {
        let state = bridge().observe(&target, Some(&id("chat")), ObserveOptions::default()).await;
        state.unwrap().engine.unwrap()
    };
    let supervisor = |state: &str| {
        changed("v0_actor_node_died", |a| {
            let actors = &mut a["data"]["result"]["result"];
            actors[0]["name"] = json!("_ray_internal_job_actor_chat");
            actors[0]["class_name"] = json!("JobSupervisor");
            let mut second = actors[0].clone();
            second["state"] = json!(state);
            *actors = json!([actors[0], second]);
        })
    };
    cluster.ray.on("GET /api/v0/actors", [supervisor("ALIVE")]);
    assert!(!look().await.has_ended(), "the dead actor is of an earlier job of this name");

    cluster.ray.on("GET /api/v0/actors", [supervisor("DEAD")]);
    let stale = look().await;
    assert_eq!((stale.status, stale.has_ended(), stale.placed), (JobStatus::Failed, true, None));
    let cause = stale.cause.unwrap();
    assert!(cause.starts_with("Ray still reports RUNNING, but the actor that ran it is dead: "), "{cause}");

    assert!(!cluster.look().await.engine.unwrap().has_ended(), "an engine that serves has not ended");
}

#[tokio::test]
async fn a_reused_name_gives_the_phases_of_this_launch_only() {
    let cluster = cluster().await;
    let begin = "Running entrypoint for job chat: exec python -u rayfleet_launcher.py\n";
    let launch = |ms: u64, phase: &str| {
        format!(
            "{begin}RAYFLEET_LAUNCH {{\"name\": \"chat\", \"ms\": {ms}}}\nRAYFLEET_PHASE {{\"phase\": \"{phase}\"}}\n"
        )
    };
    let target = target(&cluster.ray.url, Some(&closed_port().await));
    let look = async |log: String| {
        cluster.ray.on("GET /api/jobs/chat/logs", [(200, json!({ "logs": log }).to_string().into_bytes())]);
        let state = bridge().observe(&target, Some(&id("chat")), ObserveOptions::default()).await;
        state.unwrap().engine.unwrap().phase.map(|phase| phase.kind)
    };
    // The job in the recorded reply was submitted at 1795337323066.
    let (before, after) = (1_795_330_000_000, 1_795_337_324_000);
    let both = format!("{}{}", launch(before, "Failed"), launch(after, "Ranks"));
    assert_eq!(look(both).await, Some(PhaseKind::Ranks));
    assert_eq!(look(format!("{}{begin}", launch(before, "Failed"))).await, None, "it has just started");
    assert_eq!(look(launch(before, "Failed")).await, None, "it has not started");
}

#[tokio::test]
async fn the_cause_of_a_failure_comes_from_the_launcher_or_else_from_ray() {
    let cluster = cluster().await;
    cluster.ray.on("GET /api/jobs/chat", [recorded("job_get_failed")]);
    cluster.ray.on("GET /api/jobs/chat/logs", [(500, vec![])]);
    let cause = async || cluster.look().await.engine.unwrap().cause.unwrap();
    assert_eq!(
        cause().await,
        "JOB_ENTRYPOINT_COMMAND_ERROR: Job entrypoint command failed with exit code 7 (exit code 7)"
    );

    let phase = json!({"phase": "Failed", "during": "Loading", "exitCode": 5, "message": "ValueError: no such model"});
    let log = format!("INFO a\nRAYFLEET_PHASE {phase}\nINFO z\n");
    cluster.ray.on("GET /api/jobs/chat/logs", [(200, json!({ "logs": log }).to_string().into_bytes())]);
    assert_eq!(
        cause().await,
        "failed in phase Loading: ValueError: no such model\nlast lines of its log:\nINFO a\nINFO z"
    );

    cluster.ray.on("GET /api/jobs/chat", [recorded("job_get_supervisor_died")]);
    cluster.ray.on("GET /api/jobs/chat/logs", [recorded("job_logs_dead_node")]);
    let died = cause().await;
    assert!(died.starts_with("JOB_SUPERVISOR_ACTOR_DIED: Job supervisor actor died:"), "{died}");
    assert!(died.contains("its node has died") && !died.contains('\n'), "{died}");

    cluster.ray.on("GET /api/jobs/chat", [recorded("job_get_stopped")]);
    cluster.ray.on("GET /api/jobs/chat/logs", [recorded("job_logs")]);
    assert_eq!(cause().await, "the engine was stopped on request");
}

#[tokio::test]
async fn a_removed_group_of_the_same_name_is_ignored() {
    let cluster = cluster().await;
    let two = changed("v0_placement_groups_vllm", |g| {
        let groups = g["data"]["result"]["result"].as_array_mut().unwrap();
        let mut old: Value = groups[0].clone();
        old["state"] = json!("REMOVED");
        old["placement_group_id"] = json!("old");
        groups.insert(0, old);
    });
    cluster.ray.on("GET /api/v0/placement_groups", [two]);
    assert!(cluster.observe(ObserveOptions::full()).await.engine.unwrap().is_placed());
    let actors = cluster.ray.asked().into_iter().find(|a| a.path.starts_with("/api/v0/actors")).unwrap();
    assert!(actors.path.ends_with("filter_values=f4e60b2be3d31d24898287adfacb0b000000"), "{}", actors.path);
}

#[tokio::test]
async fn an_engine_without_the_middleware_has_its_load_from_metrics() {
    let cluster = cluster().await;
    let metrics = include_str!("fixtures/vllm_metrics.txt").replace(
        "requests_running{engine=\"0\",model_name=\"tiny\"} 0.0",
        "requests_running{engine=\"0\"} 2.0",
    );
    cluster.engine.on("GET /rayfleet/v1/state", [(404, vec![])]);
    cluster.engine.on("GET /metrics", [(200, metrics.into_bytes())]);
    let load = cluster.look().await.engine.unwrap().load.unwrap();
    assert_eq!((load.in_flight, load.served, load.draining), (2, None, None));
}

#[tokio::test]
async fn an_engine_that_never_answers_costs_at_most_the_deadline() {
    let cluster = cluster().await;
    let target = target(&cluster.ray.url, Some(&silent().await));
    let options = ObserveOptions { deadline: Duration::from_millis(600), ..ObserveOptions::default() };
    #[expect(clippy::disallowed_methods, reason = "the test measures how long the observation takes")]
    let began = Instant::now();
    let state = bridge().observe(&target, Some(&id("chat")), options).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
    let health = state.engine.unwrap().health;
    assert_eq!(health, Some(Health::Unreachable("no answer within 0.200 s".to_owned())));
}

#[tokio::test]
async fn a_dashboard_that_never_answers_is_an_error_of_that_cluster() {
    let target = target(&silent().await, None);
    let options = ObserveOptions { deadline: Duration::from_millis(300), ..ObserveOptions::full() };
    let error = bridge().observe(&target, Some(&id("chat")), options).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::TimedOut { after_ms: 100 });
    assert!(error.to_string().starts_with("prod/chat-0: dashboard GET /api/"), "{error}");
}
