//! The engine's port alone: draining, models, probes, keys, and servers that need not be vLLM.
#![allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

mod common;

use std::time::Duration;

use common::{Fake, bridge, closed_port, recorded, target};
use ray_bridge::CallErrorKind;
use ray_bridge::engine::{Health, Probe, ProbeError};
use serde_json::{Value, json};

/// A dashboard that nobody asks, and an engine that serves.
struct Cluster {
    ray: Fake,
    engine: Fake,
}

async fn cluster() -> Cluster {
    let (ray, engine) = (Fake::start().await, Fake::start().await);
    let state = json!({"inFlight": 3, "awaiting": 0, "served": 7, "draining": false, "idleSeconds": 1.5, "name": "chat"});
    engine.on("GET /rayfleet/v1/state", [(200, state.to_string().into_bytes())]);
    Cluster { ray, engine }
}

#[tokio::test]
async fn draining_is_set_and_models_are_listed() {
    let cluster = cluster().await;
    cluster
        .engine
        .on("POST /rayfleet/v1/drain", [(200, vec![])])
        .on("DELETE /rayfleet/v1/drain", [(404, vec![])])
        .on("GET /v1/models", [recorded("vllm_models")]);
    let engine = bridge().engine(&target(&cluster.ray.url, Some(&cluster.engine.url))).unwrap();
    assert_eq!(engine.set_draining(true).await, Ok(()));
    assert!(matches!(engine.set_draining(false).await.unwrap_err().kind, CallErrorKind::NotFound { .. }));
    assert_eq!(engine.models().await, Ok(vec!["tiny".to_owned()]));
}

#[tokio::test]
async fn a_probe_passes_only_with_the_expected_text() {
    let cluster = cluster().await;
    let reply = json!({"choices": [{"text": " Paris, of course"}]}).to_string().into_bytes();
    cluster.engine.on("POST /v1/completions", [(200, reply)]);
    let engine = bridge().engine(&target(&cluster.ray.url, Some(&cluster.engine.url))).unwrap();
    let mut probe = Probe {
        model: "chat".to_owned(),
        prompt: "The capital of France is".to_owned(),
        max_tokens: 4,
        expect: Some("Paris".to_owned()),
        timeout: Duration::from_secs(3),
    };
    assert_eq!(engine.probe(&probe).await.as_deref(), Ok(" Paris, of course"));
    let sent: Value = serde_json::from_slice(&cluster.engine.asked()[0].body).unwrap();
    assert_eq!((&sent["temperature"], &sent["max_tokens"]), (&json!(0), &json!(4)));

    probe.expect = Some("Rome".to_owned());
    let error = engine.probe(&probe).await.unwrap_err();
    assert_eq!(error.to_string(), "the probe's answer \" Paris, of course\" does not contain \"Rome\"");

    cluster.engine.on("POST /v1/completions", [(200, b"{\"choices\": []}".to_vec())]);
    probe.expect = None;
    assert!(
        matches!(engine.probe(&probe).await, Err(ProbeError::Empty { .. })),
        "an answer without choices is empty"
    );
    cluster
        .engine
        .on("POST /v1/completions", [(404, b"{\"error\": {\"message\": \"no model x\"}}".to_vec())]);
    let error = engine.probe(&probe).await.unwrap_err();
    assert!(error.to_string().contains("/v1/completions: 404 not found: no model x"), "{error}");
    cluster.engine.on("POST /v1/completions", [(500, vec![])]);
    assert!(matches!(engine.probe(&probe).await, Err(ProbeError::Call(_))), "a broken engine is probed once");
    let tokens = cluster.engine.asked().into_iter().filter(|asked| asked.authorization.is_some());
    assert_eq!(tokens.count(), 0, "the engine never receives the Ray token");
}

fn a_probe(expect: Option<&str>) -> Probe {
    Probe {
        model: "chat".to_owned(),
        prompt: "The capital of France is".to_owned(),
        max_tokens: 4,
        expect: expect.map(str::to_owned),
        timeout: Duration::from_secs(3),
    }
}

