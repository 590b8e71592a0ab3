//! Gives the local cluster the shape that a scenario needs: a number of nodes with a number of GPUs each.
//! Surplus nodes are cordoned, surplus GPUs are occupied by an idle pod. All of it can be undone, also by a
//! later process: changes are recorded on the nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::{Cluster, call, until};

/// Namespace of the pods that occupy GPUs.
const NAMESPACE: &str = "rayfleet-scenarios-room";
/// Annotation of a node that we cordoned.
const CORDONED: &str = "rayfleet-e2e/cordoned";
const GPU: &str = "nvidia.com/gpu";
/// On every node of the local cluster.
const IMAGE: &str = "rayfleet.local/pause:1";
const PATIENCE: Duration = Duration::from_mins(1);

/// A node that a scenario needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in the scenario.
    pub name: String,
    /// Its GPUs.
    pub gpus: u32,
    /// Whether it is cordoned at the start.
    pub cordoned: bool,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Real {
    name: String,
    gpus: u32,
}

/// The cluster in the required shape.
pub struct Room {
    client: Client,
    names: BTreeMap<String, String>,
}

/// The cluster is too small.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this needs {wanted}, and the cluster has {there}; cure: hack/cluster down, then hack/e2e --scenarios"
)]
pub struct TooSmall {
    wanted: String,
    there: String,
}

impl Room {
    /// Shapes the cluster. A cluster that is too small is a result, not an error.
    pub async fn shape(client: &Client, wanted: &[Wanted]) -> anyhow::Result<Result<Self, TooSmall>> {
        let api: Api<Node> = Api::all(client.clone());
        let nodes = call("list nodes", api.list(&ListParams::default())).await?.items;
        let usable: Vec<Real> = nodes.iter().filter(|node| serves(node)).map(real).collect();
        let names = match assigned(wanted, &usable) {
            Ok(names) => names,
            Err(too_small) => return Ok(Err(too_small)),
        };
        let room = Self { client: client.clone(), names };
        for node in &usable {
            let wanted = wanted.iter().find(|wanted| room.real(&wanted.name) == Some(node.name.as_str()));
            let spare = node.gpus - wanted.map_or(node.gpus, |wanted| wanted.gpus);
            if spare > 0 {
                room.take(node, spare).await?;
            }
            if wanted.is_none_or(|wanted| wanted.cordoned) {
                set_cordoned(client, &node.name, true).await?;
            }
        }
        room.taken().await?;
        Ok(Ok(room))
    }

    /// The real node that stands for a node of the scenario.
    pub fn real(&self, name: &str) -> Option<&str> {
        self.names.get(name).map(String::as_str)
    }

    /// The mapping of nodes, for people.
    pub fn words(&self) -> String {
        let all: Vec<String> = self.names.iter().map(|(name, real)| format!("{name} is {real}")).collect();
        all.join(", ")
    }

    /// Uncordons a node of the scenario.
    pub async fn uncordon(&self, name: &str) -> anyhow::Result<()> {
        let real = self.real(name).with_context(|| format!("the scenario has no node {name}"))?;
        set_cordoned(&self.client, real, false).await
    }

    /// Creates a pod on a node that occupies GPUs. It bypasses the scheduler, and nothing evicts it.
    async fn take(&self, node: &Real, gpus: u32) -> anyhow::Result<()> {
        let cluster = Cluster { client: self.client.clone(), namespace: NAMESPACE.to_owned() };
        cluster.create_namespace(PATIENCE).await?;
        let resources = json!({"requests": {GPU: gpus.to_string()}, "limits": {GPU: gpus.to_string()}});
        let pod: Pod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": node.name},
            "spec": {
                "nodeName": node.name, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
                "tolerations": [{"operator": "Exists"}],
                "containers": [{
                    "name": "room", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "resources": resources
                }],
            },
        }))?;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        // The namespace's service account is created a moment after the namespace.
        until(&format!("a pod that takes {gpus} GPUs of {}", node.name), PATIENCE, async || {
            call("create the pod", api.create(&PostParams::default(), &pod)).await.map(|_| Some(()))
        })
        .await
    }

    /// Waits until all of those pods run: a pod that does not run occupies nothing.
    async fn taken(&self) -> anyhow::Result<()> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        until("the pods that take GPUs away to run", PATIENCE, async || {
            let pods = call("list pods", api.list(&ListParams::default())).await?.items;
            let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone());
            let late = pods.iter().find(|pod| phase(pod).as_deref() != Some("Running"));
            let name = late.map(|pod| format!("{} is {}", pod.name_any(), phase(pod).unwrap_or_default()));
            ensure!(name.is_none(), "{}", name.unwrap_or_default());
            Ok(Some(()))
        })
        .await
    }
}

