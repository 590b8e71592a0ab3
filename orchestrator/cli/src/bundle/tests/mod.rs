//! A simulated cluster with pods that answer, the commands on it, and the same commands on its bundle.

mod hostile;
mod made;
mod round_trip;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use rayfleet_cli_kit::testing::Kept;
use rayfleet_cli_kit::{CliError, Format};
use rayfleet_sim_kube::api::{Interceptor, Kind, Passthrough};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::args::BundleArgs;
use crate::args::{Cli, Command};
use crate::fleets::Fleets;
use crate::rollout::testing::with_history;
use crate::simulated::{self, Simulated};
use crate::{diagnose, events, logs, map, plan, rollout, sample, status, top};

/// No text of a bundle may have it.
const SECRET: &str = "Zq7-opaque.Value_9";
const HEADS: [&str; 2] = ["llama-bcdfgh-0-head-x2b4f", "llama-bcdfgh-1-head-9wz8k"];

fn moment() -> Timestamp {
    "2030-01-01T00:10:00Z".parse().unwrap()
}

fn put(server: &Simulated, kind: &Kind, object: Value) {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    let status = json!({"status": object["status"]});
    server.0.create(kind, object).unwrap();
    if !status["status"].is_null() {
        server.0.merge_patch_status(kind, &namespace, &name, &status).unwrap();
    }
}

fn pod(name: &str, group: &str, node: &str, ip: &str) -> Value {
    let role = if name.contains("-head-") { "head" } else { "worker" };
    json!({
        "metadata": {
            "name": name, "namespace": "serving",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": format!("{{\"token\":\"{SECRET}\"}}")},
            "labels": {
                "ray.io/cluster": group, "ray.io/node-type": role,
                "orchestration.aibrix.ai/raycluster-fleet-name": "llama"
            }
        },
        "spec": {"nodeName": node, "containers": [{
            "name": "ray", "image": "ray:1", "command": ["sh", "-c"],
            "args": [format!("exec vllm serve /m --api-key {SECRET} --port 8000")],
            "env": [{"name": "HF_TOKEN", "value": SECRET}],
            "resources": {"limits": {"nvidia.com/gpu": "1"}}
        }]},
        "status": {
            "phase": "Running", "podIP": ip,
            "containerStatuses": [{"name": "ray", "restartCount": i32::from(role == "head"), "state": {"running": {}}}]
        }
    })
}

