//! Converts Kubernetes Pods to their requests and to what other pods' rules match. Fields that are not named
//! here are skipped while reading, so that unknown content can neither break the parsing nor use memory.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use rayfleet_api::NodeName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::neighbours::{Labels, Neighbour, Port};
use super::requests::requests;

/// Longest spec of a waiting pod that is kept, in bytes of JSON. A pod with a longer one counts as a pod that
/// may run anywhere.
const LONGEST_SPEC: usize = 8 << 10;
/// The most resources and host ports of a pod that are counted.
const MOST_RESOURCES: usize = 64;
const MOST_PORTS: usize = 64;
/// Upper limit of a request, in thousandths: it keeps sums over all pods of a cluster far from overflow.
const MOST: i128 = 1 << 90;
/// The scheduler of pods that name none.
const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// Requests of a pod, by resource, in thousandths. Compact and shared, because there are as many as pods in
/// the cluster.
pub type Asked = Arc<[(SmolStr, i128)]>;

/// The room that a pod takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Claim {
    /// None: it has ended, or will never get a node.
    #[default]
    Nothing,
    /// Room on a node: its requests, and the pod as others' rules match it.
    On(NodeName, Asked, Arc<Neighbour>),
    /// It waits for a node.
    Waiting(Waiting),
}

/// A pod that waits for a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waiting {
    /// The part of its spec with its requests and its rules.
    pub spec: Arc<Value>,
    /// The pod as other pods' rules match it.
    pub pod: Arc<Neighbour>,
    /// Scheduler whose queue it is in; empty for Kubernetes' default scheduler.
    pub scheduler: SmolStr,
}

/// Data about a pod from outside of its spec.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its labels.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// The phase in its status.
    pub phase: Option<&'a str>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Claim {
    /// Whether it takes room from others, now or once it has a node.
    pub fn takes_room(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// The parts of a pod's spec that capacity needs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Its node.
    #[serde(skip_serializing)]
    pub node_name: Option<NodeName>,
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
    #[serde(skip_serializing)]
    host_network: Option<bool>,
    #[serde(skip_serializing)]
    scheduler_name: Option<String>,
    /// A scheduling gate, which keeps it out of every scheduler's queue.
    #[serde(skip_serializing, deserialize_with = "or_default")]
    scheduling_gates: Vec<serde::de::IgnoredAny>,
}

/// A readiness gate.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadinessGate {
    condition_type: String,
}

/// Resources of a container.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    #[serde(skip_serializing_if = "Value::is_null")]
    resources: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    restart_policy: Value,
    #[serde(skip_serializing, deserialize_with = "or_default")]
    ports: Vec<Exposed>,
    #[serde(skip_serializing, deserialize_with = "or_default")]
    env: Vec<Variable>,
}

/// A variable of a container's environment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Variable {
    name: String,
    value: Option<String>,
    value_from: Option<Source>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Source {
    secret_key_ref: Option<SecretKey>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SecretKey {
    name: String,
}

/// A port of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Exposed {
    name: Option<String>,
    container_port: i64,
    host_port: Option<i64>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
    protocol: Option<String>,
}

impl PodSpec {
    /// Whether the pod has this condition as a readiness gate.
    pub fn has_gate(&self, condition: &str) -> bool {
        self.readiness_gates.iter().any(|gate| gate.condition_type == condition)
    }

    /// Named ports of its containers.
    pub fn named_ports(&self) -> Vec<(String, i64)> {
        let ports = self.containers.iter().flat_map(|container| &container.ports);
        ports.filter_map(|port| Some((port.name.clone()?, port.container_port))).collect()
    }

    /// The Secret from which a container takes the variable `name`: the first one that also has the variable `beside` with its
    /// value. Of several variables of one name the last one counts.
    pub fn secret_of(&self, name: &str, beside: (&str, &str)) -> Option<String> {
        self.containers.iter().find_map(|container| {
            let variable = |name: &str| container.env.iter().rfind(|variable| variable.name == name);
            variable(beside.0).filter(|variable| variable.value.as_deref() == Some(beside.1))?;
            Some(variable(name)?.value_from.as_ref()?.secret_key_ref.as_ref()?.name.clone())
        })
    }

