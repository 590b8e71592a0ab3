//! From Kubernetes' objects to plain numbers. Only what capacity needs is named here; whatever else an object holds is skipped while it
//! is read, so that nothing in it can make it unreadable and nothing of it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use super::quantity::amounts;
use super::{NodeRoom, Share, Taint, requests};

/// Longest text of the rules of a pod that waits (affinity, tolerations and the like) that is kept, in bytes. Nobody's rules are so
/// long; whose are, are taken for a pod that may run anywhere.
const LONGEST_RULES: usize = 32 << 10;
/// Fields of a pod's spec that say where it may go.
const RULES: [&str; 4] = ["nodeSelector", "affinity", "tolerations", "topologySpreadConstraints"];
/// No pod asks for more than this, in thousandths: sums over all pods of a cluster stay far from overflowing, whatever is asked for.
const MOST: i128 = 1 << 90;

/// What a pod asks for, by resource, in thousandths. Short: there are as many of these as pods in the cluster.
pub type Asked = Box<[(SmolStr, i128)]>;

/// What a pod takes of the room on nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Claim {
    /// Nothing: it has ended.
    #[default]
    Nothing,
    /// Room on a node.
    On(SmolStr, Asked),
    /// It waits for a node. The part of its spec that says where it may go and what it asks for.
    Waiting(Arc<Value>),
}

impl Claim {
    /// Whether it holds resources of a node.
    pub fn takes_room(&self) -> bool {
        matches!(self, Self::On(..))
    }
}

/// The part of a pod's spec that capacity needs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node that it is bound to.
    #[serde(skip_serializing)]
    pub node_name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    containers: Vec<Container>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    init_containers: Vec<Container>,
    #[serde(skip_serializing_if = "Value::is_null")]
    overhead: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    resources: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    node_selector: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    affinity: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    tolerations: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    topology_spread_constraints: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    priority_class_name: Value,
    #[serde(skip_serializing, deserialize_with = "or_default")]
    readiness_gates: Vec<ReadinessGate>,
}

/// A condition that a pod waits for until it is ready.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadinessGate {
    condition_type: String,
}

/// What a container asks for.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    #[serde(skip_serializing_if = "Value::is_null")]
    resources: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    restart_policy: Value,
    #[serde(skip_serializing, deserialize_with = "or_default")]
    ports: Vec<Port>,
}

/// A port of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    name: Option<String>,
    container_port: i64,
}

impl PodSpec {
    /// Whether the pod is ready only once this condition is True.
    pub fn has_gate(&self, condition: &str) -> bool {
        self.readiness_gates.iter().any(|gate| gate.condition_type == condition)
    }

    /// Ports of its containers that have a name, with that.
    pub fn named_ports(&self) -> Vec<(String, i64)> {
        let ports = self.containers.iter().flat_map(|container| &container.ports);
        ports.filter_map(|port| Some((port.name.clone()?, port.container_port))).collect()
    }

    /// What the pod takes. `phase` is its status'.
    pub fn claim(mut self, phase: Option<&str>) -> Claim {
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return Claim::Nothing;
        }
        if let Some(node) = self.node_name.take() {
            let asked = requests(&value(&self.anywhere())).into_iter();
            let asked = asked.map(|(name, amount)| (name.into(), amount.clamp(0, MOST)));
            return Claim::On(node.into(), asked.collect());
        }
        let spec = value(&self);
        let rules = spec.as_object().into_iter().flatten().filter(|(name, _)| RULES.contains(&name.as_str()));
        if rules.map(|(_, rule)| rule.to_string().len()).sum::<usize>() > LONGEST_RULES {
            return Claim::Waiting(Arc::new(value(&self.anywhere())));
        }
        Claim::Waiting(Arc::new(spec))
    }

    /// The same without the rules that say where it may go.
    fn anywhere(self) -> Self {
        let Self { containers, init_containers, overhead, resources, .. } = self;
        Self { containers, init_containers, overhead, resources, ..Self::default() }
    }
}

fn value(spec: &PodSpec) -> Value {
    serde_json::to_value(spec).unwrap_or(Value::Null)
}

/// `null` is as good as nothing.
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

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
        }
    }
}

