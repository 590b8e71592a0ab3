//! Rules between the pods of one group: anti-affinity, affinity, topology spread.
//!
//! Which pods such a rule matches depends on labels, some of which KubeRay adds. Users write such rules about
//! one group, so they always apply to the pods of the own group; for existing pods their labels decide
//! (`beside`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::node_room::NodeRoom;

/// Every node is its own domain.
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";

/// The rules of one kind of pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// Node labels whose value no other pod of the group may share with this one.
    pub(super) apart: BTreeSet<String>,
    /// Node labels whose value all pods with this rule must share.
    pub(super) together: BTreeSet<String>,
    pub(super) spread: Vec<Spread>,
}

/// The largest difference between the numbers of pods in the domains of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) key: String,
    pub(super) skew: usize,
}

impl Rules {
    pub(super) fn of(spec: &Value) -> Self {
        let spread = spec["topologySpreadConstraints"].as_array().into_iter().flatten();
        let hard = spread.filter(|rule| rule["whenUnsatisfiable"] != "ScheduleAnyway");
        let hard = hard.filter_map(|rule| {
            let skew = rule["maxSkew"].as_u64().and_then(|skew| usize::try_from(skew).ok());
            Some(Spread { key: rule["topologyKey"].as_str()?.to_owned(), skew: skew.unwrap_or(1) })
        });
        Self {
            apart: keys(&spec["affinity"]["podAntiAffinity"]),
            together: keys(&spec["affinity"]["podAffinity"]),
            spread: hard.collect(),
        }
    }

    /// Whether a node has all labels that the rules use.
    pub(super) fn has_labels(&self, node: &NodeRoom) -> bool {
        let mut keys = self.together.iter().chain(self.spread.iter().map(|spread| &spread.key));
        keys.all(|key| domain(node, key).is_some())
    }

    /// Whether each pod of a group needs its own node.
    pub(super) fn a_node_each(&self) -> bool {
        self.apart.contains(HOSTNAME)
    }
}

fn keys(affinity: &Value) -> BTreeSet<String> {
    let terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"].as_array();
    let keys = terms.into_iter().flatten().filter_map(|term| term["topologyKey"].as_str());
    keys.map(str::to_owned).collect()
}

/// The domain of a node; `None` without the label.
pub(super) fn domain<'n>(node: &'n NodeRoom, key: &str) -> Option<&'n str> {
    if key == HOSTNAME { Some(&node.name) } else { node.labels.get(key).map(String::as_str) }
}

/// How the pods of a spread rule are spread so far.
#[derive(Clone, Debug)]
pub(super) struct Balance {
    pub(super) spread: Spread,
    counts: BTreeMap<String, usize>,
    /// The number of existing pods per domain.
    before: BTreeMap<String, usize>,
    /// Pods above this number in a domain cannot be balanced by the remaining ones.
    most: usize,
}

impl Balance {
    /// `pods` more pods with this rule, on nodes of these domains, in addition to the existing ones.
    pub(super) fn new(spread: &Spread, pods: usize, before: BTreeMap<String, usize>) -> Self {
        // If a domain has `most` pods, the remaining ones cannot raise the smallest of the others to within
        // the skew.
        let others = before.len().saturating_sub(1);
        let all = before.values().fold(pods, |sum, count| sum.saturating_add(*count));
        let most = all.saturating_add(spread.skew.saturating_mul(others)) / (others + 1);
        Self { spread: spread.clone(), counts: before.clone(), before, most }
    }

    /// Domains that it looks through.
    pub(super) fn domains(&self) -> usize {
        self.counts.len()
    }

    /// One pod more on a node; whether that can still be even in the end.
    pub(super) fn add(&mut self, node: &NodeRoom) -> bool {
        let count = domain(node, &self.spread.key).and_then(|name| self.counts.get_mut(name));
        count.is_some_and(|count| {
            *count += 1;
            *count <= self.most
        })
    }

    pub(super) fn remove(&mut self, node: &NodeRoom) {
        if let Some(count) = domain(node, &self.spread.key).and_then(|name| self.counts.get_mut(name)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Whether it is balanced now. An imbalance that existed before is ignored if no pod was added there.
    pub(super) fn is_even(&self) -> bool {
        let least = self.counts.values().min().copied().unwrap_or_default();
        let grown = self.counts.iter().filter(|(name, count)| self.before.get(*name) != Some(*count));
        grown.map(|(_, count)| *count).max().is_none_or(|most| most - least <= self.spread.skew)
    }
}
