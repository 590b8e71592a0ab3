//! An engine from its launch to its end, through the bridge.

use std::time::Duration;

use ray_bridge::Launched;
use ray_bridge::dashboard::JobStatus;
use ray_bridge::engine::{Health, PhaseKind, Probe};
use ray_bridge::observe::EngineState;
use serde_json::json;

use super::bench::{Bench, CLUSTER, behaviour, name, spec};

#[tokio::test(start_paused = true)]
async fn an_engine_is_launched_placed_drained_and_stopped() {
    let bench = Bench::new().await;
    let id = name("chat-1");
    assert_eq!(bench.launch(&spec("chat-1")).await, Launched::Submitted);
    let mut phases: Vec<PhaseKind> = Vec::new();
    let serves = async || {
        let engine = bench.look(Some(&id)).await.unwrap().engine.unwrap();
        assert!(!engine.has_ended(), "{engine:?}");
        phases.extend(engine.phase.as_ref().map(|phase| phase.kind));
        phases.dedup();
        (engine.health == Some(Health::Serving)).then_some(engine)
    };
    let engine = bench.until("the engine", serves).await;
    assert_eq!(phases, [PhaseKind::PlacementGroup, PhaseKind::Ranks, PhaseKind::Loading]);
    assert!(engine.is_placed(), "{engine:#?}");
    assert_eq!(engine.placed.unwrap().ranks.len(), 4);

    let client = bench.bridge.engine(&bench.target).unwrap();
    assert_eq!(client.models().await.unwrap(), ["chat"]);
    let probe = Probe {
        model: "chat".to_owned(),
        prompt: "Is it well?".to_owned(),
        max_tokens: 5,
        expect: Some("course".to_owned()),
        timeout: Duration::from_secs(10),
    };
    assert_eq!(client.probe(&probe).await.unwrap(), " of course");
    client.set_draining(true).await.unwrap();
    let load = client.load().await.unwrap();
    assert_eq!((load.draining, load.in_flight, load.served), (Some(true), 0, Some(2)));
    assert!(bench.ray.says_close(super::bench::HEAD, super::bench::PORT));

    assert!(bench.bridge.stop(&bench.target, &id).await.unwrap());
    let ended = async || bench.look(Some(&id)).await.unwrap().engine.filter(EngineState::has_ended);
    let engine = bench.until("its end", ended).await;
    assert_eq!(
        (engine.status, engine.cause.as_deref()),
        (JobStatus::Stopped, Some("the engine was stopped on request"))
    );
    let left = bench.ray.snapshot();
    let cluster = &left["clusters"][CLUSTER];
    assert_eq!(
        (&left["engines"], &cluster["groups"], &cluster["ranks"]),
        (&json!([]), &json!([]), &json!([]))
    );
    let free = async || {
        let nodes = bench.look(None).await.unwrap().cluster.unwrap().nodes;
        nodes.iter().all(|node| node.gpus_free == node.gpus_total).then_some(())
    };
    bench.until("all GPUs to be free again", free).await;
    assert!(!bench.bridge.stop(&bench.target, &id).await.unwrap(), "it has ended");
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_reports_its_cause_and_last_lines() {
    let bench = Bench::new().await;
    let words = "INFO loading\nValueError: max_model_len (1000000) is larger than the cache\nexiting";
    bench.ray.models(move |source, args| {
        assert_eq!(source, "/models/chat");
        assert!(args.windows(2).any(|pair| pair == ["--max-model-len", "256"]), "{args:?}");
        super::super::EngineBehaviour { fails: Some(words.to_owned()), ..behaviour() }
    });
    bench.launch(&spec("chat-1")).await;
    let id = name("chat-1");
    let ended = async || bench.look(Some(&id)).await.unwrap().engine.filter(EngineState::has_ended);
    let engine = bench.until("its end", ended).await;
    assert_eq!(engine.status, JobStatus::Failed);
    let cause = engine.cause.unwrap();
    let (first, rest) = cause.split_once('\n').unwrap();
    assert_eq!(
        first,
        "failed in phase Loading: ValueError: max_model_len (1000000) is larger than the cache"
    );
    assert!(rest.ends_with("exiting"), "{rest}");
    assert_eq!(bench.ray.snapshot()["clusters"][CLUSTER]["groups"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_second_engine_waits_for_gpus_and_gives_up() {
    let mut bench = Bench::new().await;
    let nodes = bench.look(None).await.unwrap().cluster.unwrap().nodes;
    let all =
        ray_bridge::placement::plan(spec("chat-2").shape, &nodes, &ray_bridge::placement::Policy::default());
    bench.serving("chat-1").await;
    bench.bridge.launch(&bench.target, &spec("chat-2"), &all.unwrap()).await.unwrap();
    let id = name("chat-2");
    let waits = async || {
        let placed = bench.look(Some(&id)).await.unwrap().engine.and_then(|engine| engine.placed);
        placed.and_then(|placed| placed.group)
    };
    let group = bench.until("its placement group", waits).await;
    assert_eq!(group.to_string(), "pending (NO_RESOURCES)");
    let ended = async || bench.look(Some(&id)).await.unwrap().engine.filter(EngineState::has_ended);
    let cause = bench.until("its end", ended).await.cause.unwrap();
    assert!(
        cause.starts_with("failed in phase PlacementGroup: 4 ranks were not placed within 30 s"),
        "{cause}"
    );
    assert!(cause.contains("has 0 of 2 GPUs free, 2 needed"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn a_run_is_reproducible() {
    let run = async || {
        let mut bench = Bench::new().await;
        let engine = bench.serving("chat-1").await;
        bench.ray.kill_rank(CLUSTER, 2);
        tokio::time::sleep(Duration::from_secs(20)).await;
        format!("{engine:?} {:?} {}", bench.look(Some(&name("chat-1"))).await, bench.ray.snapshot())
    };
    assert_eq!(run().await, run().await);
}
