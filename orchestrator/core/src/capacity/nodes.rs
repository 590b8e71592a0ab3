//! From Kubernetes' nodes to plain numbers. Only what capacity needs is named here; whatever else an object holds is skipped while it is
//! read, so that nothing in it can make it unreadable and nothing of it is kept.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;
use smol_str::SmolStr;

use super::pods::or_default;
use super::quantity::amounts;
use super::{Crowd, NodeRoom, Share, Taint};

/// The part of a node's spec that is looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// What keeps pods off.
    #[serde(deserialize_with = "or_default")]
    taints: Vec<Taint>,
    /// Cordoned.
    #[serde(deserialize_with = "or_default")]
    unschedulable: bool,
}

/// The part of a node's status that is looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// What pods may use.
    #[serde(deserialize_with = "or_default")]
    allocatable: BTreeMap<String, Quantity>,
    /// What the kubelet and Kubernetes say.
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<NodeCondition>,
}

/// A condition of a node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeCondition {
    r#type: String,
    status: String,
}

impl NodeStatus {
    /// Whether the node's kubelet has not been heard of for so long that Kubernetes has given it up.
    pub fn is_lost(&self) -> bool {
        self.says("Ready", "Unknown")
    }

    /// Whether the kubelet says that its node can run pods.
    pub fn is_ready(&self) -> bool {
        self.says("Ready", "True")
    }

    fn says(&self, kind: &str, status: &str) -> bool {
        self.conditions.iter().any(|condition| condition.r#type == kind && condition.status == status)
    }
}

/// Taints by which something says that it will take the node away, or empty it: the autoscaler of Kubernetes, Karpenter, clouds
/// that want a machine back, and people. Of AWS' handler all.
const CLOSING: [&str; 7] = [
    "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/out-of-service",
    "node.cloudprovider.kubernetes.io/shutdown",
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "cloud.google.com/impending-node-termination",
];
const CLOSING_PREFIX: &str = "aws-node-termination-handler/";

/// What says that a node is to be emptied, if anything does, as the end of a sentence about it. Whether pods tolerate it does not matter: who drains
/// a node evicts them all the same.
pub fn closing(node: &NodeRoom) -> Option<String> {
    if node.unschedulable {
        return Some("is cordoned".to_owned());
    }
    let says =
        |taint: &&Taint| CLOSING.contains(&taint.key.as_str()) || taint.key.starts_with(CLOSING_PREFIX);
    let taint = node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule").find(says)?;
    Some(format!("has the taint {}", taint.key))
}

impl NodeRoom {
    /// A node that no pod has claimed anything of yet.
    pub fn of(name: String, labels: BTreeMap<String, String>, spec: NodeSpec, status: &NodeStatus) -> Self {
        Self {
            name,
            labels,
            taints: spec.taints,
            unschedulable: spec.unschedulable,
            ready: status.is_ready(),
            shares: shares(&status.allocatable),
            pods: Crowd::default(),
        }
    }
}

fn shares(allocatable: &BTreeMap<String, Quantity>) -> BTreeMap<SmolStr, Share> {
    let share = |(name, allocatable): (String, _)| (name.into(), Share { allocatable, requested: 0 });
    amounts(allocatable).into_iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(spec: Value, status: Value) -> NodeRoom {
        let (spec, status): (NodeSpec, NodeStatus) =
            (serde_json::from_value(spec).unwrap(), serde_json::from_value(status).unwrap());
        NodeRoom::of("a".to_owned(), BTreeMap::from([("zone".to_owned(), "z".to_owned())]), spec, &status)
    }

    #[test]
    fn a_node_is_read_with_all_that_keeps_pods_off() {
        let spec = json!({"unschedulable": true, "taints": [
            {"key": "gpu", "value": "v", "effect": "NoSchedule", "timeAdded": "9999-12-31T23:59:59Z"},
            {"key": "bare", "effect": "NoExecute"}
        ]});
        let taint = |key: &str, value: &str, effect: &str| Taint {
            key: key.into(),
            value: value.into(),
            effect: effect.into(),
        };
        let expected = NodeRoom {
            name: "a".to_owned(),
            labels: BTreeMap::from([("zone".to_owned(), "z".to_owned())]),
            taints: vec![taint("gpu", "v", "NoSchedule"), taint("bare", "", "NoExecute")],
            unschedulable: true,
            ..NodeRoom::default()
        };
        assert_eq!(node(spec, json!({"conditions": null})), expected);
    }

    #[test]
    fn a_node_whose_kubelet_is_silent_is_lost_and_one_that_says_no_is_not() {
        let with = |kind: &str, status: &str| -> NodeStatus {
            serde_json::from_value(json!({"conditions": [{"type": kind, "status": status}]})).unwrap()
        };
        let states = ["True", "False", "Unknown"].map(|status| with("Ready", status));
        assert_eq!(states.each_ref().map(NodeStatus::is_ready), [true, false, false]);
        assert_eq!(states.each_ref().map(NodeStatus::is_lost), [false, false, true]);
        let pressure = |status| with("MemoryPressure", status);
        assert!(!pressure("True").is_ready() && !pressure("Unknown").is_lost());
    }

    #[test]
    fn a_node_that_is_to_be_emptied_says_so_by_a_cordon_or_a_taint() {
        let of = |spec: Value| closing(&node(spec, json!({})));
        assert_eq!(of(json!({"unschedulable": true})).as_deref(), Some("is cordoned"));
        let tainted = |key: &str, effect: &str| of(json!({"taints": [{"key": key, "effect": effect}]}));
        for key in [
            "ToBeDeletedByClusterAutoscaler",
            "karpenter.sh/disrupted",
            "aws-node-termination-handler/spot-itn",
        ] {
            assert_eq!(tainted(key, "NoSchedule"), Some(format!("has the taint {key}")));
        }
        assert_eq!(
            tainted("node.kubernetes.io/unreachable", "NoExecute"),
            None,
            "it is lost, which is another matter"
        );
        assert_eq!(tainted("nvidia.com/gpu", "NoSchedule"), None);
        assert_eq!(tainted("karpenter.sh/disrupted", "PreferNoSchedule"), None);
        assert_eq!(of(json!({})), None);
    }
}