/// The sample fleet during an upgrade, with its history, pods, nodes, an event, and a pod of somebody else.
fn cluster() -> Simulated {
    let mut fleet = sample::upgrading();
    fleet.data["status"]["groups"][0]["launch"] = json!(2);
    fleet.data["status"]["groups"][1]["phase"] = json!("Ready");
    fleet.data["status"]["observedGeneration"] = json!(1);
    let server = with_history(fleet);
    server.0.create(&Kind::NAMESPACE, json!({"metadata": {"name": "rayfleet-system"}})).unwrap();
    server.0.create(&Kind::NAMESPACE, json!({"metadata": {"name": "other"}})).unwrap();
    put(
        &server,
        &Kind::LEASE,
        json!({
            "metadata": {"name": "rayfleet-orchestrator", "namespace": "rayfleet-system"},
            "spec": {"holderIdentity": "rayfleet-orchestrator-a", "leaseDurationSeconds": 15, "renewTime": "2030-01-01T00:09:58.000000Z"}
        }),
    );
    put(
        &server,
        &Kind::POD,
        json!({
            "metadata": {
                "name": "rayfleet-orchestrator-a", "namespace": "rayfleet-system",
                "labels": {"app.kubernetes.io/name": "rayfleet", "app.kubernetes.io/component": "orchestrator"}
            },
            "spec": {"nodeName": "node-z", "containers": [{"name": "orchestrator", "image": "rayfleet:1"}]},
            "status": {
                "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "orchestrator", "restartCount": 0, "state": {"running": {}}}]
            }
        }),
    );
    for (number, node) in ["node-a", "node-b", "node-c", "node-d", "node-z"].into_iter().enumerate() {
        put(
            &server,
            &Kind::NODE,
            json!({
                "metadata": {"name": node, "labels": {"topology.kubernetes.io/zone": "us-east-1a", "number": number.to_string()}},
                "spec": {},
                "status": {
                    "allocatable": {"nvidia.com/gpu": "2"}, "images": [{"names": ["private/image"]}],
                    "conditions": [{"type": "Ready", "status": "True"}]
                }
            }),
        );
    }
    for (group, name, node, ip) in [
        ("llama-bcdfgh-0", HEADS[0], "node-a", "10.0.0.1"),
        ("llama-bcdfgh-0", "llama-bcdfgh-0-worker-q7w8e", "node-b", "10.0.0.2"),
        ("llama-bcdfgh-1", HEADS[1], "node-c", "10.0.0.3"),
        ("llama-bcdfgh-1", "llama-bcdfgh-1-worker-q7w8e", "node-d", "10.0.0.4"),
    ] {
        put(&server, &Kind::POD, pod(name, group, node, ip));
    }
    put(
        &server,
        &Kind::POD,
        json!({
            "metadata": {"name": "somebody-elses", "namespace": "other", "labels": {"app": "x"}},
            "spec": {"nodeName": "node-a", "containers": [{"name": "c", "image": "private/image", "resources": {"requests": {"nvidia.com/gpu": "1"}}}]},
            "status": {"phase": "Running"}
        }),
    );
    put(
        &server,
        &Kind::EVENT,
        json!({
            "metadata": {"name": "one", "namespace": "serving"}, "type": "Warning", "reason": "Failed",
            "involvedObject": {"kind": "Pod", "namespace": "serving", "name": HEADS[0]},
            "message": format!("Error: HF_TOKEN={SECRET} was refused"),
            "firstTimestamp": "2030-01-01T00:05:00Z", "lastTimestamp": "2030-01-01T00:05:00Z", "count": 1
        }),
    );
    put(
        &server,
        &Kind::EVENT,
        json!({
            "metadata": {"name": "two", "namespace": "serving"}, "type": "Warning", "reason": "Failed",
            "involvedObject": {"kind": "Pod", "namespace": "serving", "name": "others-web-0"},
            "message": "of somebody else", "lastTimestamp": "2030-01-01T00:05:00Z", "count": 1
        }),
    );
    put(
        &server,
        &Kind::SERVICE,
        json!({"metadata": {"name": "llama", "namespace": "serving"}, "spec": {"ports": [{"port": 8000}]}}),
    );
    put(
        &server,
        &Kind::ENDPOINT_SLICE,
        json!({
            "metadata": {"name": "llama-1", "namespace": "serving", "labels": {"kubernetes.io/service-name": "llama"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]
        }),
    );
    server
}

/// What pods answer, by a part of the call; `{n}` stands for the number of the call.
fn said(uri: &str, call: usize) -> (u16, String) {
    let stamped = |second: u32, text: &str| format!("2030-01-01T00:00:{second:02}.5Z {text}\n");
    let text = if uri.contains("/log?") && uri.contains("previous=true") {
        stamped(0, "before the restart")
    } else if uri.contains("/log?") {
        stamped(1, "ray start") + &stamped(4, &format!("Authorization: Bearer {SECRET}")) + &stamped(6, "up")
    } else if uri.contains("/proxy/metrics") {
        let tokens = 1_000 + 100 * call;
        format!(
            "vllm:num_requests_running 7\nvllm:generation_tokens_total {tokens}\nray_node_gpus_available{{}} 1\n"
        )
    } else if uri.contains("/proxy/api/jobs/llama") {
        json!({"driver_node_id": "abc", "runtime_env": {"env_vars": {"MY_KEY": SECRET}}}).to_string()
    } else if uri.contains("/api/v0/actors?") {
        json!({"data": {"result": {"result": [
            {"actor_id": "ff", "class_name": "RayWorkerProc", "name": "vllm_Worker_x_TP0_PP0", "state": "ALIVE", "job_id": "02"}
        ]}}})
        .to_string()
    } else if uri.contains("filename=job-driver-llama-bcdfgh-0.zxwvtr.2.log") {
        format!(
            "RAYFLEET_LAUNCH {{\"name\": \"x\", \"ms\": 1893456001000}}\n2030-01-01 00:00:03,000\tINFO args: {{'api_key': ['{SECRET}']}}\n\
             2030-01-01 00:00:05,000\tINFO serving {SECRET}\n"
        )
    } else if uri.contains("actor_id=ff&suffix=out") {
        "INFO 01-01 00:00:04 [a.py:1] loading\n".to_owned()
    } else if uri.contains("actor_id=ff&suffix=err") {
        String::new()
    } else if uri.contains("/proxy/api/") {
        "{}".to_owned()
    } else {
        return (404, "404 page not found".to_owned());
    };
    (200, text)
}

/// The cluster as the program reaches it, with the pods behind it.
fn fleets(server: &Simulated, interceptor: impl Interceptor + 'static) -> Fleets {
    let (inner, calls) = (
        server.0.client("kubectl", "serving", Arc::new(interceptor)),
        Arc::new(Mutex::new(Vec::<String>::new())),
    );
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, calls) = (inner.clone(), calls.clone());
        async move {
            let uri = request.uri().to_string();
            let whole = |text: String| -> UnsyncBoxBody<Bytes, tower::BoxError> {
                Full::new(Bytes::from(text)).map_err(Into::into).boxed_unsync()
            };
            if !uri.contains("/log?") && !uri.contains("/proxy/") {
                return Ok::<_, kube::Error>(
                    inner.send(request).await?.map(|body| body.map_err(Into::into).boxed_unsync()),
                );
            }
            let call = {
                let mut calls = calls.lock();
                calls.push(uri.clone());
                calls.iter().filter(|before| **before == uri).count()
            };
            let (code, text) = said(&uri, call);
            Ok(Response::builder().status(code).body(whole(text)).unwrap())
        }
    });
    Fleets { moment: Some(moment()), ..simulated::fleets(Client::new(service, "serving")) }
}

