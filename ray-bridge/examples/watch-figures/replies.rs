//! Replies of the dashboard and the engine of a healthy group: TP8×PP2 on two nodes of eight GPUs.

use std::collections::HashMap;

use ray_bridge::NodeId;
use ray_bridge::placement::{Placement, RANK_ACTOR_CLASS, RankSlot, Shape};
use serde_json::{Value, json};

/// Name of the engine.
pub(crate) const ENGINE: &str = "chat";

/// Bodies by path.
pub(crate) fn all() -> HashMap<&'static str, String> {
    let plan = plan();
    let ranks: Vec<Value> = plan
        .iter()
        .flat_map(|plan| &plan.ranks)
        .map(|slot| {
            json!({
                "class_name": RANK_ACTOR_CLASS, "name": format!("vllm_Worker_1_TP{}_PP{}", slot.tensor_rank, slot.stage),
                "state": "ALIVE", "node_id": slot.node_id, "placement_group_id": "pg", "num_restarts": "0",
            })
        })
        .collect();
    let bundles: Vec<Value> = plan
        .iter()
        .flat_map(|plan| &plan.ranks)
        .map(|slot| json!({"bundle_id": {"bundle_index": slot.rank}, "node_id": slot.node_id}))
        .collect();
    let group = json!({"placement_group_id": "pg", "name": ENGINE, "state": "CREATED", "bundles": bundles});
    let nodes: Vec<Value> = (0..2)
        .map(|n| {
            json!({
                "node_id": node(n), "node_ip": format!("10.0.0.{n}"), "is_head_node": n == 0, "state": "ALIVE",
                "resources_total": {"GPU": 8.0},
            })
        })
        .collect();
    let usage = json!({node(0): {"GPU": [8, 8]}, node(1): {"GPU": [8, 8]}});
    let job = json!({
        "status": "RUNNING", "start_time": 1_795_337_323_066_u64,
        "metadata": {"rayfleet.io/plan": serde_json::to_string(&plan).unwrap_or_default()},
    });
    HashMap::from([
        ("/api/jobs/chat", job.to_string()),
        ("/api/version", json!({"ray_version": "2.60.0", "session_name": "s"}).to_string()),
        ("/api/v0/nodes", list(&nodes)),
        ("/api/v0/placement_groups", list(&[group])),
        ("/api/v0/actors", list(&ranks)),
        (
            "/api/cluster_status",
            json!({"data": {"clusterStatus": {"loadMetricsReport": {"usageByNode": usage}}}}).to_string(),
        ),
        (
            "/rayfleet/v1/state",
            json!({"inFlight": 3, "served": 7, "draining": false, "idleSeconds": 0.0}).to_string(),
        ),
        ("/health", String::new()),
    ])
}

fn plan() -> Option<Placement> {
    let slot = |rank: u32| RankSlot {
        rank,
        data_rank: None,
        tensor_rank: rank % 8,
        stage: rank / 8,
        node_id: NodeId(node(rank / 8)),
        node_ip: format!("10.0.0.{}", rank / 8),
    };
    let shape = Shape::new(8, 2).ok()?;
    Some(Placement { shape, ranks: (0..16).map(slot).collect(), api_server_node: NodeId(node(0)) })
}

fn node(n: u32) -> String {
    format!("{n:056x}")
}

fn list(entries: &[Value]) -> String {
    let result = json!({"total": entries.len(), "num_filtered": entries.len(), "result": entries});
    json!({"result": true, "msg": "", "data": {"result": result}}).to_string()
}
