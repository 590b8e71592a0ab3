//! The picker behind a real Envoy, with the configurations of `examples/envoy`: `hack/envoy` gets Envoy and runs them.

mod failures;
mod process;
mod wire;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::StatusCode;
use serde_json::{Value, json};

use self::process::Envoy;
use super::bench::{self, Bench, Does};
use super::{CHAT, error, text};

/// Cluster of type `ORIGINAL_DST`, closed when the picker fails.
const CLOSED: &str = "envoy.yaml";
/// Its own endpoints, and open when the picker fails.
const FALLBACK: &str = "fallback.yaml";

fn prompt(length: usize) -> String {
    json!({"model": "llama", "prompt": "x".repeat(length)}).to_string()
}

async fn seen(response: reqwest::Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&text(response).await).unwrap()
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn a_request_and_its_answer_pass_unchanged() {
    for (configuration, named) in [(CLOSED, 1), (FALLBACK, 3)] {
        let bench = Bench::naming(named, [Does::Echo]).await;
        let envoy = Envoy::start(configuration, &bench).await;
        let request =
            envoy.post(CHAT, r#"{"model": "llama", "n":  1}"#).header("authorization", "Bearer engine");
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-rayfleet-served-by"], "pod-0");
        assert_eq!(response.headers()["x-from"], "engine");
        let seen = seen(response).await;
        assert_eq!(seen["body"], r#"{"model": "llama", "n":  1}"#);
        assert_eq!(seen["path"], CHAT);
        assert_eq!(seen["headers"]["authorization"], "Bearer engine");
        assert_eq!(seen["headers"]["content-length"], "27");
        bench.until(|bench| bench.in_flight() == 0).await;
    }
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn prompts_of_any_size_pass_up_to_the_bound() {
    let bench = Bench::of([Does::Echo]).await;
    let envoy = Envoy::start(CLOSED, &bench).await;
    for length in [0, 60_000, 225_000, bench::LARGEST - 100] {
        let body = prompt(length);
        let seen = seen(envoy.post(CHAT, body.clone()).send().await.unwrap()).await;
        assert_eq!(seen["body"].as_str().unwrap(), body, "{length}");
        assert_eq!(seen["headers"]["content-length"], body.len().to_string());
    }
    let too_large = |(status, code): (StatusCode, String)| {
        assert_eq!((status, code.as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"));
    };
    too_large(error(envoy.post(CHAT, prompt(bench::LARGEST)).send().await.unwrap()).await);
    // Without an announced length it is found out on the way.
    let pieces = (0..100).map(|_| Ok::<_, std::io::Error>("x".repeat(bench::LARGEST / 10)));
    let pieces = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    too_large(error(envoy.post(CHAT, pieces).send().await.unwrap()).await);
    bench.until(|bench| bench.room() == bench::ALL).await;
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn a_body_with_trailers_arrives_whole() {
    let bench = Bench::of([Does::Echo]).await;
    let envoy = Envoy::start(CLOSED, &bench).await;
    let body = prompt(225_000);
    let trailers = http::HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    let frames = [Frame::data(Bytes::from(body.clone())), Frame::trailers(trailers)];
    let frames = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, std::io::Error>)));
    let stream = tokio::net::TcpStream::connect(envoy.address()).await.unwrap();
    let shake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut client, connection) = shake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}{CHAT}", envoy.address())).body(frames).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let answer = response.into_body().collect().await.unwrap().to_bytes();
    let seen: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(seen["body"].as_str().unwrap(), body);
    connection.abort();
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn what_has_no_body_is_answered_by_the_picker() {
    let bench = Bench::of([Does::Echo]).await;
    let envoy = Envoy::start(CLOSED, &bench).await;
    assert_eq!(seen(envoy.get("/v1/models?limit=1").await).await["data"][0]["id"], "llama");
    for (path, expected) in [
        ("/v1/models/gpt", (StatusCode::NOT_FOUND, "model_not_found")),
        ("/metrics", (StatusCode::NOT_FOUND, "not_found")),
        (CHAT, (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")),
    ] {
        let (status, code) = error(envoy.get(path).await).await;
        assert_eq!((status, code.as_str()), expected, "{path}");
    }
    let (status, code) = error(envoy.post(CHAT, "").send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (StatusCode::BAD_REQUEST, "invalid_json"));
    assert_eq!(bench.requests(), 0);
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn what_cannot_be_answered_is_told_apart() {
    let bench = Bench::of([Does::Echo]).await;
    let envoy = Envoy::start(CLOSED, &bench).await;
    let refused = async |path: &str, body: &str| {
        let response = envoy.post(path, body.to_owned()).header("routing-strategy", "least-request");
        error(response.send().await.unwrap()).await
    };
    let llama = r#"{"model": "llama"}"#;
    assert_eq!(refused(CHAT, r#"{"model": "gpt"}"#).await.1, "model_not_found");
    assert_eq!(refused(CHAT, "{}").await.1, "missing_model");
    for path in
        ["/v1/load_lora_adapter", "/v1/chat/../load_lora_adapter", "/v1/chat/%2e%2e/load_lora_adapter"]
    {
        assert_eq!(refused(path, llama).await.1, "not_found", "{path}");
    }
    let pd = envoy.post(CHAT, llama).header("routing-strategy", "pd").send().await.unwrap();
    assert_eq!(error(pd).await.1, "unknown_routing_strategy");
    // The time for a body holds behind Envoy, too.
    let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from("{"))]);
    let never = reqwest::Body::wrap_stream(first.chain(futures::stream::pending()));
    assert_eq!(error(envoy.post(CHAT, never).send().await.unwrap()).await.1, "request_timeout");
    bench.set_ready(&[]);
    let response = envoy.post(CHAT, llama).send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "5");
    assert_eq!(error(response).await, (StatusCode::SERVICE_UNAVAILABLE, "no_group_ready".to_owned()));
    assert_eq!(bench.requests(), 0);
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn an_answer_comes_piece_by_piece_as_it_is_made() {
    let bench = Bench::of([Does::Stream]).await;
    let envoy = Envoy::start(CLOSED, &bench).await;
    let mut pieces = envoy.ask().await.bytes_stream();
    // The engine makes the second piece on a signal: the first was not held back.
    assert_eq!(pieces.next().await.unwrap().unwrap(), "data: 1\n\n");
    assert_eq!(bench.in_flight(), 1);
    bench.go_on();
    assert_eq!(pieces.next().await.unwrap().unwrap(), "data: 2\n\n");
    assert!(pieces.next().await.is_none());
    bench.until(|bench| bench.in_flight() == 0).await;
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn a_client_that_goes_takes_its_request_from_the_engine() {
    let bench = Bench::of([Does::Stream]).await;
    let envoy = Envoy::start(CLOSED, &bench).await;
    let mut pieces = envoy.ask().await.bytes_stream();
    pieces.next().await.unwrap().unwrap();
    drop(pieces);
    bench.until(|bench| bench.cancelled() == 1 && bench.in_flight() == 0).await;
    // Before its answer begins.
    let bench = Bench::of([Does::Wait]).await;
    let envoy = Envoy::start(CLOSED, &bench).await;
    let asking = tokio::spawn(envoy.post(CHAT, prompt(10)).send());
    bench.until(|bench| bench.requests() == 1 && bench.in_flight() == 1).await;
    asking.abort();
    bench.until(|bench| bench.cancelled() == 1 && bench.in_flight() == 0).await;
    // Before its body is there.
    let half = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(prompt(200_000)))]);
    let half = reqwest::Body::wrap_stream(half.chain(futures::stream::pending()));
    let asking = tokio::spawn(envoy.post(CHAT, half).send());
    bench.until(|bench| bench.room() < bench::ALL).await;
    asking.abort();
    bench.until(|bench| bench.room() == bench::ALL).await;
    assert_eq!(bench.requests(), 1);
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn a_hint_of_the_proxys_bounds_the_choice() {
    let bench = Bench::of([Does::Echo, Does::Echo, Does::Echo]).await;
    let hint = |endpoint: &str| {
        format!(
            "- name: envoy.filters.http.set_metadata
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config
              metadata:
              - {{metadata_namespace: envoy.lb.subset_hint, value: {{x-gateway-destination-endpoint-subset: [\"{endpoint}\"]}}}}
          - name: envoy.filters.http.ext_proc"
        )
    };
    let before = "- name: envoy.filters.http.ext_proc";
    let envoy = Envoy::changed(CLOSED, &bench, &[(before, &hint(&bench.heads()[1].to_string()))]).await;
    for _ in 0..6 {
        assert_eq!(envoy.ask().await.headers()["x-rayfleet-served-by"], "pod-1");
    }
    let envoy = Envoy::changed(CLOSED, &bench, &[(before, &hint("10.0.0.1:8000"))]).await;
    assert_eq!(
        error(envoy.ask().await).await,
        (StatusCode::SERVICE_UNAVAILABLE, "no_group_ready".to_owned())
    );
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn more_than_it_can_have_is_shed() {
    let bench = Bench::of([Does::Wait]).await;
    let envoy = Envoy::start(CLOSED, &bench).await;
    let held: Vec<_> =
        (0..bench::REQUESTS).map(|_| tokio::spawn(envoy.post(CHAT, prompt(1)).send())).collect();
    bench.until(|bench| bench.requests() == bench::REQUESTS).await;
    let response = envoy.ask().await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(error(response).await, (StatusCode::TOO_MANY_REQUESTS, "gateway_full".to_owned()));
    held.iter().for_each(tokio::task::JoinHandle::abort);
    bench.until(|bench| bench.in_flight() == 0).await;
}
