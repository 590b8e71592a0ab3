//! From Kubernetes' objects to plain numbers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{self as k8s, Container, Node, Pod, PodSpec, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;
use smol_str::SmolStr;

use super::quantity::amounts;
use super::quota::Quota;
use super::{Capacity, NodeRoom, PendingPod, Share, Taint, requests};

impl Capacity {
    /// What the nodes have and what the pods of all namespaces ask of them, within the quotas of one namespace.
    pub fn of<'o>(
        nodes: impl IntoIterator<Item = &'o Node>,
        pods: impl IntoIterator<Item = &'o Pod>,
        quotas: impl IntoIterator<Item = &'o ResourceQuota>,
    ) -> Self {
        let mut nodes: BTreeMap<String, NodeRoom> =
            nodes.into_iter().map(room).map(|room| (room.name.clone(), room)).collect();
        let mut pending = Vec::new();
        for pod in pods.into_iter().filter(|pod| !has_ended(pod)) {
            match pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
                Some(node) => {
                    if let Some(room) = nodes.get_mut(node) {
                        room.take(&requests(&value(asking(pod).as_ref())));
                    }
                }
                None => pending.push(PendingPod { name: name(pod), spec: value(pod.spec.as_ref()).into() }),
            }
        }
        let quotas = quotas.into_iter().filter_map(Quota::of).collect();
        Self { nodes: nodes.into_values().collect(), pending, quotas }
    }
}

fn value(spec: Option<&PodSpec>) -> Value {
    serde_json::to_value(spec).unwrap_or(Value::Null)
}

/// The part of a pod's spec that says what it asks for: the rest is most of it, and there are thousands of pods.
fn asking(pod: &Pod) -> Option<PodSpec> {
    let container = |container: &Container| Container {
        resources: container.resources.clone(),
        restart_policy: container.restart_policy.clone(),
        ..Container::default()
    };
    let spec = pod.spec.as_ref()?;
    Some(PodSpec {
        containers: spec.containers.iter().map(container).collect(),
        init_containers: spec.init_containers.as_ref().map(|all| all.iter().map(container).collect()),
        overhead: spec.overhead.clone(),
        resources: spec.resources.clone(),
        ..PodSpec::default()
    })
}

fn name(pod: &Pod) -> String {
    let metadata = &pod.metadata;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&metadata.namespace), part(&metadata.name))
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether a pod holds resources of a node.
pub fn takes_room(pod: &Pod) -> bool {
    !has_ended(pod) && pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

/// Whether the node's kubelet has not been heard of for so long that Kubernetes has given it up.
pub fn is_lost(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "Unknown")
}

/// Whether the kubelet says that its node can run pods.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
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
pub fn closing(node: &Node) -> Option<String> {
    let spec = node.spec.as_ref()?;
    if spec.unschedulable == Some(true) {
        return Some("is cordoned".to_owned());
    }
    let says =
        |taint: &&k8s::Taint| CLOSING.contains(&taint.key.as_str()) || taint.key.starts_with(CLOSING_PREFIX);
    let taint = spec.taints.iter().flatten().filter(|taint| taint.effect != "PreferNoSchedule").find(says)?;
    Some(format!("has the taint {}", taint.key))
}

fn room(node: &Node) -> NodeRoom {
    let spec = node.spec.clone().unwrap_or_default();
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    NodeRoom {
        name: node.metadata.name.clone().unwrap_or_default(),
        labels: node.metadata.labels.clone().unwrap_or_default(),
        taints: spec.taints.into_iter().flatten().map(taint).collect(),
        unschedulable: spec.unschedulable.unwrap_or_default(),
        ready: is_ready(node),
        shares: allocatable.map(shares).unwrap_or_default(),
    }
}

fn taint(taint: k8s::Taint) -> Taint {
    Taint { key: taint.key, value: taint.value.unwrap_or_default(), effect: taint.effect }
}

