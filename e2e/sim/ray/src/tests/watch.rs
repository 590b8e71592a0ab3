//! The watch of a simulated engine through the bridge's client, as the launcher's middleware serves it.

use std::time::Duration;

use ray_bridge::CallErrorKind;
use ray_bridge::engine::{EngineWatch, Health};

use super::super::RayWorld;
use super::bench::{Bench, CLUSTER, HEAD, pod};

/// A watch whose first line has been read.
async fn watched() -> (Bench, EngineWatch) {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    let mut watch = bench.bridge.engine(&bench.target).unwrap().watch().await.unwrap();
    let said = watch.next().await.unwrap().unwrap();
    assert_eq!((said.health, said.load.in_flight, said.rank_changes), (Health::Serving, 0, 0));
    (bench, watch)
}

async fn after(fault: impl FnOnce(&RayWorld)) -> EngineWatch {
    let (bench, watch) = watched().await;
    fault(&bench.ray);
    watch
}

#[tokio::test(start_paused = true)]
async fn without_a_change_there_is_a_sign_of_life_and_after_a_minute_an_end() {
    let (bench, mut watch) = watched().await;
    let began = bench.ray.now().0;
    watch.next().await.unwrap().unwrap();
    let beat = bench.ray.now().0.saturating_sub(began);
    assert!((Duration::from_millis(1400)..Duration::from_millis(2600)).contains(&beat), "{beat:?}");
    while watch.next().await.unwrap().is_some() {}
    let life = bench.ray.now().0.saturating_sub(began);
    assert!((Duration::from_secs(58)..Duration::from_secs(62)).contains(&life), "{life:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_core_is_said_and_ends_the_watch() {
    let mut watch = after(|ray| ray.kill_engine(CLUSTER)).await;
    assert_eq!(watch.next().await.unwrap().unwrap().health, Health::Unhealthy(503));
    assert_eq!(watch.next().await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_breaks_the_connection_and_a_cut_path_is_silence() {
    let error = after(|ray| ray.kill_server(CLUSTER)).await.next().await.unwrap_err();
    assert!(matches!(error.kind, CallErrorKind::Unreachable { .. }), "{error}");
    let mut watch = after(|ray| ray.cut_path(HEAD, true)).await;
    assert!(tokio::time::timeout(Duration::from_mins(5), watch.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_launcher_calls_when_other_nodes_are_alive() {
    let (bench, mut watch) = watched().await;
    bench.ray.start(pod(4, false));
    let said = bench
        .until("a call", async || watch.next().await.unwrap().filter(|said| said.rank_changes > 0))
        .await;
    assert_eq!((said.health, said.rank_changes), (Health::Serving, 1));
}
