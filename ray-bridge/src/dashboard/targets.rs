//! Addresses of a Ray cluster's metrics, for Prometheus.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::Dashboard;
use crate::http::{CallError, found, longest};
use crate::lean::{self, Picked, Text};

/// Addresses that answer `GET /metrics`, in the form of Prometheus' HTTP service discovery.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MetricsTarget {
    /// Labels added to every metric from these addresses.
    #[serde(default, deserialize_with = "lean::texts::<_, 32>")]
    pub labels: BTreeMap<String, String>,
    /// `address:port`.
    #[serde(deserialize_with = "addresses")]
    pub targets: Vec<String>,
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let addresses = lean::list::<D, Picked<Text<256>>, 10_000>(deserializer)?;
    Ok(addresses.into_iter().map(|Picked(Text(address))| address).collect())
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Targets {
    #[serde(deserialize_with = "lean::list::<_, _, 1000>")]
    all: Vec<MetricsTarget>,
}

impl Dashboard {
    /// Addresses of the Ray cluster's metrics. Ray 2.46 does not list them; there they are derived from its
    /// nodes, without those of the dashboard and the autoscaler.
    pub async fn metrics_targets(&self) -> Result<Vec<MetricsTarget>, CallError> {
        if let Some(Targets { all }) = found(self.0.get("/api/prometheus/sd", longest::ANSWER).await)? {
            return Ok(all);
        }
        let nodes = self.node_summaries().await?;
        let alive = nodes.into_iter().filter(|node| node.state == "ALIVE");
        let targets = alive
            .filter_map(|node| {
                let (ip, port) = (&node.ip, node.metrics_port?);
                Some(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
            })
            .collect();
        Ok(vec![MetricsTarget { labels: BTreeMap::from([("job".to_owned(), "ray".to_owned())]), targets }])
    }
}