fn shares(allocatable: &BTreeMap<String, Quantity>) -> BTreeMap<SmolStr, Share> {
    let share = |(name, allocatable): (String, _)| (name.into(), Share { allocatable, requested: 0 });
    amounts(allocatable).into_iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::capacity::Resources;

    #[test]
    fn a_node_is_read_with_all_that_keeps_pods_off() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "a", "labels": {"zone": "z"}},
            "spec": {"unschedulable": true, "taints": [{"key": "gpu", "value": "v", "effect": "NoSchedule"}]},
        }))
        .unwrap();
        let expected = NodeRoom {
            name: "a".to_owned(),
            labels: BTreeMap::from([("zone".to_owned(), "z".to_owned())]),
            taints: vec![Taint { key: "gpu".into(), value: "v".into(), effect: "NoSchedule".into() }],
            unschedulable: true,
            ..NodeRoom::default()
        };
        assert_eq!(Capacity::of([&node], [], []).nodes, [expected]);
    }

    #[test]
    fn a_node_whose_kubelet_is_silent_is_lost_and_one_that_says_no_is_not() {
        let with = |type_: &str, status: &str| -> Node {
            let conditions = json!({"conditions": [{"type": type_, "status": status}]});
            serde_json::from_value(json!({"metadata": {"name": "a"}, "status": conditions})).unwrap()
        };
        let states = ["True", "False", "Unknown"].map(|status| with("Ready", status));
        assert_eq!(states.each_ref().map(is_ready), [true, false, false]);
        assert_eq!(states.each_ref().map(is_lost), [false, false, true]);
        assert!(!is_ready(&with("MemoryPressure", "True")) && !is_lost(&with("MemoryPressure", "Unknown")));
    }

    #[test]
    fn a_node_that_is_to_be_emptied_says_so_by_a_cordon_or_a_taint() {
        let of = |spec: serde_json::Value| {
            closing(&serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap())
        };
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

    #[test]
    fn a_pod_takes_all_that_its_whole_spec_asks_for() {
        let cpu = |amount: &str| json!({"requests": {"cpu": amount}, "limits": {"example.com/gpu": "1"}});
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {
                "nodeName": "a",
                "overhead": {"memory": "1Gi"},
                "resources": {"limits": {"hugepages-2Mi": "4Mi"}},
                "initContainers": [
                    {"name": "sidecar", "restartPolicy": "Always", "resources": cpu("1")},
                    {"name": "first", "resources": cpu("9")}
                ],
                "containers": [{"name": "c", "resources": cpu("2")}, {"name": "d", "resources": cpu("3")}]
            }
        }))
        .unwrap();
        let whole = requests(&value(pod.spec.as_ref()));
        assert_eq!((whole["cpu"], whole["example.com/gpu"], whole["memory"]), (10_000, 3_000, 1_000 << 30));
        assert_eq!(whole["hugepages-2Mi"], 4_000 << 20);
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
        let capacity = Capacity::of([&node], [&pod], []);
        let shares = capacity.nodes[0].shares.iter();
        assert_eq!(
            shares.map(|(name, share)| (name.to_string(), share.requested)).collect::<Resources>(),
            whole
        );
    }

    #[test]
    fn finished_pods_take_no_room_and_unscheduled_ones_wait_for_it() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "a"},
            "status": {"allocatable": {"nvidia.com/gpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]}
        }))
        .unwrap();
        let pod = |(name, node, phase): (&str, Option<&str>, &str)| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "n"},
                "spec": {"nodeName": node, "containers": [
                    {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
                ]},
                "status": {"phase": phase}
            }))
            .unwrap()
        };
        let pods =
            [("p", Some("a"), "Running"), ("q", Some("a"), "Succeeded"), ("r", None, "Pending")].map(pod);
        assert_eq!(pods.iter().map(takes_room).collect::<Vec<_>>(), [true, false, false]);
        let capacity = Capacity::of([&node], &pods, []);
        let gpus = Share { allocatable: 4_000, requested: 1_000 };
        assert_eq!(capacity.nodes[0].shares["nvidia.com/gpu"], gpus);
        assert_eq!((capacity.nodes[0].ready, capacity.pending[0].name.as_str()), (true, "n/r"));
    }
}
