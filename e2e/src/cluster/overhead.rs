//! The orchestrator's own overhead, from its metrics: how long a finished step waits for it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, ensure};
use hyper::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde::Serialize;

use super::{Cluster, SYSTEM_NAMESPACE, call};

const PORT: u16 = 8080;
const SUBMIT: &str = "rayfleet_engine_submit_delay_seconds";
const OPEN: &str = "rayfleet_endpoint_open_delay_seconds";
const LOOKS: &str = "rayfleet_observe_seconds";
const WRITES: &str = "rayfleet_api_writes_total";

/// A histogram's sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Delay {
    /// Number of observations.
    pub count: u64,
    /// Mean in seconds, 0 without observations.
    pub mean: f64,
    /// Smallest bucket bound that holds all observations, in seconds; infinite above the last bucket.
    pub at_most: f64,
}

/// The orchestrator's delays since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Overhead {
    /// From all Ray nodes joined to the engine job submitted.
    pub submit: Delay,
    /// From a healthy engine to an open endpoint.
    pub open: Delay,
}

impl fmt::Display for Overhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |delay: Delay| {
            format!("mean {:.2} s, none above {} s ({} times)", delay.mean, delay.at_most, delay.count)
        };
        writeln!(f, "Ray nodes all in → engine job submitted: {}", line(self.submit))?;
        write!(f, "engine healthy → endpoint open:          {}", line(self.open))
    }
}

/// Pods of the orchestrator.
pub async fn orchestrators(cluster: &Cluster) -> anyhow::Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    Ok(call("list the orchestrator's pods", api.list(&ListParams::default())).await?.items)
}

/// The delays of the replica with the most observations: the leader.
pub async fn overhead(cluster: &Cluster) -> anyhow::Result<Overhead> {
    let all = metrics(cluster).await?;
    let found =
        all.iter().map(|text| Overhead { submit: histogram(text, SUBMIT), open: histogram(text, OPEN) });
    Ok(found.max_by_key(|found| found.submit.count).unwrap_or_default())
}

/// Writes of all replicas to the API server since they started.
pub async fn writes(cluster: &Cluster) -> anyhow::Result<f64> {
    let all = metrics(cluster).await?;
    let of_line = |line: &str| line.strip_prefix(WRITES)?.rsplit_once(' ')?.1.parse::<f64>().ok();
    Ok(all.iter().flat_map(|text| text.lines()).filter_map(of_line).sum())
}

/// Number of observations of Ray clusters that a replica has made since it started.
pub async fn looks(cluster: &Cluster, pod: &str) -> anyhow::Result<u64> {
    Ok(histogram(&metrics_of(cluster, pod).await?, LOOKS).count)
}

/// The metrics of every replica that answers: one may be starting, or on a lost node.
async fn metrics(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for pod in orchestrators(cluster).await?.into_iter().filter(is_ready) {
        all.push(metrics_of(cluster, &pod.metadata.name.context("a pod without a name")?).await?);
    }
    ensure!(!all.is_empty(), "there is no ready pod in namespace {SYSTEM_NAMESPACE}: is Rayfleet installed?");
    Ok(all)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn metrics_of(cluster: &Cluster, pod: &str) -> anyhow::Result<String> {
    let path = format!("/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods/{pod}:{PORT}/proxy/metrics");
    let request = Request::get(path).body(Vec::new())?;
    call(&format!("read the metrics of {pod}"), cluster.client.request_text(request)).await
}

/// One histogram without labels in Prometheus' text format.
fn histogram(text: &str, name: &str) -> Delay {
    let mut buckets = BTreeMap::new();
    let (mut sum, mut count) = (0.0, 0_u64);
    for line in text.lines() {
        let Some((series, value)) = line.strip_prefix(name).and_then(|rest| rest.rsplit_once(' ')) else {
            continue;
        };
        let Ok(value) = value.parse::<f64>() else { continue };
        if let Some(labels) = series.strip_prefix("_bucket") {
            let bound =
                labels.split('"').nth(1).map_or(f64::INFINITY, |text| text.parse().unwrap_or(f64::INFINITY));
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "milliseconds of a bound, sorted"
            )]
            buckets.insert((bound * 1000.0) as u64, (bound, value));
        } else if series == "_sum" {
            sum = value;
        } else if series == "_count" {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count is whole")]
            let whole = value as u64;
            count = whole;
        }
    }
    if count == 0 {
        return Delay::default();
    }
    #[allow(clippy::cast_precision_loss, reason = "a mean for people")]
    let total = count as f64;
    let at_most =
        buckets.values().find(|(_, below)| *below >= total).map_or(f64::INFINITY, |(bound, _)| *bound);
    Delay { count, mean: sum / total, at_most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_summed_up() {
        let text = "# TYPE rayfleet_engine_submit_delay_seconds histogram\n\
            rayfleet_engine_submit_delay_seconds_sum 0.9\nrayfleet_engine_submit_delay_seconds_count 3\n\
            rayfleet_engine_submit_delay_seconds_bucket{le=\"0.1\"} 1\n\
            rayfleet_engine_submit_delay_seconds_bucket{le=\"0.5\"} 3\n\
            rayfleet_engine_submit_delay_seconds_bucket{le=\"10.0\"} 3\n\
            rayfleet_engine_submit_delay_seconds_bucket{le=\"+Inf\"} 3\n";
        let delay = histogram(text, SUBMIT);
        assert_eq!(delay.count, 3);
        assert!((delay.mean - 0.3).abs() < 1e-9 && (delay.at_most - 0.5).abs() < 1e-9, "{delay:?}");
        assert_eq!(histogram(text, OPEN), Delay::default());
    }
}
