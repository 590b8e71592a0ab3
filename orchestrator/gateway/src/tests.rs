//! The gateway's port with engines behind it that are played by small servers on loopback.

mod bench;
mod envoy;
mod picker;

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::StatusCode;
use serde_json::{Value, json};

use self::bench::{Bench, Does};

const CHAT: &str = "/v1/chat/completions";

async fn text(response: reqwest::Response) -> String {
    response.text().await.unwrap()
}

async fn error(response: reqwest::Response) -> (StatusCode, String) {
    let status = response.status();
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    (status, body["error"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_request_and_its_answer_pass_unchanged() {
    let bench = Bench::of([Does::Echo]).await;
    let request = bench.post(CHAT, r#"{"model": "llama", "n":  1}"#);
    let request =
        request.header("authorization", "Bearer engine").header("connection", "x-mine").header("x-mine", "1");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-rayfleet-served-by"], "pod-0");
    assert_eq!(response.headers()["x-from"], "engine");
    assert!(response.headers().get("keep-alive").is_none());
    let seen: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(seen["body"], r#"{"model": "llama", "n":  1}"#);
    assert_eq!(seen["path"], CHAT);
    assert_eq!(seen["headers"]["authorization"], "Bearer engine");
    assert_eq!(seen["headers"].get("x-mine"), None);
    assert_eq!(seen["headers"]["content-length"], "27");
}

#[tokio::test]
async fn a_head_that_nobody_listens_on_costs_the_client_nothing_and_comes_last() {
    let bench = Bench::of([Does::Refuse, Does::Echo]).await;
    let refused = |bench: &Bench| bench.metrics().contains("tries_failed_total{reason=\"connection\"}");
    // Both are even at first.
    while !refused(&bench) {
        assert_eq!(bench.ask("llama").await.status(), 200);
    }
    let before = bench.metrics();
    for _ in 0..8 {
        assert_eq!(bench.ask("llama").await.status(), 200);
    }
    let failed =
        |text: &str| text.lines().find(|line| line.contains("tries_failed_total{")).map(str::to_owned);
    assert_eq!(failed(&bench.metrics()), failed(&before));
    let bench = Bench::of([Does::Refuse, Does::Refuse]).await;
    assert_eq!(
        error(bench.ask("llama").await).await,
        (StatusCode::BAD_GATEWAY, "group_unreachable".to_owned())
    );
}

#[tokio::test]
async fn a_request_that_may_have_ended_one_engine_is_given_to_one_more() {
    for does in [Does::HangUp, Does::OnlyHead] {
        let bench = Bench::of([does; 4]).await;
        let response = bench.ask("llama").await;
        assert_eq!(response.headers()["x-should-retry"], "false");
        assert_eq!(error(response).await, (StatusCode::BAD_GATEWAY, "answer_lost".to_owned()), "{does:?}");
        assert_eq!(bench.requests(), 2, "{does:?}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_before_its_first_token_is_made_elsewhere() {
    let bench = Bench::of([Does::OnlyHead, Does::Echo]).await;
    while bench.requests() < 8 {
        assert_eq!(bench.ask("llama").await.headers()["x-rayfleet-served-by"], "pod-1");
    }
    assert!(bench.metrics().contains("tries_failed_total{reason=\"no_answer\"}"), "{}", bench.metrics());
}

#[tokio::test]
async fn what_goes_on_without_its_client_is_sent_once() {
    for does in [Does::HangUp, Does::Say(502), Does::Say(504)] {
        let bench = Bench::of([does; 2]).await;
        let response =
            bench.post("/v1/responses", r#"{"model": "llama", "background": true}"#).send().await.unwrap();
        assert!(response.status().is_server_error());
        assert_eq!(bench.requests(), 1, "{does:?}");
    }
    // What was refused has not begun.
    let bench = Bench::of([Does::Say(503); 2]).await;
    bench.post("/v1/responses", r#"{"model": "llama"}"#).send().await.unwrap();
    assert_eq!(bench.requests(), 2);
}

#[tokio::test]
async fn a_head_that_is_going_sends_the_request_on_and_the_last_word_is_an_engines() {
    let bench = Bench::of([Does::Say(503), Does::Echo]).await;
    while !bench.metrics().contains("tries_failed_total{reason=\"status\"}") {
        assert_eq!(bench.ask("llama").await.status(), 200);
    }
    let bench = Bench::of([Does::Say(503), Does::Say(503)]).await;
    let response = bench.ask("llama").await;
    assert_eq!(response.status(), 503);
    assert_eq!(text(response).await, "engine says 503");
    assert_eq!(bench.requests(), 2);
    // A request that is wrong is wrong everywhere, and one that breaks an engine is not given to the next.
    for status in [400, 429, 500, 501] {
        let bench = Bench::of([Does::Say(status), Does::Say(status)]).await;
        assert_eq!(bench.ask("llama").await.status(), status);
        assert_eq!(bench.requests(), 1);
    }
}

#[tokio::test]
async fn an_answer_comes_piece_by_piece_as_it_is_made() {
    let bench = Bench::of([Does::Stream]).await;
    let response = bench.ask("llama").await;
    let mut pieces = response.bytes_stream();
    // The engine makes the second piece on a signal: the first was not held back.
    assert_eq!(pieces.next().await.unwrap().unwrap(), Bytes::from("data: 1\n\n"));
    assert!(bench.metrics().contains("requests_in_flight{model=\"llama\"} 1"), "{}", bench.metrics());
    bench.go_on();
    assert_eq!(pieces.next().await.unwrap().unwrap(), Bytes::from("data: 2\n\n"));
    assert!(pieces.next().await.is_none());
    bench.until(|bench| bench.metrics().contains("requests_in_flight{model=\"llama\"} 0")).await;
}

#[tokio::test]
async fn a_client_that_goes_takes_its_request_from_the_engine() {
    let bench = Bench::of([Does::Stream]).await;
    let mut pieces = bench.ask("llama").await.bytes_stream();
    pieces.next().await.unwrap().unwrap();
    drop(pieces);
    bench.until(|bench| bench.cancelled() == 1).await;
    bench.until(|bench| bench.metrics().contains("requests_in_flight{model=\"llama\"} 0")).await;
}

#[tokio::test]
async fn a_client_that_goes_before_its_answer_begins_takes_its_request_from_the_engine() {
    let bench = Bench::of([Does::Wait]).await;
    let asking = tokio::spawn(bench.post(CHAT, r#"{"model": "llama"}"#).send());
    bench.until(|bench| bench.requests() == 1).await;
    asking.abort();
    bench.until(|bench| bench.cancelled() == 1).await;
    bench.until(|bench| bench.metrics().contains("requests_in_flight{model=\"llama\"} 0")).await;
}

#[tokio::test]
async fn what_is_no_answer_to_a_post_is_not_passed_on() {
    let bench = Bench::of([Does::Say(101)]).await;
    assert_eq!(bench.ask("llama").await.status(), 502);
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let bench = Bench::of([Does::BreakOff]).await;
    let mut pieces = bench.ask("llama").await.bytes_stream();
    assert_eq!(pieces.next().await.unwrap().unwrap(), Bytes::from("data: 1\n\n"));
    assert!(pieces.next().await.unwrap().is_err());
    bench.until(|bench| bench.metrics().contains("answers_broken_total{model=\"llama\"} 1")).await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_told_apart() {
    let bench = Bench::of([Does::Echo]).await;
    let refused =
        async |path: &str, body: &str| error(bench.post(path, body.to_owned()).send().await.unwrap()).await;
    assert_eq!(
        refused(CHAT, r#"{"model": "gpt"}"#).await,
        (StatusCode::NOT_FOUND, "model_not_found".to_owned())
    );
    assert_eq!(refused(CHAT, "{}").await, (StatusCode::BAD_REQUEST, "missing_model".to_owned()));
    assert_eq!(refused(CHAT, "nothing").await, (StatusCode::BAD_REQUEST, "invalid_json".to_owned()));
    for path in
        ["/v1/load_lora_adapter", "/rayfleet/v1/drain", "/metrics", "/v1/chat/../load_lora_adapter", "/"]
    {
        assert_eq!(
            refused(path, r#"{"model": "llama"}"#).await,
            (StatusCode::NOT_FOUND, "not_found".to_owned()),
            "{path}"
        );
    }
    let response =
        bench.post(CHAT, r#"{"model": "llama"}"#).header("routing-strategy", "pd").send().await.unwrap();
    assert_eq!(error(response).await, (StatusCode::BAD_REQUEST, "unknown_routing_strategy".to_owned()));
    assert_eq!(bench.requests(), 0);
    bench.set_ready(&[]);
    assert_eq!(
        refused(CHAT, r#"{"model": "llama"}"#).await,
        (StatusCode::SERVICE_UNAVAILABLE, "no_group_ready".to_owned())
    );
}

#[tokio::test]
async fn before_all_is_listed_nothing_is_said_to_be_missing() {
    let bench = Bench::unsettled().await;
    assert_eq!(
        error(bench.ask("llama").await).await,
        (StatusCode::SERVICE_UNAVAILABLE, "gateway_starting".to_owned())
    );
}

#[tokio::test]
async fn models_are_listed() {
    let bench = Bench::of([Does::Echo]).await;
    let get = async |path: &str| bench.get(path).await;
    let listed: Value = serde_json::from_str(&text(get("/v1/models").await).await).unwrap();
    assert_eq!(
        listed,
        json!({"object": "list", "data": [{"id": "llama", "object": "model", "created": 0, "owned_by": "rayfleet"}]})
    );
    assert_eq!(get("/v1/models/llama").await.status(), 200);
    assert_eq!(get("/v1/models/%6Clama").await.status(), 200);
    assert_eq!(get("/v1/models/gpt").await.status(), 404);
    assert_eq!(
        error(get(CHAT).await).await,
        (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed".to_owned())
    );
}

#[tokio::test]
async fn bodies_are_bounded_each_and_together_and_in_time() {
    let bench = Bench::of([Does::Echo]).await;
    let body = |length: usize| format!(r#"{{"model": "llama", "prompt": "{}"}}"#, "x".repeat(length));
    let status = async |body: reqwest::Body| error(bench.post(CHAT, body).send().await.unwrap()).await.1;
    assert_eq!(status(body(bench::LARGEST).into()).await, "request_too_large");
    // Without an announced length it is found out on the way.
    let pieces =
        futures::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>("x".repeat(bench::LARGEST / 10))));
    assert_eq!(status(reqwest::Body::wrap_stream(pieces)).await, "request_too_large");
    let never = futures::stream::pending::<std::io::Result<Bytes>>();
    assert_eq!(status(reqwest::Body::wrap_stream(never)).await, "request_timeout");
    // Two thirds of all room are taken by one that never ends; the next of that size is refused, a small one is not.
    let first = Bytes::from(body(bench::LARGEST / 3 * 2));
    let held =
        futures::stream::iter([Ok::<_, std::io::Error>(first.clone())]).chain(futures::stream::pending());
    let held = tokio::spawn(bench.post(CHAT, reqwest::Body::wrap_stream(held)).send());
    bench.until(|bench| bench.room() < bench::ALL / 2).await;
    assert_eq!(status(first.into()).await, "gateway_full");
    assert_eq!(bench.ask("llama").await.status(), 200);
    held.abort();
    bench.until(|bench| bench.room() == bench::ALL).await;
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_not_waited_for() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bench = Bench::of([Does::Echo]).await;
    let mut stream = tokio::net::TcpStream::connect(bench.address()).await.unwrap();
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n", bench::LARGEST + 1);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // The whole answer, up to the end of the connection: the time for a body is longer.
    tokio::time::timeout(bench::UPLOAD / 2, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_model_goes_with_its_last_fleet() {
    let bench = Bench::of([Does::Echo]).await;
    assert_eq!(bench.ask("llama").await.status(), 200);
    bench.remove_fleet();
    assert_eq!(error(bench.ask("llama").await).await, (StatusCode::NOT_FOUND, "model_not_found".to_owned()));
}

#[tokio::test]
async fn a_prompt_that_was_read_keeps_nobody_away() {
    let bench = Bench::of([Does::Stream, Does::Stream]).await;
    let long = json!({"model": "llama", "prompt": "x".repeat(bench::LARGEST / 2)}).to_string();
    let begun = async |response: reqwest::Response| {
        let by = response.headers()["x-rayfleet-served-by"].clone();
        let mut pieces = response.bytes_stream();
        pieces.next().await.unwrap().unwrap();
        (by, pieces)
    };
    let long = begun(bench.post(CHAT, long).send().await.unwrap()).await;
    let mut others = vec![];
    for _ in 0..3 {
        others.push(begun(bench.ask("llama").await).await);
    }
    let beside = others.iter().filter(|(by, _)| *by == long.0).count();
    assert_eq!(beside, 1, "of four requests each has two, as if that prompt had been short");
}

#[tokio::test]
async fn a_gateway_that_is_to_end_answers_and_asks_clients_to_reconnect() {
    let bench = Bench::of([Does::Echo]).await;
    assert_eq!(bench.ask("llama").await.headers().get("connection"), None);
    bench.leave();
    let response = bench.ask("llama").await;
    assert_eq!(
        (response.status(), &response.headers()["connection"]),
        (StatusCode::OK, &"close".parse().unwrap())
    );
}

#[tokio::test]
async fn a_gateway_that_ends_finishes_what_it_has_begun() {
    let bench = Bench::of([Does::Stream]).await;
    let mut pieces = bench.ask("llama").await.bytes_stream();
    pieces.next().await.unwrap().unwrap();
    bench.stop();
    bench.until(|bench| std::net::TcpStream::connect(bench.address()).is_err()).await;
    bench.go_on();
    assert_eq!(pieces.next().await.unwrap().unwrap(), Bytes::from("data: 2\n\n"));
    assert!(pieces.next().await.is_none());
    tokio::time::timeout(Duration::from_secs(5), bench.ended()).await.unwrap();
}

#[tokio::test]
async fn the_busier_engine_gets_less_by_its_own_word() {
    let bench = Bench::of([Does::Busy(40), Does::Busy(0)]).await;
    // A request that is under way has the engines asked.
    let held = bench.ask("llama").await;
    bench.until(|bench| bench.asked_for_load() >= 4).await;
    for _ in 0..6 {
        assert_eq!(bench.ask("llama").await.headers()["x-rayfleet-served-by"], "pod-1");
    }
    drop(held);
}
