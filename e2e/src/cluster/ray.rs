//! The ranks' locations as Ray reports them, read from the head's dashboard without any of Rayfleet's code.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use hyper::Request;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::Value;

use super::fleet::Fleet;
use super::pods::FleetPod;
use super::{Cluster, call};

/// A rank: data-parallel rank if there is one, tensor rank, pipeline stage, Kubernetes node.
pub type RankAt = (Option<u32>, u32, u32, String);

/// When the last engine of a group was submitted to Ray, by the head's clock.
pub async fn last_submitted(fleet: &Fleet, group: &str, pods: &[FleetPod]) -> anyhow::Result<Timestamp> {
    let jobs = dashboard(fleet, group, pods).await?.get("/api/jobs/").await?;
    let jobs = jobs.as_array().map(Vec::as_slice).unwrap_or_default();
    let submitted = jobs.iter().filter(|job| job["type"] == "SUBMISSION");
    let last = submitted.filter_map(|job| job["start_time"].as_i64()).max();
    Ok(Timestamp::from_millisecond(last.with_context(|| format!("group {group}: Ray knows no job"))?)?)
}

async fn dashboard<'a>(fleet: &'a Fleet, group: &str, pods: &'a [FleetPod]) -> anyhow::Result<Dashboard<'a>> {
    let head = pods.iter().find(|pod| pod.group == group && pod.head);
    let head = head.with_context(|| format!("group {group} has no head pod"))?;
    Ok(Dashboard { cluster: &fleet.cluster, head, token: token(&fleet.cluster, group).await? })
}

/// The ranks of one group that Ray reports as alive.
pub async fn ranks(fleet: &Fleet, group: &str, pods: &[FleetPod]) -> anyhow::Result<BTreeSet<RankAt>> {
    let own = || pods.iter().filter(|pod| pod.group == group);
    let dashboard = dashboard(fleet, group, pods).await?;
    let nodes = dashboard.list("/api/v0/nodes?detail=1&limit=1000").await?;
    let actors = dashboard.list("/api/v0/actors?detail=1&limit=1000").await?;
    let by_ip: BTreeMap<&str, &str> = own().map(|pod| (pod.ip.as_str(), pod.node.as_str())).collect();
    let node_of: BTreeMap<&str, &str> = nodes
        .iter()
        .filter(|node| node["state"] == "ALIVE")
        .filter_map(|node| Some((node["node_id"].as_str()?, *by_ip.get(node["node_ip"].as_str()?)?)))
        .collect();
    actors
        .iter()
        .filter(|actor| actor["state"] == "ALIVE" && actor["class_name"] == "RayWorkerProc")
        .map(|actor| {
            let name = actor["name"].as_str().unwrap_or_default();
            let node = actor["node_id"].as_str().and_then(|id| node_of.get(id));
            let node = node
                .with_context(|| format!("rank {name} is on a Ray node that is no pod of group {group}"))?;
            let (data, tensor, stage) = rank(name);
            Ok((data, tensor, stage, (*node).to_owned()))
        })
        .collect()
}

/// Data-parallel rank, tensor rank and stage from an actor name such as `vllm_Worker_x_dp1_TP1_PP0`; a dimension of 1
/// is left out.
fn rank(name: &str) -> (Option<u32>, u32, u32) {
    let part = |key: &str| name.split('_').find_map(|part| part.strip_prefix(key)?.parse().ok());
    (part("dp"), part("TP").unwrap_or(0), part("PP").unwrap_or(0))
}

/// KubeRay's token for a cluster, if token authentication is on.
async fn token(cluster: &Cluster, group: &str) -> anyhow::Result<Option<String>> {
    let api: Api<Secret> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let secret = call("get the Ray token", api.get_opt(group)).await?;
    let data = secret.and_then(|secret| secret.data?.remove("auth_token"));
    Ok(data.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()))
}

struct Dashboard<'a> {
    cluster: &'a Cluster,
    head: &'a FleetPod,
    token: Option<String>,
}

impl Dashboard<'_> {
    /// A list of the state API.
    async fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let value = self.get(path).await?;
        let list = value["data"]["result"]["result"].as_array();
        list.cloned().with_context(|| format!("no list in the answer of {} to {path}", self.head.name))
    }

    /// Through the API server's proxy, which reaches pods from anywhere.
    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let namespace = &self.cluster.namespace;
        let url = format!("/api/v1/namespaces/{namespace}/pods/{}:8265/proxy{path}", self.head.name);
        let mut request = Request::get(url);
        if let Some(token) = &self.token {
            request = request.header("X-Ray-Authorization", format!("Bearer {token}"));
        }
        let what = format!("ask the Ray dashboard of {}", self.head.name);
        call(&what, self.cluster.client.request(request.body(Vec::new())?)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_by_name() {
        assert_eq!(rank("vllm_Worker_tiny-1f_TP1_PP0"), (None, 1, 0));
        assert_eq!(rank("vllm_Worker_tiny-1f_PP1"), (None, 0, 1));
        assert_eq!(rank("vllm_Worker_tiny"), (None, 0, 0));
        assert_eq!(rank("vllm_Worker_1_dp3_TP1"), (Some(3), 1, 0));
    }
}
