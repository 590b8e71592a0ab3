//! The picker behind a real Envoy, with the configurations of `examples/envoy`: `hack/envoy` gets Envoy and runs them.

mod process;

use reqwest::StatusCode;
use serde_json::{Value, json};

use self::process::Envoy;
use super::bench::{Bench, Does};
use super::{CHAT, text};

#[tokio::test]
#[ignore = "needs Envoy: hack/envoy"]
async fn a_request_and_its_answer_pass_unchanged() {
    let bench = Bench::of([Does::Echo]).await;
    let envoy = Envoy::start("envoy.yaml", &bench).await;
    let response = envoy.post(CHAT, r#"{"model": "llama", "n":  1}"#).send().await.unwrap();
    println!("{:?}", response);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-rayfleet-served-by"], "pod-0");
    let seen: Value = serde_json::from_str(&text(response).await).unwrap();
    println!("{seen}");
    assert_eq!(seen["body"], json!(r#"{"model": "llama", "n":  1}"#));
    assert_eq!(seen["headers"]["content-length"], "27");
}
