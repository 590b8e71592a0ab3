//! What clients of an engine observe, and how the engine counts them.

use std::time::Duration;

use ray_bridge::engine::{EngineClient, Health};

use super::super::{Connection, Outcome, RayPod};
use super::bench::{Bench, CLUSTER, HEAD, PORT, name, pod};

/// Starts a request of `tokens` tokens of 20 ms each.
async fn begin(bench: &Bench, tokens: u32) -> tokio::task::JoinHandle<Outcome> {
    let ray = bench.ray.clone();
    let request = tokio::spawn(async move { ray.request(HEAD, PORT, tokens, Connection::Fresh).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    request
}

fn engine(bench: &Bench) -> EngineClient {
    bench.bridge.engine(&bench.target).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_in_flight_until_its_last_token() {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    let idle = engine(&bench).load().await.unwrap();
    assert_eq!((idle.in_flight, idle.served, idle.idle, idle.progress), (0, Some(0), None, None));
    let request = begin(&bench, 100).await;
    let first = engine(&bench).load().await.unwrap();
    assert_eq!((first.in_flight, first.awaiting, first.draining), (1, 1, Some(false)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = engine(&bench).load().await.unwrap();
    assert!(first.progress.is_some() && first.progress != second.progress, "{first:?} {second:?}");
    let Outcome::Answered { seconds } = request.await.unwrap() else { panic!("not answered") };
    assert!((1.99..2.05).contains(&seconds), "{seconds}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = engine(&bench).load().await.unwrap();
    assert_eq!((after.in_flight, after.served), (0, Some(1)));
    assert!(after.idle.unwrap() >= Duration::from_secs(3), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_disconnected_client_is_not_in_flight() {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    let request = begin(&bench, 100_000).await;
    request.abort();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let load = engine(&bench).load().await.unwrap();
    assert_eq!((load.in_flight, load.served), (0, Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_hung_engine_is_healthy_and_its_counters_stand_still() {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    let request = begin(&bench, 100).await;
    bench.ray.hang_engine(CLUSTER);
    let first = engine(&bench).load().await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let second = engine(&bench).load().await.unwrap();
    assert_eq!((first.progress, second.awaiting), (second.progress, 1));
    assert_eq!(engine(&bench).health().await, Health::Serving);
    assert!(bench.bridge.stop(&bench.target, &name("chat-1")).await.unwrap());
    assert_eq!(request.await.unwrap(), Outcome::CutOff { tokens: 5, death: true });
}

#[tokio::test(start_paused = true)]
async fn a_death_and_a_stop_cut_streams_off_but_only_the_death_counts_as_a_fault() {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    let request = begin(&bench, 10_000).await;
    bench.ray.kill_rank(CLUSTER, 0);
    assert_eq!(request.await.unwrap(), Outcome::CutOff { tokens: 5, death: true });
    assert_eq!(engine(&bench).health().await, Health::Unhealthy(503));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(engine(&bench).health().await, Health::NotYet, "the engine has exited");
    let late = bench.ray.request(HEAD, PORT, 5, Connection::Fresh).await;
    assert_eq!(
        late,
        Outcome::CutOff { tokens: 0, death: true },
        "a request after the death counts as cut off by it"
    );

    bench.serving("chat-2").await;
    let request = begin(&bench, 10_000).await;
    assert!(bench.bridge.stop(&bench.target, &name("chat-2")).await.unwrap());
    assert!(matches!(request.await.unwrap(), Outcome::CutOff { death: false, .. }));
    assert_eq!(bench.ray.request(HEAD, PORT, 5, Connection::Fresh).await, Outcome::Refused);
}

#[tokio::test(start_paused = true)]
async fn clients_of_a_lost_machine_wait_until_their_timeout() {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    let request = begin(&bench, 10_000).await;
    let began = bench.ray.now().0;
    bench.ray.lose_node("machine-1");
    assert_eq!(request.await.unwrap(), Outcome::CutOff { tokens: 5, death: true });
    assert!(bench.ray.now().0.saturating_sub(began) >= Duration::from_mins(1), "no connection was closed");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_serves_by_itself_has_no_middleware() {
    let bench = Bench::new().await;
    let ip = "10.0.0.9";
    let own = RayPod {
        cluster: "models/own".to_owned(),
        own_engine_port: Some(9000),
        ..RayPod { ip: ip.to_owned(), ..pod(9, true) }
    };
    bench.ray.start(own);
    let target =
        ray_bridge::Target { engine: format!("http://{ip}:9000").parse().ok(), ..bench.target.clone() };
    let engine = bench.bridge.engine(&target).unwrap();
    assert_eq!(engine.health().await, Health::NotYet);
    tokio::time::sleep(super::bench::behaviour().load).await;
    assert_eq!(engine.health().await, Health::Serving);
    let load = engine.load().await.unwrap();
    assert_eq!((load.in_flight, load.served, load.draining), (0, None, None));
    assert!(engine.set_draining(true).await.is_err());
    assert!(matches!(bench.ray.request(ip, 9000, 10, Connection::Kept).await, Outcome::Answered { .. }));
    bench.ray.kill_engine("models/own");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.ray.exited(ip), Some(1));
}
