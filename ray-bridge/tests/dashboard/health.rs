//! Health, the machines of nodes, and metrics targets.

use ray_bridge::dashboard::Authentication;
use ray_bridge::{CallErrorKind, NodeId};
use serde_json::json;

use crate::common::{changed, recorded};
use crate::replies::{fault, start};

#[tokio::test]
async fn gcs_health_is_none_or_the_reason() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/gcs_healthz", [recorded("gcs_healthz"), (503, b"Health check failed".to_vec())]);
    assert_eq!(dashboard.gcs_health().await, Ok(None));
    assert_eq!(dashboard.gcs_health().await, Ok(Some("Health check failed".to_owned())));
    fake.on("GET /api/gcs_healthz", [(200, b"<html>".to_vec())]);
    assert_eq!(dashboard.gcs_health().await, Ok(Some("answers \"<html>\"".to_owned())));
}

#[tokio::test]
async fn raylet_health_is_read_from_the_agent() {
    let (fake, dashboard) = start().await;
    let here = changed("nodes_summary", |n| {
        let node = &mut n["data"]["summary"][0];
        node["ip"] = json!("127.0.0.1");
        node["raylet"]["dashboardAgentListenPort"] = json!(fake.url.port());
    });
    fake.on("GET /nodes", [here]);
    fake.on(
        "GET /api/local_raylet_healthz",
        [recorded("local_raylet_healthz_agent"), (503, b"Local Raylet failed".to_vec())],
    );
    let nodes = dashboard.node_summaries().await.unwrap();
    assert_eq!(dashboard.raylet_health(&nodes[0]).await, Ok(None));
    assert_eq!(dashboard.raylet_health(&nodes[0]).await, Ok(Some("Local Raylet failed".to_owned())));
    let asked = fake.asked();
    let with_token =
        |path: &str| asked.iter().filter(|a| a.path.starts_with(path)).all(|a| a.authorization.is_some());
    assert!(
        with_token("/nodes") && !with_token("/api/local_raylet"),
        "a dashboard named the agent's address"
    );
}

#[tokio::test]
async fn an_agent_without_a_port_is_unreachable() {
    let (fake, dashboard) = start().await;
    let none = changed("nodes_summary", |n| {
        n["data"]["summary"][0]["raylet"]["dashboardAgentListenPort"] = json!(-1);
    });
    fake.on("GET /nodes", [none]);
    let agentless = dashboard.node_summaries().await.unwrap().remove(0);
    assert_eq!(agentless.agent_port, None);
    assert!(matches!(
        fault(dashboard.raylet_health(&agentless).await),
        CallErrorKind::Unreachable { refused: true, .. }
    ));
}

#[tokio::test]
async fn node_summaries_are_requested_with_their_view() {
    let (fake, dashboard) = start().await;
    fake.on("GET /nodes", [recorded("nodes_summary"), recorded("nodes_summary_dead")]);
    let head = dashboard.node_summaries().await.unwrap().remove(0);
    assert_eq!(fake.asked()[0].path, "/nodes?view=summary");
    assert_eq!((head.hostname.as_str(), head.state.as_str()), ("ray-head", "ALIVE"));
    assert_eq!((head.memory_total, head.memory_used), (Some(25_276_502_016), Some(1_707_704_320)));
    assert_eq!((head.agent_port, head.metrics_port), (Some(52365), Some(42437)));
    assert!((head.load.unwrap() - 1.113_769).abs() < 1e-3 && head.cpu_percent.is_some());

    let later = dashboard.node_summaries().await.unwrap();
    assert!(later.iter().any(|n| n.state == "DEAD"), "dead nodes stay listed");

    fake.on("GET /nodes", [recorded("nodes_noview")]);
    assert!(matches!(fault(dashboard.node_summaries().await), CallErrorKind::Rejected { status: 500, .. }));
}

#[tokio::test]
async fn a_dead_node_is_dead_even_if_the_status_counts_its_gpus() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/v0/nodes", [recorded("v0_nodes_one_dead")]);
    let dead = dashboard.nodes().await.unwrap().into_iter().find(|n| n.state == "DEAD").unwrap();
    let late = changed("cluster_status_dead", |s| {
        let by_node = &mut s["data"]["clusterStatus"]["loadMetricsReport"]["usageByNode"];
        by_node[dead.node_id.as_str()] = json!({"GPU": [0.0, 8.0]});
    });
    fake.on("GET /api/cluster_status", [late]);
    let gpu_use = dashboard.gpu_use().await.unwrap();
    assert!(gpu_use.contains_key(&dead.node_id));
    assert!(!dead.into_ray_node(&gpu_use).alive);
}

#[tokio::test]
async fn metrics_targets_are_those_given_to_prometheus() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/prometheus/sd", [recorded("prometheus_sd")]);
    let found = dashboard.metrics_targets().await.unwrap();
    assert_eq!((found.len(), found[0].targets.len(), found[0].labels["job"].as_str()), (1, 6, "ray"));
    assert!(found[0].targets.contains(&"10.77.0.11:42437".to_owned()));
}

#[tokio::test]
async fn authentication_is_reported() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/authentication_mode", [recorded("auth_mode"), recorded("auth_mode_disabled")]);
    assert_eq!(dashboard.authentication().await, Ok(Authentication::Token));
    assert_eq!(dashboard.authentication().await, Ok(Authentication::Open));
}

#[tokio::test]
async fn the_limit_of_a_list_is_the_largest_that_ray_accepts() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/v0/nodes", [recorded("v0_nodes_detail")]);
    let nodes = dashboard.nodes().await.unwrap();
    assert!(fake.asked()[0].path.contains("limit=10000"), "{}", fake.asked()[0].path);
    assert!(nodes.iter().any(|n| n.node_id != NodeId::default()));
}