fn shares(allocatable: &BTreeMap<String, Quantity>) -> BTreeMap<SmolStr, Share> {
    let share = |(name, allocatable): (String, _)| (name.into(), Share { allocatable, requested: 0 });
    amounts(allocatable).into_iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::capacity::{Resources, Tally};

    fn node(spec: Value, status: Value) -> NodeRoom {
        let (spec, status): (NodeSpec, NodeStatus) =
            (serde_json::from_value(spec).unwrap(), serde_json::from_value(status).unwrap());
        NodeRoom::of("a".to_owned(), BTreeMap::from([("zone".to_owned(), "z".to_owned())]), spec, &status)
    }

    fn claim(spec: &Value, phase: &str) -> Claim {
        serde_json::from_str::<PodSpec>(&spec.to_string()).unwrap().claim(Some(phase))
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

    #[test]
    fn a_pod_takes_all_that_its_whole_spec_asks_for() {
        let cpu = |amount: &str| json!({"requests": {"cpu": amount}, "limits": {"example.com/gpu": "1"}});
        let spec = json!({
            "nodeName": "a",
            "overhead": {"memory": "1Gi"},
            "resources": {"limits": {"hugepages-2Mi": "4Mi"}},
            "initContainers": [
                {"name": "sidecar", "restartPolicy": "Always", "resources": cpu("1")},
                {"name": "first", "resources": cpu("9")}
            ],
            "containers": [{"name": "c", "resources": cpu("2")}, {"name": "d", "resources": cpu("3")}]
        });
        let whole = requests(&spec);
        assert_eq!((whole["cpu"], whole["example.com/gpu"], whole["memory"]), (10_000, 3_000, 1_000 << 30));
        assert_eq!(whole["hugepages-2Mi"], 4_000 << 20);
        let Claim::On(on, asked) = claim(&spec, "Running") else { panic!("it has a node") };
        assert_eq!(on, "a");
        let asked = asked.iter().map(|(name, amount)| (name.to_string(), *amount));
        assert_eq!(asked.collect::<Resources>(), whole);
    }

    #[test]
    fn a_pod_that_waits_is_kept_with_its_rules_and_without_its_environment() {
        let spec = json!({
            "containers": [{
                "name": "c", "image": "i", "env": [{"name": "TOKEN", "value": "secret"}],
                "resources": {"limits": {"nvidia.com/gpu": "1"}}
            }],
            "nodeSelector": {"zone": "z"}, "tolerations": [{"operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}}, "topologySpreadConstraints": [{"maxSkew": 1}],
            "priorityClassName": "high", "initContainers": null, "serviceAccountName": "s"
        });
        let kept = json!({
            "containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}],
            "nodeSelector": {"zone": "z"}, "tolerations": [{"operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}}, "topologySpreadConstraints": [{"maxSkew": 1}],
            "priorityClassName": "high"
        });
        assert_eq!(claim(&spec, "Pending"), Claim::Waiting(Arc::new(kept)));
    }

    #[test]
    fn rules_that_nobody_would_write_are_not_kept() {
        let long: Vec<Value> =
            (0..2_000).map(|n| json!({"key": format!("key-{n}"), "operator": "Exists"})).collect();
        let spec = json!({"containers": [], "tolerations": long, "overhead": {"cpu": "1"}});
        assert_eq!(claim(&spec, "Pending"), Claim::Waiting(Arc::new(json!({"overhead": {"cpu": "1"}}))));
    }

    #[test]
    fn no_amount_is_so_large_or_so_small_that_sums_go_wrong() {
        let spec = json!({"nodeName": "a", "containers": [
            {"resources": {"requests": {"cpu": "9999999999E", "memory": "-5"}}}
        ]});
        let Claim::On(_, asked) = claim(&spec, "Running") else { panic!("it has a node") };
        assert_eq!(asked.iter().map(|(_, amount)| *amount).collect::<Vec<_>>(), [MOST, 0, 1_000]);
    }

    #[test]
    fn finished_pods_take_no_room_and_unscheduled_ones_wait_for_it() {
        let room = node(
            json!({}),
            json!({"allocatable": {"nvidia.com/gpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]}),
        );
        let spec = |node: Option<&str>| json!({"nodeName": node, "containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]});
        let pods = [("p", Some("a"), "Running"), ("q", Some("a"), "Succeeded"), ("r", None, "Pending")];
        let claims = pods.map(|(name, node, phase)| (name, claim(&spec(node), phase)));
        assert_eq!(claims.each_ref().map(|(_, claim)| claim.takes_room()), [true, false, false]);
        let mut tally = Tally::default();
        tally.set_node(Arc::new(room));
        for (name, claim) in &claims {
            tally.add(name, claim);
        }
        let capacity = tally.capacity([]);
        let gpus = Share { allocatable: 4_000, requested: 1_000 };
        assert_eq!(capacity.nodes[0].shares["nvidia.com/gpu"], gpus);
        assert_eq!((capacity.nodes[0].ready, capacity.pending[0].name.as_str()), (true, "r"));
    }
}