/// What a command line prints, its exit code, and what it says to people.
async fn printed(line: &str, fleets: &Fleets) -> (u8, String, String) {
    let words = std::iter::once("kubectl-rayfleet").chain(line.split_whitespace());
    let mut cli = Cli::try_parse_from(words).unwrap();
    let mut fleets = fleets.clone();
    if fleets.recorded
        && cli.global.namespace.is_none()
        && let Err(fault) = super::choose(&mut cli.command, &mut fleets).await
    {
        return (fault.code(), String::new(), fault.to_string());
    }
    let fleets = &Fleets { namespace: cli.global.namespace.unwrap_or(fleets.namespace.clone()), ..fleets };
    let kept = Kept::default();
    let terminal = |format| kept.terminal(format);
    let done: Result<(), CliError> = match &cli.command {
        Command::Status(args) => Box::pin(status::run(args, fleets, &terminal(args.format()))).await,
        Command::Diagnose(args) => Box::pin(diagnose::run(args, fleets, &terminal(args.output))).await,
        Command::Map(args) => Box::pin(map::run(args, fleets, &terminal(args.format()))).await,
        Command::Top(args) => Box::pin(top::run(args, fleets, &terminal(args.format()))).await,
        Command::Events(args) => Box::pin(events::run(args, fleets, &terminal(args.format()))).await,
        Command::Logs(args) => Box::pin(logs::run(args, fleets, &terminal(args.output))).await,
        Command::Plan(args) => Box::pin(plan::run(args, fleets, &terminal(args.output))).await,
        Command::Rollout(command) => Box::pin(rollout::run(command, fleets, &terminal(Format::Text))).await,
        other => panic!("{other:?}"),
    };
    let said = done.as_ref().err().map(ToString::to_string).unwrap_or_default();
    (done.map_or_else(|fault| fault.code(), |()| 0), kept.out(), kept.progress() + &said)
}

fn args(words: &str, output: PathBuf) -> BundleArgs {
    let words = ["kubectl-rayfleet", "support-bundle"].into_iter().chain(words.split_whitespace());
    match Cli::try_parse_from(words).unwrap().command {
        Command::SupportBundle(args) => BundleArgs { output: Some(output), ..args },
        other => panic!("{other:?}"),
    }
}

/// A bundle in a directory of its own: its path, how it ended, and what was said.
async fn made(words: &str, fleets: &Fleets) -> (TempDir, PathBuf, Result<(), CliError>, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle.zip");
    let kept = Kept::default();
    let done = super::run(&args(words, path.clone()), fleets, &kept.terminal(Format::Text)).await;
    (directory, path, done, kept.progress())
}

fn opened(path: &Path) -> Fleets {
    let fleets = super::open(path, None, Duration::from_secs(10)).unwrap();
    // As the simulated one, which some commands name.
    Fleets { server: "https://simulated".to_owned(), ..fleets }
}

fn passing(server: &Simulated) -> Fleets {
    fleets(server, Passthrough)
}

/// All files of a bundle, by name.
fn files(path: &Path) -> Vec<(String, String)> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().to_string()).collect();
    names
        .into_iter()
        .map(|name| {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut archive.by_name(&name).unwrap(), &mut text).unwrap();
            (name, text)
        })
        .collect()
}
