//! Converts Kubernetes Nodes to the numbers of capacity. Fields that are not named here are skipped while
//! reading, so that unknown content can neither break the parsing nor use memory.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rayfleet_api::NodeName;
use serde::Deserialize;
use smol_str::SmolStr;

use super::neighbours::Crowd;
use super::node_room::{NodeRoom, Share, Taint};
use super::pods::or_default;
use super::quantity::amounts;

/// The message of a kubelet in its node's condition Ready while it terminates pods for a shutdown
/// (Kubernetes' `pkg/kubelet/nodeshutdown`, `ShutdownStatus`). Other errors may precede and follow it.
const SHUTTING_DOWN: &str = "node is shutting down";

/// The parts of a node's spec that are read.
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

/// The parts of a node's status that are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// Allocatable resources.
    #[serde(deserialize_with = "or_default")]
    allocatable: BTreeMap<String, Quantity>,
    /// Conditions set by the kubelet and Kubernetes.
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<NodeCondition>,
}

/// A condition of a node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeCondition {
    r#type: String,
    status: String,
    message: Option<String>,
}

impl NodeStatus {
    /// Whether the kubelet has been silent for so long that Kubernetes set Ready to Unknown.
    pub fn is_lost(&self) -> bool {
        self.says("Ready", "Unknown")
    }

    /// Whether the kubelet reports that its node can run pods.
    pub fn is_ready(&self) -> bool {
        self.says("Ready", "True")
    }

    /// Whether its kubelet terminates all pods because the machine is being shut down or rebooted. It sets no
    /// deletion timestamp on them; this message is the only sign before their containers have ended.
    pub fn shuts_down(&self) -> bool {
        let says = |condition: &NodeCondition| {
            let text = condition.message.as_deref().unwrap_or_default();
            condition.r#type == "Ready" && condition.status == "False" && text.contains(SHUTTING_DOWN)
        };
        self.conditions.iter().any(says)
    }

    fn says(&self, kind: &str, status: &str) -> bool {
        self.conditions.iter().any(|condition| condition.r#type == kind && condition.status == status)
    }
}

impl NodeRoom {
    /// A node without requests of pods.
    pub fn of(name: NodeName, labels: BTreeMap<String, String>, spec: NodeSpec, status: &NodeStatus) -> Self {
        Self {
            name,
            labels,
            shuts_down: status.shuts_down(),
            deleting: false,
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
        NodeRoom::of("a".into(), BTreeMap::from([("zone".to_owned(), "z".to_owned())]), spec, &status)
    }

    #[test]
    fn a_node_is_read_with_everything_that_excludes_pods() {
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
            name: "a".into(),
            labels: BTreeMap::from([("zone".to_owned(), "z".to_owned())]),
            taints: vec![taint("gpu", "v", "NoSchedule"), taint("bare", "", "NoExecute")],
            unschedulable: true,
            ..NodeRoom::default()
        };
        assert_eq!(node(spec, json!({"conditions": null})), expected);
    }

    #[test]
    fn a_node_with_a_silent_kubelet_is_lost_and_one_that_is_not_ready_is_not() {
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
    fn a_kubelet_that_shuts_down_is_recognized_by_its_condition() {
        let with = |kind: &str, status: &str, message: &str| -> NodeStatus {
            let condition =
                json!({"type": kind, "status": status, "reason": "KubeletNotReady", "message": message});
            serde_json::from_value(json!({"conditions": [condition]})).unwrap()
        };
        for message in
            ["node is shutting down", "[container runtime is down, node is shutting down]. WARNING: x"]
        {
            assert!(with("Ready", "False", message).shuts_down(), "{message}");
            assert!(
                node(
                    json!({}),
                    json!({"conditions": [{"type": "Ready", "status": "False", "message": message}]})
                )
                .shuts_down
            );
        }
        for (kind, status, message) in [
            ("Ready", "False", "container runtime is down"),
            ("Ready", "Unknown", "node is shutting down"),
            ("Ready", "True", "node is shutting down"),
            ("Other", "False", "node is shutting down"),
        ] {
            assert!(!with(kind, status, message).shuts_down(), "{kind} {status}");
        }
        assert!(
            !serde_json::from_value::<NodeStatus>(
                json!({"conditions": [{"type": "Ready", "status": "False", "message": null}]})
            )
            .unwrap()
            .shuts_down()
        );
    }
}