    /// The room that the pod takes.
    pub fn claim(mut self, about: &About<'_>) -> Claim {
        if matches!(about.phase, Some("Succeeded" | "Failed")) {
            return Claim::Nothing;
        }
        let labels = about.labels.map(Labels::from).unwrap_or_default();
        let pod = |spec: &Self| Arc::new(spec.neighbour(about.namespace, labels));
        if let Some(node) = self.node_name.take() {
            let pod = pod(&self);
            return Claim::On(node, self.asked(), pod);
        }
        // No scheduler has it in its queue, or ever will.
        if about.deleting || !self.scheduling_gates.is_empty() {
            return Claim::Nothing;
        }
        let pod = pod(&self);
        let scheduler = queue(self.scheduler_name.as_deref());
        let mut spec = value(&self);
        if spec.to_string().len() > LONGEST_SPEC {
            let quantity = |(name, amount): &(SmolStr, i128)| (name.to_string(), json!(format!("{amount}m")));
            let asked: serde_json::Map<String, Value> =
                self.asked().iter().filter(|(name, _)| name != "pods").map(quantity).collect();
            spec = json!({"containers": [{"resources": {"requests": asked}}]});
        }
        Claim::Waiting(Waiting { spec: Arc::new(spec), pod, scheduler })
    }

    /// The pod as other pods' rules match it.
    pub(super) fn neighbour(&self, namespace: &str, labels: Labels) -> Neighbour {
        Neighbour::new(namespace, labels, &self.affinity, self.host_ports())
    }

    /// The pod's requests; of too many resources the first ones, always with `pods`.
    fn asked(self) -> Asked {
        let Self { containers, init_containers, overhead, resources, .. } = self;
        let amounts = Self { containers, init_containers, overhead, resources, ..Self::default() };
        let mut asked = requests(&value(&amounts));
        let pods = asked.remove_entry("pods");
        let asked = pods.into_iter().chain(asked).take(MOST_RESOURCES);
        asked.map(|(name, amount)| (name.into(), amount.clamp(0, MOST))).collect()
    }

