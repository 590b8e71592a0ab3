//! The rules that hold at every moment, checked at every change of the store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rayfleet_api::spec::StrategyType;
use rayfleet_api::status::{Goal, GroupStatus, Phase};
use rayfleet_api::{RayClusterFleet, ValidFleet, names};
use rayfleet_sim_kube::api::{ApiServer, Kind};
use serde::Deserialize;
use serde_json::Value;

use crate::run::divergence::History;
use crate::run::faults::Shared;

/// How long a decision that was right when it was made may still be carried out after the spec has changed.
const CARRIED_OUT: Duration = Duration::from_secs(20);

/// The taint by which scenarios announce the end of a machine.
const SPOT: &str = "aws-node-termination-handler/spot-itn";

/// Extremes over a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extremes {
    /// Fewest groups that took traffic, counted from the first moment at which all did.
    pub fewest: Option<u32>,
    /// Most groups at one time: RayClusters, and groups of which only pods were left.
    pub most: usize,
}

/// What one spec allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    /// Fewest groups that must take traffic.
    floor: u32,
    /// Most groups that may exist.
    ceiling: usize,
}

#[derive(Default)]
struct State {
    extremes: Extremes,
    history: History,
    wanted_first: Option<u32>,
    /// Resource version of the fleet at the last check.
    version: Option<String>,
    spec: Option<i64>,
    bounds: VecDeque<(Duration, Bounds)>,
    clusters: BTreeSet<String>,
    /// Groups whose RayCluster exists or whose pods still hold their resources.
    existing: BTreeSet<String>,
    made: BTreeSet<String>,
    /// Gates by pod; true if open.
    gates: BTreeMap<String, bool>,
    phases: BTreeMap<String, Phase>,
    /// Goals of the groups in the ledger; `None` while there is no fleet.
    goals: Option<BTreeMap<String, Goal>>,
    rollout: String,
    generation: i64,
    launches: BTreeMap<String, u32>,
}

/// Follows the store and checks.
#[derive(Clone)]
pub struct Watch {
    namespace: String,
    fleet: String,
    api: ApiServer,
    shared: Shared,
    state: Arc<Mutex<State>>,
}

impl Extremes {
    /// Records how many groups take traffic and how many exist. `wanted` is the number of groups in the
    /// first spec, if the fleet exists.
    pub fn take(&mut self, taking: u32, clusters: usize, wanted: Option<u32>) {
        self.most = self.most.max(clusters);
        let Some(wanted) = wanted else { return };
        if taking >= wanted || self.fewest.is_some() {
            self.fewest = Some(self.fewest.map_or(taking, |fewest| fewest.min(taking)));
        }
    }
}

/// Whether a pod is the head of a group that takes traffic.
pub fn takes_traffic(pod: &Value) -> bool {
    label(pod, names::RAY_LABEL_NODE_TYPE) == "head"
        && is_true(pod, names::GATE_SERVING)
        && is_true(pod, "Ready")
}

impl Watch {
    /// A watch over a fleet.
    pub fn new(namespace: &str, fleet: &str, api: ApiServer, shared: Shared) -> Self {
        let (namespace, fleet) = (namespace.to_owned(), fleet.to_owned());
        Self { namespace, fleet, api, shared, state: Arc::default() }
    }

