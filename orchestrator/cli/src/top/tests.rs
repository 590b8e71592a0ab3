//! The command on the simulated API server, with engines behind its proxy.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use kube::core::DynamicObject;
use parking_lot::Mutex;
use rayfleet_api::names;
use rayfleet_cli_kit::Format;
use rayfleet_cli_kit::testing::Kept;
use rayfleet_sim_kube::api::Kind;
use serde_json::{Value, json};

use super::args::TopArgs;
use super::rows::Answers;
use super::run;
use super::sampler::{Asked, Sampler};
use super::target::RayPod;
use crate::fleets::Fleets;
use crate::global::WideOutput;
use crate::simulated::{Simulated, fleets};
use crate::{sample, simulated};

/// Body of an answer.
type Content = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What a pod does with a request for its metrics, by its name and the number of the call.
type Pod = fn(&str, usize) -> Response<Content>;

const HEADS: [&str; 2] = ["llama-bcdfgh-0-head-x2b4f", "llama-bcdfgh-1-head-9wz8k"];

fn args() -> TopArgs {
    TopArgs {
        fleet: Some("llama".to_owned()),
        all_namespaces: false,
        watch: false,
        interval: Duration::from_secs(2),
        output: None,
    }
}

fn whole(body: impl Into<Vec<u8>>) -> Content {
    Full::new(Bytes::from(body.into())).map_err(Into::into).boxed_unsync()
}

fn text(body: impl Into<Vec<u8>>) -> Response<Content> {
    Response::new(whole(body))
}

fn refusal(code: u16, reason: &str, message: &str) -> Response<Content> {
    let status =
        json!({"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code});
    Response::builder().status(code).body(whole(status.to_string())).unwrap()
}

/// vLLM's text of an engine that has done this much.
fn vllm(tokens: usize, first_tokens: usize) -> String {
    let bucket = |bound: &str, count: usize| {
        format!("vllm:time_to_first_token_seconds_bucket{{engine=\"0\",le=\"{bound}\"}} {count}\n")
    };
    format!(
        "vllm:num_requests_running{{engine=\"0\"}} 7\nvllm:num_requests_waiting{{engine=\"0\"}} 1\n\
         vllm:kv_cache_usage_perc{{engine=\"0\"}} 0.42\nvllm:generation_tokens_total{{engine=\"0\"}} {tokens}\n{}{}",
        bucket("0.5", first_tokens),
        bucket("+Inf", first_tokens)
    )
}

/// An engine that makes 50 tokens and two first tokens a call.
fn serves(_: &str, call: usize) -> Response<Content> {
    text(vllm(1_000 + 100 * call, 4 * call))
}

/// The server with something behind the proxy of its pods; what was asked is kept.
fn behind(server: &Simulated, pod: Pod) -> (Fleets, Arc<Mutex<Vec<String>>>) {
    behind_but(server, pod, None)
}

/// The same, but one pod never answers.
fn behind_but(
    server: &Simulated,
    pod: Pod,
    silent: Option<&'static str>,
) -> (Fleets, Arc<Mutex<Vec<String>>>) {
    let (inner, asked) = (server.fleets().client, Arc::new(Mutex::new(Vec::<String>::new())));
    let kept = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, kept) = (inner.clone(), kept.clone());
        async move {
            let path = request.uri().path().to_owned();
            let Some(name) = path.strip_suffix("/proxy/metrics") else {
                return Ok(inner.send(request).await?.map(|body| body.map_err(Into::into).boxed_unsync()));
            };
            let name = name.rsplit('/').next().unwrap_or_default().to_owned();
            let call = {
                let mut kept = kept.lock();
                kept.push(path);
                kept.iter().filter(|path| path.contains(&name)).count()
            };
            if silent.is_some_and(|silent| name.starts_with(silent)) {
                std::future::pending::<()>().await;
            }
            Ok::<_, kube::Error>(pod(&name, call))
        }
    });
    (fleets(Client::new(service, "serving")), asked)
}

fn both_ready() -> Simulated {
    let mut fleet = json!(sample::upgrading());
    fleet["status"]["groups"][1]["phase"] = json!("Ready");
    let fleet: DynamicObject = serde_json::from_value(fleet).unwrap();
    Simulated::with([fleet])
}

