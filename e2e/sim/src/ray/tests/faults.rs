//! Every way in which an engine or its cluster breaks, and what the bridge calls it: the same as on real Ray, and no sooner.

use std::time::Duration;

use ray_bridge::diagnose::{Fault, Unreachable};

use super::super::{Connection, DashboardState, RayWorld};
use super::bench::{Bench, CLUSTER, HEAD, PORT, name};

/// What may be reported before: an engine that hangs is slow first, and one whose node is lost stands still or dies before Ray
/// gives the node up.
fn not_yet(wanted: &str, reported: &str) -> bool {
    match wanted {
        "Hung" => reported == "Slow",
        "NodeLost" => matches!(reported, "Slow" | "Hung" | "EngineDied"),
        _ => false,
    }
}

/// Breaks an engine that serves, and gives the first diagnosis that counts, and after how long.
async fn reported(wanted: &str, fault: impl FnOnce(&RayWorld)) -> (Fault, Duration) {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    let id = name("chat-1");
    assert_eq!(bench.diagnose(&id).await, None);
    let client = bench.ray.clone();
    let request = tokio::spawn(async move { client.request(HEAD, PORT, 100_000, Connection::Fresh).await });
    tokio::task::yield_now().await;
    let start = bench.ray.now().0;
    fault(&bench.ray);
    loop {
        let diagnosis = bench.diagnose(&id).await;
        let took = bench.ray.now().0.saturating_sub(start);
        match diagnosis {
            Some(found) if !not_yet(wanted, found.trouble.name()) => {
                assert_eq!(found.trouble.name(), wanted, "{found}");
                assert!(!found.evidence.is_empty());
                request.abort();
                return (found.trouble, took);
            }
            _ => assert!(
                took < Duration::from_secs(40),
                "{wanted} was not reported: {:#}",
                bench.ray.snapshot()
            ),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_rank() {
    let (trouble, took) = reported("RankDied", |ray| ray.kill_rank(CLUSTER, 3)).await;
    assert_eq!(trouble, Fault::RankDied { ranks: vec![3] });
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_killed_engine_core() {
    reported("EngineDied", |ray| ray.kill_engine(CLUSTER)).await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_api_server() {
    reported("EngineDied", |ray| ray.kill_server(CLUSTER)).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs() {
    let (_, took) = reported("Hung", |ray| ray.hang_engine(CLUSTER)).await;
    assert!((super::bench::HUNG_AFTER..super::bench::HUNG_AFTER * 2).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dashboard_that_accepts_and_never_answers() {
    let silent = |ray: &RayWorld| ray.set_dashboard(CLUSTER, DashboardState::Silent);
    let (trouble, _) = reported("DashboardUnreachable", silent).await;
    assert_eq!(trouble, Fault::DashboardUnreachable { because: Unreachable::Process });
}

#[tokio::test(start_paused = true)]
async fn a_dashboard_that_refuses() {
    let refusing = |ray: &RayWorld| ray.set_dashboard(CLUSTER, DashboardState::Refusing);
    let (trouble, _) = reported("DashboardUnreachable", refusing).await;
    assert_eq!(trouble, Fault::DashboardUnreachable { because: Unreachable::Process });
}

#[tokio::test(start_paused = true)]
async fn a_dashboard_behind_somebody_elses_page() {
    let garbled = |ray: &RayWorld| ray.set_dashboard(CLUSTER, DashboardState::Garbled);
    let (trouble, _) = reported("DashboardUnreachable", garbled).await;
    assert_eq!(trouble, Fault::DashboardUnreachable { because: Unreachable::Answer });
}

#[tokio::test(start_paused = true)]
async fn a_cut_path_to_the_head() {
    let (trouble, _) = reported("DashboardUnreachable", |ray| ray.cut_path(HEAD, true)).await;
    assert_eq!(trouble, Fault::DashboardUnreachable { because: Unreachable::Network });
}

#[tokio::test(start_paused = true)]
async fn a_killed_raylet() {
    let (trouble, _) = reported("NodeLost", |ray| ray.kill_raylet("10.0.0.3")).await;
    assert_eq!(trouble, Fault::NodeLost { nodes: vec!["10.0.0.3".to_owned()] });
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_power() {
    let (trouble, took) = reported("NodeLost", |ray| ray.lose_node("machine-2")).await;
    assert_eq!(trouble, Fault::NodeLost { nodes: vec!["10.0.0.2".to_owned()] });
    assert!(took >= Duration::from_secs(14), "{took:?}: Ray does not know it sooner");
}

#[tokio::test(start_paused = true)]
async fn a_head_without_power() {
    reported("HeadLost", |ray| ray.lose_node("machine-1")).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_was_started_again_has_forgotten_everything() {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    let before = bench.look(None).await.unwrap().cluster.unwrap().session;
    bench.ray.die(HEAD);
    assert_eq!(bench.ray.exited(HEAD), Some(137));
    bench.ray.start(super::bench::pod(1, true));
    bench.until("the head", async || bench.look(None).await.ok()).await;
    let reported = bench.diagnose(&name("chat-1")).await.unwrap();
    assert_eq!(reported.trouble, Fault::HeadLost);
    assert_ne!(bench.look(None).await.unwrap().cluster.unwrap().session, before);
    // Its old workers are another cluster's, so they end soon, and join when they are started again.
    let began = bench.ray.now().0;
    let ended = async || (bench.ray.exited("10.0.0.2") == Some(1)).then_some(());
    bench.until("the end of a worker", ended).await;
    let took = bench.ray.now().0.saturating_sub(began);
    assert!(took < Duration::from_secs(5), "{took:?}");
    bench.ray.start(super::bench::pod(2, false));
    bench.until("a worker", async || Some(bench.nodes().await).filter(|nodes| nodes.len() == 2)).await;
}
