//! Transcripts of the picker's protocol, spoken with it by gRPC as a data plane does: every order of messages, also wrong ones.

mod talk;

use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Answer;
use envoy_types::pb::envoy::service::ext_proc::v3::{HttpBody, HttpTrailers, processing_request::Request};
use proptest::prelude::*;
use serde_json::{Value, json};
use tonic::Code;

use self::talk::{Mode, Said, Talk, at_once, body, destination, head, message, with_metadata};
use super::CHAT;
use super::bench::{self, Bench, Does};
use crate::picker::message::{list, metadata, string};

const LLAMA: &str = r#"{"model": "llama"}"#;

fn prompt(length: usize) -> String {
    json!({"model": "llama", "prompt": "x".repeat(length)}).to_string()
}

fn post() -> Request {
    head(&[(":method", "POST"), (":path", CHAT)], false)
}

fn code(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    body["error"]["code"].as_str().unwrap().to_owned()
}

/// Says all of it, and hears the answer that ends it.
async fn refused(bench: &Bench, said: impl IntoIterator<Item = Request>) -> (i32, String) {
    let mut talk = Talk::with(bench).await;
    for one in said {
        talk.say(message(one)).await;
    }
    let refusal = at_once(talk.hears().await);
    assert_eq!(talk.ends().await, None);
    (refusal.0, code(&refusal.1))
}

#[tokio::test]
async fn header_body_and_trailers_are_answered_in_this_order_once_all_is_there() {
    let bench = Bench::naming(2, [Does::Echo, Does::Echo, Does::Echo]).await;
    for trailers in [false, true] {
        let mut talk = Talk::with(&bench).await;
        let text = prompt(225_000);
        let (first, rest) = text.as_bytes().split_at(100_000);
        talk.say(message(post())).await;
        talk.say(message(body(first, false))).await;
        talk.say(message(body(rest, false))).await;
        assert!(talk.is_silent().await, "before the request is whole there is nothing to say");
        assert_eq!(bench.in_flight(), 0);
        let end = if trailers { Request::RequestTrailers(HttpTrailers::default()) } else { body(b"", true) };
        talk.say(message(end)).await;
        let said = talk.hears().await;
        let (header, in_metadata, length) = destination(&said);
        assert_eq!(header, in_metadata);
        assert_eq!(length, (!trailers).then(|| text.len().to_string()));
        let named: Vec<&str> = header.split(',').collect();
        assert_eq!(named.len(), 2);
        assert!(named.iter().all(|one| bench.heads().contains(&one.parse().unwrap())), "{named:?}");
        assert_eq!(bench.in_flight(), 1);
        let back = talk.hears_body(text.len()).await;
        assert_eq!(back, (text.into_bytes(), !trailers));
        if trailers {
            assert!(matches!(talk.hears().await.response, Some(Answer::RequestTrailers(_))));
        }
        drop(talk);
        bench.until(|bench| bench.in_flight() == 0 && bench.room() == bench::ALL).await;
    }
}

