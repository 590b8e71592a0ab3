//! Where Prometheus finds a cluster's metrics.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Dashboard, wire};
use crate::http::{CallError, Fault};

/// Addresses that answer `GET /metrics`, in the form of Prometheus' HTTP service discovery.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MetricsTarget {
    /// Added to every metric from these addresses.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub labels: BTreeMap<String, String>,
    /// `address:port`.
    pub targets: Vec<String>,
}

impl Dashboard {
    /// Where the cluster's metrics are. Ray 2.46 does not list them; then they are taken from its nodes, without those of the
    /// dashboard and the autoscaler.
    pub async fn metrics_targets(&self) -> Result<Vec<MetricsTarget>, CallError> {
        match self.0.get("/api/prometheus/sd").await {
            Err(CallError { fault: Fault::NotFound { .. }, .. }) => {}
            done => return done,
        }
        let nodes = self.node_summaries().await?;
        let alive = nodes.into_iter().filter(|node| node.state == "ALIVE");
        let targets = alive.filter_map(|node| Some(format!("{}:{}", node.ip, node.metrics_port?))).collect();
        Ok(vec![MetricsTarget { labels: BTreeMap::from([("job".to_owned(), "ray".to_owned())]), targets }])
    }
}
