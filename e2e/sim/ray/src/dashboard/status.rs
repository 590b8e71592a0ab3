//! The cluster's status. Only its report of GPUs by node is read; it is some seconds old.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::clock::timestamp;
use super::super::gcs::Gcs;

pub(super) fn of(gcs: &Gcs, now: Duration) -> Value {
    let report = gcs.report(now);
    let mut by_node = Map::new();
    let (mut used_in_all, mut in_all) = (0, 0);
    for (id, [used, total]) in &report {
        let ip = gcs.ip_of(Some(id));
        // Ray turns the keys of this reply into camel case.
        let mut resources = Map::from_iter([
            ("CPU".to_owned(), json!([0.0, 8.0])),
            ("memory".to_owned(), json!([0.0, 23_842_987_008.0])),
            ("objectStoreMemory".to_owned(), json!([0.0, 80_000_000.0])),
            (format!("node:{ip}"), json!([0.0, 1.0])),
        ]);
        if *total > 0 {
            resources.insert("GPU".to_owned(), json!([f64::from(*used), f64::from(*total)]));
            used_in_all += used;
            in_all += total;
        }
        by_node.insert(id.clone(), Value::Object(resources));
    }
    let active: Map<String, Value> = report.keys().map(|id| (format!("node_{id}"), json!(1))).collect();
    let mapping: Map<String, Value> =
        report.keys().map(|id| (id.clone(), json!(format!("node_{id}")))).collect();
    let usage = json!({
        "GPU": [f64::from(used_in_all), f64::from(in_all)],
        "CPU": [0.0, report.keys().map(|_| 8.0).sum::<f64>()],
    });
    json!({
        "result": true,
        "msg": "Got cluster status.",
        "data": {
            "autoscalingStatus": "Cluster status: 0 nodes",
            "autoscalingError": null,
            "clusterStatus": {
                "gcsRequestTime": 0.0045,
                "time": timestamp(now).as_duration().as_secs_f64(),
                "monitorPid": 11_741,
                "autoscalerUpdateTime": 0.003,
                "autoscalerReport": {
                    "activeNodes": active,
                    "idleNodes": null,
                    "pendingNodes": [],
                    "pendingLaunches": {},
                    "failedNodes": [],
                    "nodeAvailabilitySummary": { "nodeAvailabilities": {} },
                    "nodeActivities": null,
                    "pendingResources": {},
                    "nodeTypeMapping": mapping,
                    "legacy": true,
                },
                "nonTerminatedNodesTime": 0.00001,
                "loadMetricsReport": {
                    "usage": usage,
                    "resourceDemand": [],
                    "pgDemand": [],
                    "requestDemand": [],
                    "nodeTypes": [],
                    "headIp": null,
                    "usageByNode": by_node,
                    "nodeTypeMapping": null,
                    "idleTimeMap": null,
                },
            },
        },
    })
}
