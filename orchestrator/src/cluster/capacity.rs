//! What the nodes have and what their pods ask for, from the index. Pure reading.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use rayfleet_core::capacity::{Capacity, NodeRoom, PendingPod, Resources, Taint, quantity, requests};
use serde_json::Value;

use super::Known;

/// The room on the nodes.
pub(crate) fn capacity_of(known: &Known) -> Capacity {
    let mut nodes: BTreeMap<String, NodeRoom> =
        known.nodes.values().map(|node| (node.name_any(), room(node))).collect();
    let mut pending = Vec::new();
    for (key, pod) in &known.pods {
        if has_ended(pod) {
            continue;
        }
        let spec = serde_json::to_value(&pod.spec).unwrap_or(Value::Null);
        match pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
            Some(node) => {
                if let Some(room) = nodes.get_mut(node) {
                    take(room, &requests(&spec));
                }
            }
            None => pending.push(PendingPod { name: key.to_string(), spec }),
        }
    }
    Capacity { nodes: nodes.into_values().collect(), pending }
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether a pod holds resources of a node.
pub(crate) fn takes_room(pod: &Pod) -> bool {
    !has_ended(pod) && pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

/// Whether the node's kubelet has not been heard of for so long that Kubernetes has given it up.
pub(crate) fn is_lost(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "Unknown")
}

/// Whether the kubelet says that its node can run pods.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn take(room: &mut NodeRoom, asked: &Resources) {
    for (name, amount) in asked {
        let sum = room.requested.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

fn room(node: &Node) -> NodeRoom {
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    NodeRoom {
        name: node.name_any(),
        labels: node.labels().clone(),
        taints: spec.taints.into_iter().flatten().map(taint).collect(),
        unschedulable: spec.unschedulable.unwrap_or_default(),
        ready: is_ready(node),
        allocatable: status.allocatable.map(amounts).unwrap_or_default(),
        requested: Resources::new(),
    }
}

fn taint(taint: k8s_openapi::api::core::v1::Taint) -> Taint {
    Taint { key: taint.key, value: taint.value.unwrap_or_default(), effect: taint.effect }
}

fn amounts(quantities: BTreeMap<String, Quantity>) -> Resources {
    quantities.into_iter().filter_map(|(name, amount)| Some((name, quantity(&amount.0)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::Index;

    #[test]
    fn finished_pods_take_no_room_and_unscheduled_ones_wait_for_it() {
        let index = Index::default();
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "a"},
            "status": {"allocatable": {"nvidia.com/gpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]}
        }))
        .unwrap();
        index.apply(node);
        for (name, node, phase) in
            [("p", Some("a"), "Running"), ("q", Some("a"), "Succeeded"), ("r", None, "Pending")]
        {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "n"},
                "spec": {"nodeName": node, "containers": [
                    {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
                ]},
                "status": {"phase": phase}
            }))
            .unwrap();
            index.apply(pod);
        }
        let capacity = index.read(capacity_of);
        assert_eq!(capacity.nodes[0].requested["nvidia.com/gpu"], 1_000);
        assert_eq!(capacity.nodes[0].allocatable["nvidia.com/gpu"], 4_000);
        assert_eq!(capacity.pending.len(), 1);
    }
}