    /// Host ports that the pod uses.
    fn host_ports(&self) -> Vec<Port> {
        let on_host = self.host_network == Some(true);
        let sidecars = self.init_containers.iter().filter(|init| init.restart_policy == "Always");
        let all = self.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
        let mut ports: Vec<Port> = all
            .filter_map(|port| {
                let given = port.host_port.filter(|number| *number > 0);
                let number = given.or_else(|| on_host.then_some(port.container_port))?;
                let address = port.host_ip.as_deref().filter(|address| *address != "0.0.0.0");
                let protocol = port.protocol.as_deref().unwrap_or("TCP").into();
                Some(Port { number, protocol, address: address.unwrap_or_default().into() })
            })
            .take(MOST_PORTS)
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

impl Neighbour {
    /// Builds it from a pod spec.
    pub fn of(namespace: &str, labels: Labels, spec: &Value) -> Self {
        PodSpec::deserialize(spec).unwrap_or_default().neighbour(namespace, labels)
    }
}

/// The queue of a scheduler; empty for Kubernetes' default one.
pub(super) fn queue(scheduler: Option<&str>) -> SmolStr {
    scheduler.filter(|name| *name != DEFAULT_SCHEDULER).unwrap_or_default().into()
}

fn value(spec: &PodSpec) -> Value {
    serde_json::to_value(spec).unwrap_or(Value::Null)
}

/// `null` counts as absent.
pub(super) fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Shares identical parts of pods: most of a cluster's pods are copies of a few.
#[derive(Debug, Default)]
pub struct Alike {
    pods: Shared<Neighbour>,
    asked: Shared<[(SmolStr, i128)]>,
    specs: Shared<Value>,
}

impl Alike {
    /// Replaces parts of a claim by identical known ones.
    pub fn share(&mut self, claim: &mut Claim) {
        match claim {
            Claim::Nothing => {}
            Claim::On(_, asked, pod) => {
                self.asked.share(asked);
                self.pods.share(pod);
            }
            Claim::Waiting(Waiting { spec, pod, .. }) => {
                self.specs.share(spec);
                self.pods.share(pod);
            }
        }
    }
}

#[derive(Debug)]
struct Shared<T: ?Sized> {
    known: HashSet<Arc<T>>,
    /// Number of entries at the last removal of unused ones.
    swept: usize,
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self { known: HashSet::new(), swept: 0 }
    }
}

impl<T: ?Sized + Eq + Hash> Shared<T> {
    fn share(&mut self, own: &mut Arc<T>) {
        if let Some(known) = self.known.get(&*own) {
            *own = known.clone();
            return;
        }
        // As many entries are checked as were added since, so it costs no more than adding them.
        if self.known.len() > self.swept.saturating_mul(2).saturating_add(64) {
            self.known.retain(|one| Arc::strong_count(one) > 1);
            self.swept = self.known.len();
        }
        self.known.insert(own.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::capacity::{NodeRoom, NodeSpec, NodeStatus, Resources, Share, Tally, Viewer};

    impl Alike {
        /// Known kinds of pods, as other pods' rules match them.
        pub(in crate::capacity) fn len(&self) -> usize {
            self.pods.known.len()
        }
    }

    fn claim(spec: &Value, phase: &str) -> Claim {
        let about = About { namespace: "n", phase: Some(phase), ..About::default() };
        serde_json::from_str::<PodSpec>(&spec.to_string()).unwrap().claim(&about)
    }

    fn waiting(spec: &Value) -> Waiting {
        let Claim::Waiting(waiting) = claim(spec, "Pending") else { panic!("it has no node") };
        waiting
    }

    #[test]
    fn a_pod_takes_the_requests_of_its_whole_spec() {
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
        let Claim::On(on, asked, _) = claim(&spec, "Running") else { panic!("it has a node") };
        assert_eq!(on, "a");
        let asked = asked.iter().map(|(name, amount)| (name.to_string(), *amount));
        assert_eq!(asked.collect::<Resources>(), whole);
    }

    #[test]
    fn a_waiting_pod_is_kept_with_its_rules_and_without_its_environment() {
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
        assert_eq!(*waiting(&spec).spec, kept);
    }

    #[test]
    fn rules_above_the_size_limit_are_not_kept() {
        let long: Vec<Value> =
            (0..2_000).map(|n| json!({"key": format!("key-{n}"), "operator": "Exists"})).collect();
        let spec = json!({"containers": [], "tolerations": long, "overhead": {"cpu": "1"}});
        let kept = waiting(&spec).spec;
        assert_eq!(requests(&kept)["cpu"], 1_000);
        assert_eq!(kept["tolerations"], Value::Null);
    }

    #[test]
    fn extreme_amounts_do_not_overflow_sums() {
        let spec = json!({"nodeName": "a", "containers": [
            {"resources": {"requests": {"cpu": "9999999999E", "memory": "-5"}}}
        ]});
        let Claim::On(_, asked, _) = claim(&spec, "Running") else { panic!("it has a node") };
        assert_eq!(asked.iter().map(|(_, amount)| *amount).collect::<Vec<_>>(), [1_000, MOST, 0]);
    }

    #[test]
    fn finished_pods_take_no_room_and_unscheduled_ones_wait_for_it() {
        let status: NodeStatus = serde_json::from_value(json!({
            "allocatable": {"nvidia.com/gpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]
        }))
        .unwrap();
        let room = NodeRoom::of("a".into(), BTreeMap::new(), NodeSpec::default(), &status);
        let spec = |node: Option<&str>| json!({"nodeName": node, "containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]});
        let pods = [("p", Some("a"), "Running"), ("q", Some("a"), "Succeeded"), ("r", None, "Pending")];
        let claims = pods.map(|(name, node, phase)| (name, claim(&spec(node), phase)));
        assert_eq!(claims.each_ref().map(|(_, claim)| claim.takes_room()), [true, false, true]);
        let mut tally = Tally::default();
        tally.set_node(Arc::new(room));
        for (name, claim) in &claims {
            tally.add(name, claim);
        }
        let capacity = tally.capacity(&Viewer::default(), []);
        let gpus = Share { allocatable: 4_000, requested: 1_000 };
        assert_eq!(capacity.nodes[0].shares["nvidia.com/gpu"], gpus);
        assert_eq!((capacity.nodes[0].ready, capacity.pending[0].name.as_str()), (true, "r"));
    }
}
