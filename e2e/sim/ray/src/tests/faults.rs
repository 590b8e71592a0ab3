//! Every fault of an engine or its cluster, and its diagnosis by the bridge: the same as on real Ray, and
//! no sooner.

use std::time::Duration;

use ray_bridge::diagnose::{Trouble, Unreachable};

use super::super::{Connection, DashboardState, RayWorld};
use super::bench::{Bench, CLUSTER, HEAD, PORT, name};

/// Whether a report may come before the wanted one: an engine that hangs is slow first, and one whose node
/// is lost hangs or dies before Ray declares the node dead.
fn not_yet(wanted: &str, reported: &str) -> bool {
    match wanted {
        "Hung" => reported == "Slow",
        "NodeLost" => matches!(reported, "Slow" | "Hung" | "EngineDied"),
        _ => false,
    }
}

/// Breaks a serving engine; returns the first diagnosis that counts, and the time until it.
async fn reported(wanted: &str, fault: impl FnOnce(&RayWorld)) -> (Trouble, Duration) {
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
async fn a_killed_rank_is_reported() {
    let (trouble, took) = reported("RankDied", |ray| ray.kill_rank(CLUSTER, 3)).await;
    assert_eq!(trouble, Trouble::RankDied { ranks: vec![3] });
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_killed_engine_core_is_reported() {
    reported("EngineDied", |ray| ray.kill_engine(CLUSTER)).await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_api_server_is_reported() {
    reported("EngineDied", |ray| ray.kill_server(CLUSTER)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hung_engine_is_reported() {
    let (_, took) = reported("Hung", |ray| ray.hang_engine(CLUSTER)).await;
    assert!((super::bench::HUNG_AFTER..super::bench::HUNG_AFTER * 2).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dashboard_that_never_answers_is_reported() {
    let silent = |ray: &RayWorld| ray.set_dashboard(CLUSTER, DashboardState::Silent);
    let (trouble, _) = reported("DashboardUnreachable", silent).await;
    assert_eq!(trouble, Trouble::DashboardUnreachable { because: Unreachable::Process });
}

#[tokio::test(start_paused = true)]
async fn a_dashboard_that_refuses_connections_is_reported() {
    let refusing = |ray: &RayWorld| ray.set_dashboard(CLUSTER, DashboardState::Refusing);
    let (trouble, _) = reported("DashboardUnreachable", refusing).await;
    assert_eq!(trouble, Trouble::DashboardUnreachable { because: Unreachable::Process });
}

#[tokio::test(start_paused = true)]
async fn a_dashboard_behind_a_proxy_page_is_reported() {
    let garbled = |ray: &RayWorld| ray.set_dashboard(CLUSTER, DashboardState::Garbled);
    let (trouble, _) = reported("DashboardUnreachable", garbled).await;
    assert_eq!(trouble, Trouble::DashboardUnreachable { because: Unreachable::Answer });
}

#[tokio::test(start_paused = true)]
async fn a_cut_path_to_the_head_is_reported() {
    let (trouble, _) = reported("DashboardUnreachable", |ray| ray.cut_path(HEAD, true)).await;
    assert_eq!(trouble, Trouble::DashboardUnreachable { because: Unreachable::Network });
}

#[tokio::test(start_paused = true)]
async fn a_killed_raylet_is_reported() {
    let (trouble, _) = reported("NodeLost", |ray| ray.kill_raylet("10.0.0.3")).await;
    assert_eq!(trouble, Trouble::NodeLost { nodes: vec!["10.0.0.3".to_owned()] });
}

#[tokio::test(start_paused = true)]
async fn a_worker_machine_without_power_is_reported() {
    let (trouble, took) = reported("NodeLost", |ray| ray.lose_node("machine-2")).await;
    assert_eq!(trouble, Trouble::NodeLost { nodes: vec!["10.0.0.2".to_owned()] });
    assert!(took >= Duration::from_secs(14), "{took:?}: Ray does not know it sooner");
}

#[tokio::test(start_paused = true)]
async fn a_head_machine_without_power_is_reported() {
    reported("HeadLost", |ray| ray.lose_node("machine-1")).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_head_has_lost_its_state() {
    let mut bench = Bench::new().await;
    bench.serving("chat-1").await;
    let before = bench.look(None).await.unwrap().cluster.unwrap().session;
    bench.ray.die(HEAD);
    assert_eq!(bench.ray.exited(HEAD), Some(137));
    bench.ray.start(super::bench::pod(1, true));
    bench.until("the head", async || bench.look(None).await.ok()).await;
    let reported = bench.diagnose(&name("chat-1")).await.unwrap();
    assert_eq!(reported.trouble, Trouble::HeadLost);
    assert_ne!(bench.look(None).await.unwrap().cluster.unwrap().session, before);
    // Its old workers belong to the earlier life of the head, so they end soon, and join when they are
    // restarted.
    let began = bench.ray.now().0;
    let ended = async || (bench.ray.exited("10.0.0.2") == Some(1)).then_some(());
    bench.until("the end of a worker", ended).await;
    let took = bench.ray.now().0.saturating_sub(began);
    assert!(took < Duration::from_secs(5), "{took:?}");
    bench.ray.start(super::bench::pod(2, false));
    bench.until("a worker", async || Some(bench.nodes().await).filter(|nodes| nodes.len() == 2)).await;
}
