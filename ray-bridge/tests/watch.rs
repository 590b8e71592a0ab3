//! The watch of an engine: its lines, its ends, and what servers do that have none or are hostile.

#![allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

mod common;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use futures::StreamExt as _;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use ray_bridge::CallErrorKind;
use ray_bridge::engine::{EngineClient, EngineWatch, Health, Watched};

use crate::common::{Fake, bridge, noise, target};

const SERVES: &str = r#"{"name":"e","inFlight":3,"awaiting":1,"served":7,"draining":false,"rankChanges":2,"idleSeconds":0.5,"health":200}"#;

fn engine(url: &url::Url) -> EngineClient {
    bridge().engine(&target(url, Some(url))).unwrap()
}

/// A watch of a server that writes what it is given, and the token that it was asked with.
async fn scripted() -> (EngineWatch, UnboundedSender<&'static str>, String) {
    let (lines, stream) = unbounded();
    let (asked, mut token) = unbounded();
    let stream = Arc::new(Mutex::new(Some(stream)));
    let answer = move |request: Request| {
        let header = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        asked.unbounded_send(header.unwrap_or_default()).unwrap();
        let stream = stream.lock().unwrap().take().unwrap();
        async move { Body::from_stream(stream.map(Ok::<_, Infallible>)) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let router = Router::new().route("/rayfleet/v1/watch", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let watch = engine(&url).watch().await.unwrap();
    (watch, lines, token.next().await.unwrap())
}

async fn next(watch: &mut EngineWatch) -> Watched {
    watch.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_line_is_health_load_and_calls_and_an_empty_one_repeats_it() {
    let (mut watch, lines, token) = scripted().await;
    assert_eq!(token, "Bearer s3cret");
    lines.unbounded_send(SERVES).unwrap();
    lines.unbounded_send("\n").unwrap();
    let said = next(&mut watch).await;
    assert_eq!((said.health.clone(), said.rank_changes), (Health::Serving, 2));
    assert_eq!((said.load.in_flight, said.load.awaiting, said.load.draining), (3, 1, Some(false)));
    assert_eq!((said.load.idle, said.load.progress), (Some(Duration::from_millis(500)), None));
    lines.unbounded_send("\n").unwrap();
    assert_eq!(next(&mut watch).await, said);
    drop(lines);
    assert_eq!(watch.next().await, Ok(None));
}

#[tokio::test]
async fn the_newest_of_several_lines_counts() {
    let (mut watch, lines, _) = scripted().await;
    lines.unbounded_send(SERVES).unwrap();
    lines.unbounded_send("\n\n{\"inFlight\":0,\"health\":503}\n{\"inFlight\":1").unwrap();
    // However the bytes are cut, the last whole line is the one of the ill engine.
    let mut said = next(&mut watch).await;
    if said.health == Health::Serving {
        said = next(&mut watch).await;
    }
    assert_eq!((said.health, said.load.in_flight), (Health::Unhealthy(503), 0));
    lines.unbounded_send(",\"health\":null}\n").unwrap();
    let said = next(&mut watch).await;
    assert!(matches!(said.health, Health::Unreachable(_)));
    assert_eq!(said.load.in_flight, 1);
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_error() {
    let reply = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{SERVES}\n\r\n",
        SERVES.len() + 1
    );
    let mut watch = engine(&noise(reply.into_bytes()).await).watch().await.unwrap();
    assert_eq!(next(&mut watch).await.health, Health::Serving);
    let error = watch.next().await.unwrap_err();
    assert!(matches!(error.kind, CallErrorKind::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_line_without_an_end_and_what_is_no_line_are_errors() {
    for (body, wanted) in [
        ("x".repeat(5000), "longer than 4096 bytes"),
        ("<html>\n".to_owned(), "cannot be parsed"),
        ("\n".to_owned(), "first line is empty"),
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let mut watch = engine(&noise(reply.into_bytes()).await).watch().await.unwrap();
        let error = watch.next().await.unwrap_err().to_string();
        assert!(
            error.contains(wanted) && error.starts_with("prod/chat-0: engine GET /rayfleet/v1/watch"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_engine_without_a_watch_says_that_it_has_none() {
    let fake = Fake::start().await;
    let error = engine(&fake.url).watch().await.unwrap_err();
    assert!(matches!(error.kind, CallErrorKind::NotFound { .. }), "{error}");
}