#[tokio::test]
async fn an_answer_passes_in_every_mode_and_ends_its_request() {
    let bench = Bench::of([Does::Echo]).await;
    for mode in [Mode::FullDuplexStreamed, Mode::Streamed, Mode::None] {
        let mut talk = Talk::with(&bench).await;
        talk.asks(LLAMA, mode).await;
        assert_eq!(bench.in_flight(), 1);
        talk.say(message(head_of_answer("200", false))).await;
        assert_eq!(talk.hears_served_by().await.as_deref(), Some("pod-0"));
        if mode == Mode::None {
            talk.say(message(Request::ResponseTrailers(HttpTrailers::default()))).await;
            assert!(matches!(talk.hears().await.response, Some(Answer::ResponseTrailers(_))));
        } else {
            for (piece, end) in [("data: 1\n\n", false), ("", true)] {
                let body = HttpBody { body: piece.into(), end_of_stream: end, ..HttpBody::default() };
                talk.say(message(Request::ResponseBody(body))).await;
                let expected = (mode == Mode::FullDuplexStreamed).then_some((piece.into(), end));
                assert_eq!(Said::of_answer(talk.hears().await), expected);
            }
        }
        // It has ended, although the stream has not.
        assert_eq!(bench.in_flight(), 0);
        talk.close();
        assert_eq!(talk.ends().await, None);
    }
    assert!(bench.metrics().contains(r#"requests_total{model="llama",code="200",by="engine"} 3"#));
}

fn head_of_answer(status: &str, end: bool) -> Request {
    let Request::RequestHeaders(head) = head(&[(":status", status)], end) else { unreachable!() };
    Request::ResponseHeaders(head)
}

#[tokio::test]
async fn what_asks_no_engine_is_answered_at_once() {
    let bench = Bench::of([Does::Echo]).await;
    let get = |path: &str| head(&[(":method", "GET"), (":path", path)], true);
    let mut talk = Talk::with(&bench).await;
    talk.say(message(get("/v1/models?limit=1"))).await;
    let (status, models) = at_once(talk.hears().await);
    let models: Value = serde_json::from_slice(&models).unwrap();
    assert_eq!((status, &models["data"][0]["id"]), (200, &json!("llama")));
    assert_eq!(talk.ends().await, None);
    for (said, expected) in [
        (vec![get("/health")], (404, "not_found")),
        (vec![get("/v1/models/gpt")], (404, "model_not_found")),
        (vec![get(CHAT)], (405, "method_not_allowed")),
        (vec![head(&[], false)], (404, "not_found")),
        (vec![head(&[(":method", "POST"), (":path", CHAT)], true)], (400, "invalid_json")),
        (vec![post(), body(b"{}", true)], (400, "missing_model")),
        (vec![post(), body(br#"{"model": "gpt"}"#, true)], (404, "model_not_found")),
        (vec![post(), body(&vec![b' '; bench::LARGEST + 1], false)], (413, "request_too_large")),
        // Nothing of it comes: it is refused for want of time.
        (vec![post(), body(b"{", false)], (408, "request_timeout")),
    ] {
        let (status, code) = refused(&bench, said).await;
        assert_eq!((status, code.as_str()), expected);
    }
    let announced = [(":method", "POST"), (":path", CHAT), ("content-length", "1048577")];
    assert_eq!(refused(&bench, [head(&announced, false)]).await, (413, "request_too_large".to_owned()));
    let unknown = [(":method", "POST"), (":path", CHAT), ("routing-strategy", "pd")];
    assert_eq!(refused(&bench, [head(&unknown, false)]).await.1, "unknown_routing_strategy");
    bench.set_ready(&[]);
    assert_eq!(
        refused(&bench, [post(), body(LLAMA.as_bytes(), true)]).await,
        (503, "no_group_ready".to_owned())
    );
    assert_eq!(bench.room(), bench::ALL);
}

#[tokio::test]
async fn messages_out_of_order_end_the_stream_with_an_error() {
    let bench = Bench::of([Does::Echo]).await;
    let trailers = || Request::RequestTrailers(HttpTrailers::default());
    for said in [vec![body(b"x", false)], vec![trailers()], vec![post(), post()]] {
        let mut talk = Talk::with(&bench).await;
        for one in said {
            talk.say(message(one)).await;
        }
        assert_eq!(talk.ends().await, Some(Code::InvalidArgument));
    }
    let mut talk = Talk::with(&bench).await;
    talk.asks(LLAMA, Mode::None).await;
    talk.say(message(body(b"more", true))).await;
    assert_eq!(talk.ends().await, Some(Code::InvalidArgument));
    bench.until(|bench| bench.in_flight() == 0).await;
    // A data plane that is configured otherwise gets an error that says so.
    let mut talk = Talk::with(&bench).await;
    talk.say(talk::configured(message(post()), Mode::Buffered, Mode::None)).await;
    assert_eq!(talk.ends().await, Some(Code::FailedPrecondition));
    // One that has answered by itself gets its answer back, and is left alone.
    let mut talk = Talk::with(&bench).await;
    talk.say(message(post())).await;
    talk.say(message(head_of_answer("413", true))).await;
    assert!(matches!(talk.hears().await.response, Some(Answer::ResponseHeaders(_))));
    assert_eq!(talk.ends().await, None);
}

#[tokio::test]
async fn a_stream_that_is_cancelled_gives_back_all_that_it_held() {
    let bench = Bench::of([Does::Echo]).await;
    let clean = |bench: &Bench| bench.in_flight() == 0 && bench.room() == bench::ALL;
    let mut talk = Talk::with(&bench).await;
    talk.say(message(post())).await;
    talk.say(message(body(&vec![b' '; 200_000], false))).await;
    bench.until(|bench| bench.room() < bench::ALL).await;
    drop(talk);
    bench.until(clean).await;
    // With most of a body that nobody fetches.
    let mut talk = Talk::with(&bench).await;
    talk.say(message(post())).await;
    talk.say(message(body(prompt(900_000).as_bytes(), true))).await;
    talk.hears().await;
    drop(talk);
    bench.until(clean).await;
    let mut talk = Talk::with(&bench).await;
    talk.asks(LLAMA, Mode::FullDuplexStreamed).await;
    talk.say(message(head_of_answer("200", false))).await;
    talk.hears().await;
    assert_eq!(bench.in_flight(), 1);
    drop(talk);
    bench.until(clean).await;
}

#[tokio::test]
async fn more_requests_than_there_may_be_are_shed() {
    let bench = Bench::of([Does::Echo]).await;
    let mut talks = vec![];
    for _ in 0..bench::REQUESTS {
        let mut talk = Talk::with(&bench).await;
        talk.asks(LLAMA, Mode::None).await;
        talks.push(talk);
    }
    assert_eq!(refused(&bench, [post()]).await, (429, "gateway_full".to_owned()));
    drop(talks);
    bench.until(|bench| bench.in_flight() == 0).await;
    Talk::with(&bench).await.asks(LLAMA, Mode::None).await;
}

#[tokio::test]
async fn a_hint_bounds_the_choice() {
    let bench = Bench::of([Does::Echo, Does::Echo]).await;
    let (namespace, key) = ("envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset");
    for (hint, expected) in [
        (list([&bench.heads()[1].to_string(), "10.0.0.1:1"]), Some(bench.heads()[1])),
        (string(&bench.heads()[0].to_string()), Some(bench.heads()[0])),
        (list([]), None),
        (list(["10.0.0.1:8000"]), None),
    ] {
        let mut talk = Talk::with(&bench).await;
        talk.say(with_metadata(message(post()), metadata(namespace, key, hint))).await;
        talk.say(message(body(LLAMA.as_bytes(), true))).await;
        let said = talk.hears().await;
        if let Some(head) = expected {
            assert_eq!(destination(&said).0, head.to_string());
        } else {
            let (status, body) = at_once(said);
            assert_eq!((status, code(&body).as_str()), (503, "no_group_ready"));
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_has_not_answered_where_another_has_comes_last() {
    let bench = Bench::naming(2, [Does::Echo, Does::Echo]).await;
    let mut talk = Talk::with(&bench).await;
    let named = talk.asks(LLAMA, Mode::None).await;
    let (first, second) = named.split_once(',').unwrap();
    let served = metadata("envoy.lb", "x-gateway-destination-endpoint-served", string(second));
    talk.say(with_metadata(message(head_of_answer("200", false)), served)).await;
    let expected = bench.heads().iter().position(|head| head.to_string() == second).unwrap();
    assert_eq!(talk.hears_served_by().await, Some(format!("pod-{expected}")));
    assert_eq!(bench.in_flight(), 1);
    assert!(bench.metrics().contains("tries_failed_total{reason=\"connection\"} 1"));
    for _ in 0..4 {
        let named = Talk::with(&bench).await.asks(LLAMA, Mode::None).await;
        assert_eq!(named, format!("{second},{first}"));
    }
}

#[tokio::test]
async fn it_is_healthy_once_all_was_listed_and_until_it_is_to_end() {
    let starting = Bench::unsettled().await;
    for (service, serves) in [("liveness", true), ("readiness", false), ("", false), (talk::NAME, false)] {
        assert_eq!(talk::is_healthy(&starting, service).await, Ok(serves), "{service}");
    }
    let bench = Bench::of([Does::Echo]).await;
    assert_eq!(talk::is_healthy(&bench, talk::NAME).await, Ok(true));
    assert_eq!(talk::is_healthy(&bench, "readiness").await, Ok(true));
    assert_eq!(talk::is_healthy(&bench, "other").await, Err(Code::NotFound));
    bench.leave();
    assert_eq!(talk::is_healthy(&bench, "readiness").await, Ok(false));
    assert_eq!(talk::is_healthy(&bench, "liveness").await, Ok(true));
}

fn any_message() -> impl Strategy<Value = Request> {
    let text = prop_oneof![Just(LLAMA.to_owned()), Just(prompt(70_000)), ".{0,40}"];
    let fields = prop::collection::vec((":?[a-z-]{1,8}", ".{0,12}"), 0..4);
    prop_oneof![
        Just(post()),
        (fields, any::<bool>()).prop_map(|(fields, end)| {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            head(&fields, end)
        }),
        (text, any::<bool>()).prop_map(|(text, end)| body(text.as_bytes(), end)),
        Just(Request::RequestTrailers(HttpTrailers::default())),
        (0..700_u32, any::<bool>()).prop_map(|(status, end)| head_of_answer(&status.to_string(), end)),
        Just(Request::ResponseTrailers(HttpTrailers::default())),
    ]
}

#[test]
fn whatever_is_said_in_whatever_order_it_ends_and_nothing_is_kept() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = runtime.block_on(Bench::of([Does::Echo]));
    proptest!(ProptestConfig::with_cases(64), |(said in prop::collection::vec(any_message(), 0..8))| {
        runtime.block_on(async {
            let mut talk = Talk::with(&bench).await;
            for one in said {
                talk.say(message(one)).await;
            }
            talk.close();
            talk.hears_all().await;
            bench.until(|bench| bench.in_flight() == 0 && bench.room() == bench::ALL).await;
        });
    });
}
