//! The requests of a launch, and that a launch may be repeated.
#![allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Fake, bridge, id, recorded, target};
use ray_bridge::engine::{EngineKind, EngineSpec, LaunchRecord};
use ray_bridge::placement::{Placement, Policy, RayNode, Shape, plan};
use ray_bridge::{Bridge, CallError, CallErrorKind, LaunchError, Launched, Limits, NodeId};
use serde_json::{Value, json};

fn placement(shape: Shape) -> Placement {
    let head = RayNode {
        id: NodeId::from("aa11"),
        ip: "10.0.0.1".to_owned(),
        name: "head".to_owned(),
        is_head: true,
        alive: true,
        state_message: None,
        gpus_total: 8,
        gpus_free: 8,
        labels: BTreeMap::new(),
    };
    plan(shape, &[head], &Policy::default()).unwrap()
}

fn spec(shape: Shape) -> EngineSpec {
    EngineSpec {
        kind: EngineKind::Vllm,
        name: id("chat-0-e1"),
        model_name: "chat".to_owned(),
        source: "/models/chat".to_owned(),
        args: vec!["--max-model-len".to_owned(), "256".to_owned()],
        env: BTreeMap::from([("HF_TOKEN".to_owned(), "hf_secret".to_owned())]),
        shape,
        port: 8000,
        placement_timeout: Duration::from_mins(1),
        probe: None,
    }
}

fn shape() -> Shape {
    Shape::new(1, 2).unwrap()
}

/// A Ray that holds the package already.
async fn ray(submit: (u16, Vec<u8>)) -> Fake {
    let fake = Fake::start().await;
    fake.on("POST /api/jobs/", [submit]);
    fake.otherwise((200, vec![]));
    fake
}

#[tokio::test]
async fn a_launch_checks_the_package_and_submits_a_pinned_job_with_its_plan() {
    let fake = ray(recorded("job_submit_ok")).await;
    let placement = placement(shape());
    let launched = bridge().launch(&target(&fake.url, None), &spec(shape()), &placement).await.unwrap();
    assert_eq!(launched, Launched::Submitted);

    let asked = fake.asked();
    assert!(asked[0].path.starts_with("/api/packages/gcs/_ray_pkg_"), "{}", asked[0].path);
    let job: Value = serde_json::from_slice(&asked[1].body).unwrap();
    assert_eq!(job["submission_id"], "chat-0-e1");
    assert_eq!(job["entrypoint"], "exec python -u rayfleet_launcher.py");
    assert_eq!(job["entrypoint_label_selector"], json!({"ray.io/node-id": "aa11"}));
    let package = asked[0].path.replace("/api/packages/gcs/", "gcs://");
    assert_eq!(job["runtime_env"]["working_dir"], Value::String(package));
    let kept: Placement =
        serde_json::from_str(job["metadata"]["rayfleet.io/plan"].as_str().unwrap()).unwrap();
    assert_eq!(kept, placement);
    let record: LaunchRecord =
        serde_json::from_str(job["metadata"]["rayfleet.io/engine"].as_str().unwrap()).unwrap();
    assert_eq!(record, LaunchRecord::of(&spec(shape())));
    assert_eq!((record.model.as_str(), record.port), ("chat", 8000));

    let env = &job["runtime_env"]["env_vars"];
    assert_eq!(env["HF_TOKEN"], "hf_secret");
    let given: Value = serde_json::from_str(env["RAYFLEET_SPEC"].as_str().unwrap()).unwrap();
    assert_eq!(
        given,
        json!({
            "name": "chat-0-e1",
            "engine": "vllm",
            "bundles": [{"rank": 0, "nodeId": "aa11"}, {"rank": 1, "nodeId": "aa11"}],
            "apiServerNodeId": "aa11",
            "tensor": 1,
            "pipeline": 2,
            "port": 8000,
            "argv": [
                "/models/chat", "--served-model-name", "chat", "--host", "0.0.0.0", "--port", "8000",
                "--tensor-parallel-size", "1", "--pipeline-parallel-size", "2",
                "--distributed-executor-backend", "ray", "--max-model-len", "256",
            ],
            "placementTimeoutSeconds": 60.0,
        })
    );
}