    /// The extremes so far.
    pub fn extremes(&self) -> Extremes {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).extremes
    }

    /// What the status has reported so far.
    pub fn history(&self) -> History {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).history.clone()
    }

    /// Number of RayClusters created so far.
    pub fn groups_made(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).made.len()
    }

    /// Checks after every relevant change, forever.
    pub async fn follow(self) {
        let mut version = self.api.version();
        self.look();
        loop {
            let newer = self.api.changed_since(version).await;
            if self.api.may_have_changed(&[Kind::FLEET, Kind::RAY_CLUSTER, Kind::POD, Kind::NODE], version) {
                self.look();
            } else {
                self.lasts();
            }
            version = newer;
        }
    }

    fn lasts(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.history.lasts(self.shared.trace.now());
    }

    fn look(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.api.list(&Kind::FLEET);
        let ours = |fleet: &&Arc<Value>| {
            name_of(fleet) == self.fleet && fleet["metadata"]["namespace"] == *self.namespace
        };
        let raw = all.iter().find(ours);
        let version = raw.map(|raw| raw["metadata"]["resourceVersion"].to_string());
        state.history.lasts(self.shared.trace.now());
        if state.version != version {
            state.version = version;
            state.goals = None;
            // The orchestrator does not act on a fleet that cannot be parsed either.
            let fleet = raw.and_then(|raw| RayClusterFleet::deserialize(&**raw).ok());
            state.history.take(fleet.as_ref(), self.shared.trace.now());
            if let Some(fleet) = &fleet {
                self.bounds(&mut state, fleet);
                self.ledger(&mut state, fleet);
            }
        }
        self.forget_bounds(&mut state);
        self.clusters(&mut state);
        self.traffic(&mut state, raw.is_some());
    }

    fn bounds(&self, state: &mut State, fleet: &RayClusterFleet) {
        let spec = fleet.metadata.generation;
        if state.spec.is_some() && state.spec == spec {
            return;
        }
        state.spec = spec;
        // The orchestrator does not act on an invalid spec: the one before stays in force.
        let Ok(valid) = ValidFleet::new(fleet) else { return };
        let strategy = &valid.strategy;
        let (surge, spare) = match strategy.kind {
            StrategyType::RollingUpdate => (strategy.max_surge, strategy.max_unavailable),
            // All old groups are removed before new ones are created.
            StrategyType::Recreate => (0, valid.replicas),
        };
        // A fleet that is being deleted wants no group to take traffic.
        let spare = if valid.deleting { valid.replicas } else { spare };
        let ceiling = valid.replicas.saturating_add(surge);
        let bounds = Bounds {
            floor: valid.replicas.saturating_sub(spare),
            ceiling: usize::try_from(ceiling).unwrap_or(usize::MAX),
        };
        state.wanted_first.get_or_insert(valid.replicas);
        if state.bounds.back().is_none_or(|(_, last)| *last != bounds) {
            state.bounds.push_back((self.shared.trace.now(), bounds));
        }
    }

    fn forget_bounds(&self, state: &mut State) {
        let now = self.shared.trace.now();
        // The newest bounds hold forever, older ones until what they led to is carried out.
        while state.bounds.get(1).is_some_and(|(since, _)| now.saturating_sub(*since) > CARRIED_OUT) {
            state.bounds.pop_front();
        }
    }

    /// Checks that the status moves forward only, and records every phase.
    fn ledger(&self, state: &mut State, fleet: &RayClusterFleet) {
        let status = fleet.status.clone().unwrap_or_default();
        let generation = status.observed_generation.unwrap_or_default();
        if generation < state.generation {
            self.shared
                .breach(format!("the status went back from generation {} to {generation}", state.generation));
        }
        state.generation = generation;
        state.goals = Some(status.groups.iter().map(|group| (group.name.to_string(), group.goal)).collect());
        // A group that was removed may be created again under the same name.
        state.launches.retain(|name, _| status.groups.iter().any(|group| group.name == *name));
        for group in &status.groups {
            let GroupStatus { name, phase, launch, .. } = group;
            let before = state.launches.insert(name.to_string(), *launch).unwrap_or_default();
            if *launch < before {
                self.shared.breach(format!("group {name} went back from launch {before} to {launch}"));
            }
            if state.phases.insert(name.to_string(), *phase) != Some(*phase) {
                let message = group.message.as_deref().unwrap_or_default();
                self.shared.trace.add("phase", format!("{name} {} {message}", phase.as_str()));
            }
        }
        let Some(rollout) = status.rollout else { return };
        let words = format!("{} {}", rollout.step, rollout.reason.unwrap_or_default());
        if words != state.rollout {
            self.shared.trace.add("rollout", words.clone());
            state.rollout = words;
        }
    }

    /// Checks that the number of groups never exceeds `replicas + maxSurge`, and that none is created
    /// that is not in the ledger.
    fn clusters(&self, state: &mut State) {
        let all = self.ours(&Kind::RAY_CLUSTER);
        let clusters: BTreeSet<String> = all.iter().map(|cluster| name_of(cluster).to_owned()).collect();
        // AIBrix's label: such a RayCluster is adopted, not created.
        let taken = all.iter().filter(|cluster| !label(cluster, "pod-template-hash").is_empty());
        let taken: BTreeSet<&str> = taken.map(|cluster| name_of(cluster)).collect();
        let existing: BTreeSet<String> = clusters.iter().cloned().chain(self.hold_hardware()).collect();
        let risen = existing.difference(&state.existing).next().is_some();
        let ceiling = state.bounds.iter().map(|(_, bounds)| bounds.ceiling).max();
        if risen && ceiling.is_some_and(|ceiling| existing.len() > ceiling) {
            let names: Vec<&str> = existing.iter().map(String::as_str).collect();
            self.shared.breach(format!(
                "{} groups exist, at most {} allowed: {}",
                existing.len(),
                ceiling.unwrap_or_default(),
                names.join(", ")
            ));
        }
        for name in clusters.difference(&state.clusters) {
            let unknown = state.goals.as_ref().is_some_and(|goals| !goals.contains_key(name));
            if unknown && !taken.contains(name.as_str()) {
                self.shared.breach(format!("{name} was created and is not in the ledger"));
            }
        }
        state.made.extend(clusters.iter().cloned());
        state.clusters = clusters;
        state.existing = existing;
    }

    /// Groups with a pod on an existing node whose containers have not all ended: they hold GPUs, whatever
    /// became of their RayCluster.
    fn hold_hardware(&self) -> BTreeSet<String> {
        let lost: BTreeSet<String> = self
            .api
            .list(&Kind::NODE)
            .iter()
            .filter(|node| condition(node, "Ready").is_some_and(|ready| ready["status"] == "Unknown"))
            .map(|node| name_of(node).to_owned())
            .collect();
        let holds = |pod: &&Arc<Value>| {
            let node = pod["spec"]["nodeName"].as_str();
            let over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            // A pod that only carries the labels belongs to no group.
            let controlled = pod["metadata"]["ownerReferences"].is_array();
            controlled && !over && node.is_some_and(|node| !lost.contains(node))
        };
        let pods = self.ours(&Kind::POD);
        pods.iter().filter(holds).map(|pod| label(pod, names::RAY_LABEL_CLUSTER).to_owned()).collect()
    }

    /// Checks that a drain never reduces the groups that take traffic below `replicas - maxUnavailable`, and
    /// that no group starts to take traffic that is to be removed.
    fn traffic(&self, state: &mut State, there: bool) {
        let heads: Vec<Arc<Value>> = self
            .ours(&Kind::POD)
            .into_iter()
            .filter(|pod| label(pod, names::RAY_LABEL_NODE_TYPE) == "head")
            .collect();
        let taking =
            u32::try_from(heads.iter().filter(|head| takes_traffic(head)).count()).unwrap_or(u32::MAX);
        let floor = state.bounds.iter().map(|(_, bounds)| bounds.floor).min().unwrap_or_default();
        let mut gates = BTreeMap::new();
        for head in &heads {
            let (name, is_open) = (name_of(head).to_owned(), is_true(head, names::GATE_SERVING));
            let closed = state.gates.get(&name) == Some(&true) && !is_open;
            // A group that somebody suspends loses its pods in any case, so it costs no budget.
            let suspended = self
                .api
                .get(&Kind::RAY_CLUSTER, &self.namespace, label(head, names::RAY_LABEL_CLUSTER))
                .is_some_and(|cluster| cluster["spec"]["suspend"] == true);
            // The same holds for a group whose machine ends.
            let ends = closed && self.is_on_a_machine_that_ends(label(head, names::RAY_LABEL_CLUSTER));
            let drained = closed && !suspended && !ends && reason(head, names::GATE_SERVING) == "Draining";
            if drained && taking < floor {
                self.shared.breach(format!(
                    "{name} was drained: {taking} groups take traffic, at least {floor} required"
                ));
            }
            let opened = is_open && state.gates.get(&name) != Some(&true);
            let goal =
                state.goals.as_ref().and_then(|goals| goals.get(label(head, names::RAY_LABEL_CLUSTER)));
            if opened && state.goals.is_some() && goal != Some(&Goal::Serve) {
                self.shared.breach(format!("{name} starts to take traffic although its goal is {goal:?}"));
            }
            gates.insert(name, is_open);
        }
        state.gates = gates;
        let (existing, wanted) = (state.existing.len(), state.wanted_first.filter(|_| there));
        state.extremes.take(taking, existing, wanted);
    }

    /// Whether the end of the machine of one of a group's pods was announced.
    fn is_on_a_machine_that_ends(&self, group: &str) -> bool {
        let nodes = self.api.list(&Kind::NODE);
        let ends = |node: &Arc<Value>| {
            let taints = node["spec"]["taints"].as_array().map(Vec::as_slice).unwrap_or_default();
            taints.iter().any(|taint| taint["key"] == SPOT)
        };
        let ends: BTreeSet<&str> = nodes.iter().filter(|node| ends(node)).map(|node| name_of(node)).collect();
        let pods = self.ours(&Kind::POD);
        pods.iter()
            .filter(|pod| label(pod, names::RAY_LABEL_CLUSTER) == group)
            .any(|pod| pod["spec"]["nodeName"].as_str().is_some_and(|node| ends.contains(node)))
    }

    fn ours(&self, kind: &Kind) -> Vec<Arc<Value>> {
        let mut all = self.api.list(kind);
        all.retain(|object| label(object, names::LABEL_FLEET) == self.fleet);
        all
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn label<'a>(object: &'a Value, label: &str) -> &'a str {
    object["metadata"]["labels"][label].as_str().unwrap_or_default()
}

fn condition<'a>(pod: &'a Value, type_: &str) -> Option<&'a Value> {
    pod["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

fn is_true(pod: &Value, type_: &str) -> bool {
    condition(pod, type_).is_some_and(|condition| condition["status"] == "True")
}

fn reason<'a>(pod: &'a Value, type_: &str) -> &'a str {
    condition(pod, type_).and_then(|condition| condition["reason"].as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