#[tokio::test]
async fn an_engine_that_answers_only_other_paths_passes_its_probe() {
    for (path, reply) in [
        (
            "/v1/chat/completions",
            json!({"choices": [{"message": {"role": "assistant", "content": "Paris"}}]}),
        ),
        ("/v1/embeddings", json!({"object": "list", "data": [{"index": 0, "embedding": [0.5, 0.25]}]})),
        ("/classify", json!({"data": [{"index": 0, "label": "A", "probs": [0.5], "num_classes": 1}]})),
        ("/score", json!({"data": [{"index": 0, "score": 0.5}]})),
        ("/rerank", json!({"results": [{"index": 0, "relevance_score": 0.5}]})),
        ("/pooling", json!({"data": [{"index": 0, "data": [[0.5]]}]})),
    ] {
        let cluster = cluster().await;
        let missing = [(404, b"{\"detail\":\"Not Found\"}".to_vec())];
        let unsupported =
            json!({"error": {"message": "The model does not support Completions API", "code": 400}});
        cluster.engine.otherwise(missing[0].clone());
        cluster.engine.on("POST /v1/completions", [(400, unsupported.to_string().into_bytes())]);
        cluster.engine.on(&format!("POST {path}"), [(200, reply.to_string().into_bytes())]);
        let engine = bridge().engine(&target(&cluster.ray.url, Some(&cluster.engine.url))).unwrap();
        assert!(engine.probe(&a_probe(None)).await.is_ok(), "{path}");
        cluster.engine.on(&format!("POST {path}"), missing);
        let error = engine.probe(&a_probe(None)).await.unwrap_err().to_string();
        let wanted = "/v1/completions: 400: The model does not support Completions API; 404 not found: /v1/chat/completions, ";
        assert!(error.contains(wanted) && error.ends_with("/pooling"), "{error}");
    }
}

#[tokio::test]
async fn an_engine_that_wants_a_key_is_probed_by_the_middleware() {
    let cluster = cluster().await;
    cluster.engine.otherwise((404, b"{\"detail\":\"Not Found\"}".to_vec()));
    for path in ["/v1/completions", "/v1/chat/completions", "/v1/embeddings"] {
        cluster.engine.on(&format!("POST {path}"), [(401, b"{\"error\":\"Unauthorized\"}".to_vec())]);
    }
    let engine = bridge().engine(&target(&cluster.ray.url, Some(&cluster.engine.url))).unwrap();
    let locked = engine.probe(&a_probe(None)).await.unwrap_err();
    assert!(matches!(locked, ProbeError::NoWay(_)), "{locked}");
    assert!(
        locked.to_string().contains("/v1/completions: 404 not found: 401 without an API key"),
        "{locked}"
    );

    let old = (404, b"GET /rayfleet/v1/state, POST or DELETE /rayfleet/v1/drain\n".to_vec());
    cluster.engine.on("POST /rayfleet/v1/probe/v1/completions", [old]);
    let locked = engine.probe(&a_probe(None)).await.unwrap_err().to_string();
    assert!(locked.contains("wants an API key (401)") && locked.contains("VLLM_API_KEY"), "{locked}");

    let missing = (404, b"{\"detail\":\"Not Found\"}".to_vec());
    let vector = json!({"data": [{"embedding": [0.5]}]}).to_string().into_bytes();
    cluster.engine.on("POST /rayfleet/v1/probe/v1/completions", [missing.clone()]);
    cluster.engine.on("POST /rayfleet/v1/probe/v1/chat/completions", [missing]);
    cluster.engine.on("POST /rayfleet/v1/probe/v1/embeddings", [(200, vector)]);
    assert_eq!(engine.probe(&a_probe(None)).await.as_deref(), Ok(""));
    for asked in cluster.engine.asked() {
        assert_eq!(asked.authorization.is_some(), asked.path.starts_with("/rayfleet/"), "{}", asked.path);
    }
}

#[tokio::test]
async fn an_engine_on_another_host_gets_the_token_only_from_a_trusted_target() {
    let cluster = cluster().await;
    // Another host than the dashboard's, which a dashboard may have named.
    let mut elsewhere = cluster.engine.url.clone();
    elsewhere.set_host(Some("localhost")).unwrap();
    for (trusts_engine, sent) in [(false, None), (true, Some("Bearer s3cret"))] {
        let target = ray_bridge::Target { trusts_engine, ..target(&cluster.ray.url, Some(&elsewhere)) };
        bridge().engine(&target).unwrap().load().await.unwrap();
        assert_eq!(cluster.engine.asked().pop().unwrap().authorization.as_deref(), sent);
    }
}

#[tokio::test]
async fn a_server_without_health_is_healthy_if_it_lists_its_models() {
    for (health, models, expected) in [
        (200, 500, Health::Serving),
        (404, 200, Health::Serving),
        // It wants a key for requests, so it is up.
        (404, 401, Health::Serving),
        (401, 403, Health::Serving),
        (404, 404, Health::Unhealthy(404)),
        (404, 503, Health::Unhealthy(404)),
        (503, 200, Health::Unhealthy(503)),
        (500, 200, Health::Unhealthy(500)),
    ] {
        let engine = Fake::start().await;
        engine.on("GET /health", [(health, vec![])]).on("GET /v1/models", [(models, vec![])]);
        let target = target(&engine.url, Some(&engine.url));
        let found = bridge().engine(&target).unwrap().own_health().await;
        assert_eq!(found, expected, "/health {health}, /v1/models {models}");
    }
    let nobody = closed_port().await;
    let found = bridge().engine(&target(&nobody, Some(&nobody))).unwrap().own_health().await;
    assert_eq!(found, Health::NotYet);
}