#[tokio::test]
async fn a_custom_engine_names_its_callable() {
    let fake = ray(recorded("job_submit_ok")).await;
    let custom = EngineKind::Custom { entrypoint: "light_engine:serve".to_owned() };
    let spec = EngineSpec { kind: custom, ..spec(shape()) };
    bridge().launch(&target(&fake.url, None), &spec, &placement(shape())).await.unwrap();
    let job: Value = serde_json::from_slice(&fake.asked()[1].body).unwrap();
    let launcher: Value =
        serde_json::from_str(job["runtime_env"]["env_vars"]["RAYFLEET_SPEC"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&launcher["engine"], &launcher["entrypoint"]),
        (&json!("custom"), &json!("light_engine:serve"))
    );
}

#[tokio::test]
async fn a_launch_that_was_applied_but_timed_out_is_found_again() {
    let fake = ray((0, vec![])).await;
    fake.on("POST /api/jobs/", [(0, vec![]), recorded("job_submit_dup")]);
    let impatient = Limits { submit: Duration::from_millis(100), ..common::limits() };
    let launch = async || {
        let bridge = Bridge::new(impatient).unwrap();
        bridge.launch(&target(&fake.url, None), &spec(shape()), &placement(shape())).await
    };
    let error = launch().await.unwrap_err();
    assert!(matches!(&error, LaunchError::Call(e) if e.retryable()), "{error}");
    assert_eq!(launch().await, Ok(Launched::AlreadyThere));
}

#[tokio::test]
async fn nothing_is_sent_for_an_invalid_spec() {
    let fake = ray(recorded("job_submit_ok")).await;
    let refused = async |change: fn(&mut EngineSpec)| {
        let mut spec = spec(shape());
        change(&mut spec);
        let error = bridge().launch(&target(&fake.url, None), &spec, &placement(shape())).await.unwrap_err();
        error.to_string()
    };
    assert_eq!(
        refused(|s| s.args = vec!["-tp=4".to_owned()]).await,
        "-tp: the shape comes from the parallelism of the model; set that instead"
    );
    assert_eq!(
        refused(|s| s.env = [("RAYFLEET_SPEC".to_owned(), String::new())].into()).await,
        "env RAYFLEET_SPEC: belongs to the bridge or to Ray; leave it out"
    );
    assert!(refused(|s| s.source = "--evil".to_owned()).await.starts_with("source: "));
    assert!(refused(|s| s.model_name = String::new()).await.starts_with("model name: "));
    assert!(
        refused(|s| s.kind = EngineKind::Custom { entrypoint: "os; rm".to_owned() })
            .await
            .starts_with("entrypoint")
    );
    assert_eq!(
        refused(|s| s.shape = Shape::new(2, 2).unwrap()).await,
        "the placement is for TP1×PP2, the engine wants TP2×PP2"
    );
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn a_busy_dashboard_is_a_retryable_error() {
    let fake = ray((500, b"500 Internal Server Error\n\nServer got itself in trouble".to_vec())).await;
    let error =
        bridge().launch(&target(&fake.url, None), &spec(shape()), &placement(shape())).await.unwrap_err();
    let LaunchError::Call(error) = error else { panic!("{error}") };
    assert!(error.retryable(), "{error}");
    assert!(matches!(error, CallError { kind: CallErrorKind::Rejected { status: 500, .. }, .. }));
}

#[test]
fn debug_does_not_show_values_of_the_environment() {
    let shown = format!("{:?}", spec(shape()));
    assert!(shown.contains("HF_TOKEN") && !shown.contains("hf_secret"), "{shown}");
}

#[test]
fn engines_with_different_arguments_or_environment_have_different_digests() {
    let digest = |change: fn(&mut EngineSpec)| {
        let mut spec = spec(shape());
        change(&mut spec);
        LaunchRecord::of(&spec).digest
    };
    let same = digest(|_| {});
    assert_eq!(same, digest(|s| s.name = id("another-name")));
    assert_ne!(same, digest(|s| s.args.clear()));
    assert_ne!(same, digest(|s| s.env.clear()));
    assert_ne!(same, digest(|s| s.shape = Shape::new(2, 2).unwrap()));
    assert_ne!(same, digest(|s| s.kind = EngineKind::Custom { entrypoint: "a:b".to_owned() }));
}