async fn shown(args: &TopArgs, fleets: &Fleets) -> (String, Option<rayfleet_cli_kit::CliError>) {
    let kept = Kept::default();
    let fault = run(args, fleets, &kept.terminal(args.format())).await.err();
    (kept.out(), fault)
}

#[tokio::test(start_paused = true)]
async fn rates_are_of_two_readings_through_the_proxy() {
    let (fleets, asked) = behind(&both_ready(), serves);
    let (text, fault) = shown(&args(), &fleets).await;
    assert_eq!(fault, None, "{text}");
    insta::assert_snapshot!(text);
    let asked = asked.lock();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert_eq!(asked[0], format!("/api/v1/namespaces/serving/pods/{}:8000/proxy/metrics", HEADS[0]));
}

#[tokio::test(start_paused = true)]
async fn a_silent_engine_has_its_own_row_and_holds_up_nobody() {
    let (fleets, asked) = behind_but(&both_ready(), serves, Some(HEADS[1]));
    let args = args();
    let limit = tokio::time::timeout(Duration::from_millis(5_100), shown(&args, &fleets));
    let (text, fault) = limit.await.unwrap();
    assert_eq!(fault, None, "{text}");
    assert!(text.contains("no answer within 5s"), "{text}");
    assert!(text.lines().nth(1).unwrap().contains(" 50 "), "{text}");
    assert_eq!(asked.lock().iter().filter(|path| path.contains(HEADS[1])).count(), 1, "not asked again");
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_named_with_the_cure() {
    fn forbids(_: &str, _: usize) -> Response<Content> {
        refusal(403, "Forbidden", "pods \"x\" is forbidden: User \"u\" cannot get resource \"pods/proxy\"")
    }
    let (fleets, _) = behind(&both_ready(), forbids);
    let (text, fault) = shown(&args(), &fleets).await;
    assert!(text.contains("you may not get pods/proxy in namespace serving"), "{text}");
    let fault = fault.unwrap();
    assert_eq!(fault.code(), 1);
    insta::assert_snapshot!(fault.to_string());
}

#[tokio::test(start_paused = true)]
async fn what_an_engine_answers_instead_of_metrics_is_said() {
    fn wants_a_key(_: &str, _: usize) -> Response<Content> {
        Response::builder().status(401).body(whole("{\"error\":\"Unauthorized\"}")).unwrap()
    }
    fn refuses(_: &str, _: usize) -> Response<Content> {
        refusal(
            503,
            "ServiceUnavailable",
            "error trying to reach service: dial tcp 10.0.0.1:8000: refused\u{1b}[2J",
        )
    }
    fn foreign(_: &str, _: usize) -> Response<Content> {
        text("node_load1 3\nvllm:num_requests_running NaN\n")
    }
    fn endless(_: &str, _: usize) -> Response<Content> {
        text(vec![b'x'; 1 << 20])
    }
    for (pod, words) in [
        (
            wants_a_key as Pod,
            "its /metrics wants a key (401 Unauthorized), and the API server's proxy passes none on",
        ),
        (refuses, "error trying to reach service: dial tcp 10.0.0.1:8000: refused [2J"),
        (foreign, "it answers, but with no metrics of vLLM"),
        (endless, "it answers something that is no metrics: a line has no end"),
    ] {
        let (fleets, _) = behind(&both_ready(), pod);
        let (text, fault) = shown(&args(), &fleets).await;
        assert!(text.contains(words), "{text}");
        assert_eq!(fault.map(|fault| fault.code()), Some(1), "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_of_100_mb_is_given_up_at_its_limit() {
    fn floods(_: &str, _: usize) -> Response<Content> {
        let line = "vllm:num_requests_running{a=\"b\"} 1\n".repeat(32 << 10);
        let chunks = futures::stream::iter(
            (0..100).map(move |_| Ok(http_body::Frame::data(Bytes::from(line.clone())))),
        );
        Response::new(StreamBody::new(chunks).boxed_unsync())
    }
    let (fleets, _) = behind(&both_ready(), floods);
    let (text, fault) = shown(&args(), &fleets).await;
    assert!(text.contains("its /metrics is longer than 2 MiB"), "{text}");
    assert_eq!(fault.unwrap().code(), 1);
}

#[tokio::test(start_paused = true)]
async fn gpus_come_from_the_pods_of_the_fleet() {
    fn with_gpus(name: &str, call: usize) -> Response<Content> {
        if !name.ends_with(":8080") {
            return serves(name, call);
        }
        if name.starts_with("worker") {
            return refusal(503, "ServiceUnavailable", "error trying to reach service: refused");
        }
        text(
            "ray_node_gram_used{GpuIndex=\"0\"} 71680.0\nray_node_gram_available{GpuIndex=\"0\"} 9879.0\n\
              ray_node_gpus_utilization{GpuIndex=\"0\"} 93.0\n",
        )
    }
    let server = both_ready();
    for (name, kind, node) in [(HEADS[0], "head", "node-a"), ("worker-0", "worker", "node-b")] {
        let labels = json!({names::LABEL_FLEET: "llama", "ray.io/cluster": "llama-bcdfgh-0", "ray.io/node-type": kind});
        let pod = json!({
            "metadata": {"name": name, "namespace": "serving", "labels": labels},
            "spec": {"nodeName": node, "containers": [{"name": "ray", "image": "ray:1"}]}
        });
        server.0.create(&Kind::POD, pod).unwrap();
        let running = json!({"status": {"phase": "Running"}});
        server.0.merge_patch_status(&Kind::POD, "serving", name, &running).unwrap();
    }
    let (fleets, _) = behind(&server, with_gpus);
    let (text, _) = shown(&args(), &fleets).await;
    insta::assert_snapshot!(text);
    let (text, _) = shown(&TopArgs { output: Some(WideOutput::Json), ..args() }, &fleets).await;
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["groups"][0]["metrics"]["generatedTokensPerSecond"], 50.0, "{text}");
    assert_eq!(document["groups"][0]["nodes"][0]["gpus"][0]["usedMiB"], 71_680.0, "{text}");
    assert!(document["groups"][0]["metrics"]["ttftP50Seconds"].as_f64().is_some_and(|s| s > 0.0), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_and_a_silent_engine_does_not_stop_it() {
    let (fleets, asked) = behind_but(&both_ready(), serves, Some(HEADS[1]));
    let kept = Kept::default();
    let terminal = kept.terminal(Format::Json);
    let args = TopArgs { watch: true, output: Some(WideOutput::Json), ..args() };
    let watch = tokio::time::timeout(Duration::from_secs(9), run(&args, &fleets, &terminal));
    assert!(watch.await.is_err());
    let documents: Vec<Value> = kept.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(documents.len() >= 4, "{}", kept.out());
    let last = documents.last().unwrap();
    assert_eq!(last["groups"][0]["metrics"]["generatedTokensPerSecond"], 50.0, "{last}");
    assert_eq!(last["groups"][1]["error"], "no answer within 5s", "{last}");
    let silent = asked.lock().iter().filter(|path| path.contains(HEADS[1])).count();
    assert_eq!(silent, 2, "one call at a time");
}

#[tokio::test(start_paused = true)]
async fn a_pod_name_that_is_a_path_is_asked_nothing() {
    let mut fleet = json!(sample::upgrading());
    fleet["status"]["groups"][0]["head"] = json!("x/../../secrets?");
    let (fleets, asked) =
        behind(&simulated::Simulated::with([serde_json::from_value(fleet).unwrap()]), serves);
    let (text, _) = shown(&args(), &fleets).await;
    assert!(text.contains("is no name of a pod"), "{text}");
    assert!(asked.lock().iter().all(|path| path.contains(HEADS[1])));
}

#[tokio::test(start_paused = true)]
async fn a_slow_tenant_holds_up_nobody_else() {
    let (fleets, _) = behind_but(&both_ready(), serves, Some("slow"));
    let mut sampler = Sampler::new(&fleets);
    let pod = |name: String| RayPod { name, group: "g".into(), node: "n".into(), is_head: true, port: 8080 };
    let slow: Vec<RayPod> = (0..300).map(|number| pod(format!("slow-{number}"))).collect();
    sampler.ask(slow.iter().map(|pod| Asked::gpus("tenant", pod)));
    sampler.ask(std::iter::once(Asked::gpus("serving", &pod("quick".into()))));
    let mut answers = Answers::default();
    tokio::time::timeout(Duration::from_secs(1), sampler.next(&mut answers)).await.unwrap();
    assert!(answers.gpus.contains_key(&("serving".to_owned(), "quick".to_owned())));
}
