//! What fails behind Envoy or beside it: engines, the picker, and clients that want to be sent elsewhere.

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use reqwest::StatusCode;
use tokio::net::TcpListener;

use super::super::bench::{self, Bench, Does};
use super::super::{CHAT, error};
use super::process::Envoy;
use super::{CLOSED, FALLBACK, prompt};

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn an_engine_that_nobody_listens_on_comes_last() {
    let bench = Bench::of([Does::Refuse, Does::Echo]).await;
    let envoy = Envoy::start(CLOSED, &bench).await;
    // Both are even at first. A cluster ORIGINAL_DST goes to one alone: Envoy answers the client.
    while envoy.ask().await.status() != StatusCode::SERVICE_UNAVAILABLE {}
    assert!(bench.metrics().contains("tries_failed_total{reason=\"connection\"} 1"), "{}", bench.metrics());
    for _ in 0..8 {
        assert_eq!(envoy.ask().await.headers()["x-rayfleet-served-by"], "pod-1");
    }
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn with_several_endpoints_named_an_engine_that_nobody_listens_on_costs_the_client_nothing() {
    let bench = Bench::naming(3, [Does::Refuse, Does::Echo]).await;
    let envoy = Envoy::start(FALLBACK, &bench).await;
    let failed = |bench: &Bench| bench.metrics().contains("tries_failed_total{reason=\"connection\"} 1");
    while !failed(&bench) {
        let response = envoy.ask().await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["x-rayfleet-served-by"], "pod-1");
    }
    for _ in 0..8 {
        assert_eq!(envoy.ask().await.status(), StatusCode::OK);
    }
    assert!(failed(&bench), "{}", bench.metrics());
    bench.until(|bench| bench.in_flight() == 0).await;
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn an_engine_that_says_that_it_cannot_comes_last_after_three_of_them() {
    let bench = Bench::of([Does::Say(503), Does::Echo]).await;
    let envoy = Envoy::start(CLOSED, &bench).await;
    let mut said = 0;
    while said < 3 {
        said += usize::from(envoy.ask().await.status() == StatusCode::SERVICE_UNAVAILABLE);
    }
    for _ in 0..8 {
        assert_eq!(envoy.ask().await.status(), StatusCode::OK);
    }
    assert!(!bench.metrics().contains("reason=\"connection\""), "{}", bench.metrics());
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn without_a_picker_it_stays_closed() {
    let bench = Bench::of([Does::Echo]).await;
    let envoy = Envoy::start(CLOSED, &bench).await;
    assert_eq!(envoy.ask().await.status(), StatusCode::OK);
    envoy.cut().await;
    assert_eq!(envoy.ask().await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(bench.requests(), 1);
    // It comes back by itself.
    envoy.mend().await;
    envoy.until(StatusCode::OK).await;
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn without_a_picker_it_is_open_to_its_own_endpoints() {
    let bench = Bench::naming(3, [Does::Echo, Does::Echo]).await;
    let envoy = Envoy::start(FALLBACK, &bench).await;
    envoy.cut().await;
    // Until the health check has found out.
    envoy.until(StatusCode::OK).await;
    for _ in 0..8 {
        let response = envoy.post(CHAT, prompt(225_000)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers().get("x-rayfleet-served-by").is_none());
    }
    assert_eq!(bench.requests(), 9);
    for path in ["/metrics", "/v1/load_lora_adapter"] {
        assert_eq!(envoy.get(path).await.status(), StatusCode::NOT_FOUND);
    }
    envoy.mend().await;
    while envoy.ask().await.headers().get("x-rayfleet-served-by").is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn a_picker_that_dies_with_half_a_body_lets_nothing_through() {
    for (configuration, named) in [(CLOSED, 1), (FALLBACK, 3)] {
        let bench = Bench::naming(named, [Does::Echo]).await;
        let envoy = Envoy::start(configuration, &bench).await;
        let half = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(prompt(200_000)))]);
        let half = reqwest::Body::wrap_stream(half.chain(futures::stream::pending()));
        let asking = tokio::spawn(envoy.post(CHAT, half).send());
        bench.until(|bench| bench.room() < bench::ALL).await;
        envoy.cut().await;
        let status = asking.await.unwrap().unwrap().status();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{configuration}");
        assert_eq!(bench.requests(), 0);
        bench.until(|bench| bench.room() == bench::ALL).await;
    }
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn an_answer_does_not_look_whole_when_the_picker_dies_on_the_way() {
    let bench = Bench::of([Does::Stream]).await;
    let envoy = Envoy::start(CLOSED, &bench).await;
    let mut pieces = envoy.ask().await.bytes_stream();
    pieces.next().await.unwrap().unwrap();
    envoy.cut().await;
    bench.go_on();
    let rest: Vec<_> = pieces.collect().await;
    assert!(rest.iter().any(Result::is_err), "{rest:?}");
    bench.until(|bench| bench.in_flight() == 0).await;
}

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn a_client_cannot_say_where_its_request_goes() {
    for (configuration, named) in [(CLOSED, 1), (FALLBACK, 3)] {
        let bench = Bench::naming(named, [Does::Echo]).await;
        let envoy = Envoy::start(configuration, &bench).await;
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = target.local_addr().unwrap().to_string();
        let ask = async |path: &str| {
            let request = envoy.post(path, prompt(10)).header("x-gateway-destination-endpoint", &to);
            let request = request.header("X-Gateway-Destination-Endpoint", &to);
            request.header("x-envoy-original-dst-host", &to).send().await.unwrap()
        };
        assert_eq!(ask(CHAT).await.headers()["x-rayfleet-served-by"], "pod-0");
        assert_eq!(error(ask("/anything").await).await.1, "not_found");
        envoy.cut().await;
        let expected = if named == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        envoy.until(expected).await;
        assert_eq!(ask(CHAT).await.status(), expected);
        assert!(target.accept().now_or_never().is_none(), "{configuration}: the client's target was called");
    }
    // The picker alone suffices, as long as there is one.
    let bench = Bench::of([Does::Echo]).await;
    let filter = ("- remove: x-gateway-destination-endpoint", "- remove: x-other");
    let envoy = Envoy::changed(CLOSED, &bench, &[filter]).await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = target.local_addr().unwrap().to_string();
    let request = envoy.post(CHAT, prompt(10)).header("x-gateway-destination-endpoint", &to);
    let response = request.header("x-gateway-destination-endpoint", "127.0.0.2:1").send().await.unwrap();
    assert_eq!(response.headers()["x-rayfleet-served-by"], "pod-0");
    let seen = super::seen(response).await;
    assert_eq!(seen["headers"]["x-gateway-destination-endpoint"], bench.heads()[0].to_string());
    assert!(target.accept().now_or_never().is_none());
}