/// Restores the cluster's shape, whichever process changed it.
pub async fn undo(client: &Client) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    for node in call("list nodes", nodes.list(&ListParams::default())).await? {
        if node.annotations().contains_key(CORDONED) {
            set_cordoned(client, &node.name_any(), false).await?;
        }
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let at_once = DeleteParams::default().grace_period(0);
    let all = ListParams::default();
    call("delete the pods that take GPUs", pods.delete_collection(&at_once, &all)).await?;
    until("the pods that take GPUs to be gone", PATIENCE, async || {
        Ok(call("list pods", pods.list(&all)).await?.items.is_empty().then_some(()))
    })
    .await
}

/// Cordons or uncordons a node.
pub async fn set_cordoned(client: &Client, node: &str, cordoned: bool) -> anyhow::Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let mark = cordoned.then_some("true");
    let patch = json!({
        "metadata": {"annotations": {CORDONED: mark}}, "spec": {"unschedulable": cordoned.then_some(true)}
    });
    let what = format!("take node {node} {} service", if cordoned { "out of" } else { "into" });
    call(&what, api.patch(node, &PatchParams::default(), &Patch::Merge(&patch))).await.map(drop)
}

/// Whether pods can be scheduled to a node. A node that somebody else cordoned must not be used.
fn serves(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|known| known.type_ == "Ready" && known.status == "True");
    ready && !node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default()
}

fn real(node: &Node) -> Real {
    let gpus = node.status.as_ref().and_then(|status| status.allocatable.as_ref()?.get(GPU).cloned());
    let gpus = gpus.and_then(|gpus| gpus.0.parse().ok()).unwrap_or_default();
    Real { name: node.name_any(), gpus }
}

/// Maps wanted nodes to real ones: the largest to the largest.
fn assigned(wanted: &[Wanted], real: &[Real]) -> Result<BTreeMap<String, String>, TooSmall> {
    let mut wanted: Vec<&Wanted> = wanted.iter().collect();
    let mut real: Vec<&Real> = real.iter().collect();
    wanted.sort_by_key(|node| std::cmp::Reverse(node.gpus));
    real.sort_by(|a, b| b.gpus.cmp(&a.gpus).then_with(|| a.name.cmp(&b.name)));
    let fits =
        wanted.len() <= real.len() && wanted.iter().zip(&real).all(|(one, other)| one.gpus <= other.gpus);
    if !fits {
        let list = |gpus: Vec<String>| format!("{} nodes with {} GPUs", gpus.len(), gpus.join(" + "));
        return Err(TooSmall {
            wanted: list(wanted.iter().map(|node| node.gpus.to_string()).collect()),
            there: list(real.iter().map(|node| node.gpus.to_string()).collect()),
        });
    }
    Ok(wanted.iter().zip(real).map(|(one, other)| (one.name.clone(), other.name.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, gpus: u32) -> Wanted {
        Wanted { name: name.to_owned(), gpus, cordoned: false }
    }

    fn there(name: &str, gpus: u32) -> Real {
        Real { name: name.to_owned(), gpus }
    }

    #[test]
    fn the_largest_wanted_node_maps_to_the_largest_real_one() {
        let real = [there("node-a", 2), there("node-b", 8), there("node-c", 4)];
        let names = assigned(&[wanted("small", 1), wanted("big", 6)], &real).unwrap();
        assert_eq!(names["big"], "node-b");
        assert_eq!(names["small"], "node-c");
    }

    #[test]
    fn a_too_small_cluster_is_reported_in_numbers() {
        let real = [there("node-a", 2), there("node-b", 8)];
        let error = assigned(&[wanted("x", 4), wanted("y", 4)], &real).unwrap_err().to_string();
        assert!(
            error.contains("2 nodes with 4 + 4 GPUs, and the cluster has 2 nodes with 8 + 2 GPUs"),
            "{error}"
        );
        assert!(assigned(&[wanted("x", 0), wanted("y", 0), wanted("z", 0)], &real).is_err());
    }
}
