//! What a map is made from, as plain data: the fleet, pods and nodes, each read as far as it is needed. No calls and no conclusions.

use std::collections::BTreeMap;

use rayfleet_api::names::{RAY_LABEL_CLUSTER, RAY_LABEL_NODE_TYPE};
use rayfleet_api::{RayClusterFleet, kuberay};
use rayfleet_core::capacity::{NodeRoom, NodeSpec, NodeStatus};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// Label of a GPU's model, from NVIDIA's GPU feature discovery.
const PRODUCT: &str = "nvidia.com/gpu.product";

/// All that was read.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) fleet: RayClusterFleet,
    /// Pods of its groups, or why they are not known.
    pub(super) pods: Result<Vec<PodFact>, String>,
    /// Nodes by name.
    pub(super) nodes: BTreeMap<String, NodeFact>,
}

/// A node that a rank or a pod is on.
#[derive(Clone, Debug)]
pub(super) enum NodeFact {
    /// As the API server has it.
    Here(Box<NodeRoom>),
    /// There is no node of that name.
    Gone,
    /// It was not read, and why.
    Unknown(String),
}

/// A pod of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodFact {
    pub(super) name: String,
    pub(super) group: String,
    pub(super) node: Option<String>,
    pub(super) is_head: bool,
    /// GPUs that it asks for.
    pub(super) gpus: u32,
    /// It runs and nobody deletes it.
    pub(super) is_up: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    labels: Option<BTreeMap<String, String>>,
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Node {
    metadata: Metadata,
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

/// A node from its text.
pub(super) fn node(text: &str) -> Option<NodeRoom> {
    let Node { metadata, spec, status } = serde_json::from_str(text).ok()?;
    let room = NodeRoom::of(metadata.name.into(), metadata.labels.unwrap_or_default(), spec, &status);
    Some(NodeRoom { deleting: metadata.deletion_timestamp.is_some(), ..room })
}

/// A pod from its text; it belongs to the group of its label.
pub(super) fn pod(text: &str) -> Option<PodFact> {
    let Pod { metadata, spec, status } = serde_json::from_str(text).ok()?;
    let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    Some(PodFact {
        group: label(RAY_LABEL_CLUSTER).unwrap_or_default().to_owned(),
        node: spec["nodeName"].as_str().map(str::to_owned),
        is_head: label(RAY_LABEL_NODE_TYPE) == Some("head"),
        gpus: kuberay::gpus(&json!({"template": {"spec": spec}})).unwrap_or_default(),
        is_up: status["phase"] == "Running" && metadata.deletion_timestamp.is_none(),
        name: metadata.name,
    })
}

/// GPUs that a node has for pods, whoever makes them.
pub(super) fn gpus(node: &NodeRoom) -> Option<u64> {
    let gpus = node.shares.iter().find(|(name, _)| name.ends_with("/gpu"))?;
    u64::try_from(gpus.1.allocatable / 1000).ok()
}

/// The model of a node's GPUs.
pub(super) fn product(node: &NodeRoom) -> Option<&str> {
    node.labels.get(PRODUCT).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_up_only_while_it_runs_and_stays() {
        let read = |phase: &str, deleted: Value| {
            let pod = json!({
                "metadata": {"name": "p", "labels": {"ray.io/cluster": "g"}, "deletionTimestamp": deleted},
                "spec": {"nodeName": "n", "containers": [{"resources": {"limits": {"nvidia.com/gpu": "8"}}}]},
                "status": {"phase": phase}
            });
            super::pod(&pod.to_string()).unwrap()
        };
        let up = read("Running", Value::Null);
        assert!(up.is_up && up.gpus == 8 && up.group == "g" && up.node.as_deref() == Some("n"));
        assert!(!read("Running", json!("2026-03-01T12:00:00Z")).is_up);
        assert!(!read("Failed", Value::Null).is_up);
        assert_eq!(super::pod("{\"metadata\": \"x\"}"), None);
        assert_eq!(super::pod("{\"metadata\": {}}").unwrap().gpus, 0);
    }

    #[test]
    fn a_node_is_read_with_its_gpus() {
        let text = json!({
            "metadata": {"name": "n", "labels": {"nvidia.com/gpu.product": "NVIDIA-H200"}},
            "spec": {"unschedulable": true},
            "status": {"allocatable": {"cpu": "64", "nvidia.com/gpu": "8"}}
        });
        let node = super::node(&text.to_string()).unwrap();
        assert_eq!((gpus(&node), product(&node), node.unschedulable), (Some(8), Some("NVIDIA-H200"), true));
        assert!(super::node("{}").is_none());
        assert_eq!(gpus(&super::node("{\"metadata\": {}}").unwrap()), None);
    }
}
