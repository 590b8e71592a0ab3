//! Rules between the pods of one group: apart, together, spread evenly.
//!
//! Which pods such a rule means is decided by labels that KubeRay adds in part. People write it about one group,
//! so it is taken to mean the pods of the own group in any case; what it means for pods that are there already is said by their
//! labels (`beside`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::NodeRoom;

/// Every node is a domain of its own.
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";

/// The rules of one kind of pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// Labels of nodes in which no other pod of the group may agree with this one.
    pub(super) apart: BTreeSet<String>,
    /// Labels of nodes in which all pods with this rule agree.
    pub(super) together: BTreeSet<String>,
    pub(super) spread: Vec<Spread>,
}

/// The numbers of pods in the domains of a label differ by so many at most.
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

    /// Whether a node has the labels that the rules go by.
    pub(super) fn has_labels(&self, node: &NodeRoom) -> bool {
        let mut keys = self.together.iter().chain(self.spread.iter().map(|spread| &spread.key));
        keys.all(|key| domain(node, key).is_some())
    }

    /// Whether the pods of one group each need a node of their own.
    pub(super) fn a_node_each(&self) -> bool {
        self.apart.contains(HOSTNAME)
    }
}

fn keys(affinity: &Value) -> BTreeSet<String> {
    let terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"].as_array();
    let keys = terms.into_iter().flatten().filter_map(|term| term["topologyKey"].as_str());
    keys.map(str::to_owned).collect()
}

/// The domain of a node; `None` where it lacks the label.
pub(super) fn domain<'n>(node: &'n NodeRoom, key: &str) -> Option<&'n str> {
    if key == HOSTNAME { Some(&node.name) } else { node.labels.get(key).map(String::as_str) }
}

/// How the pods of a spread rule are spread so far.
#[derive(Clone, Debug)]
pub(super) struct Balance {
    pub(super) spread: Spread,
    counts: BTreeMap<String, usize>,
    /// What was there before.
    before: BTreeMap<String, usize>,
    /// More in one domain cannot be evened out by the pods that are left.
    most: usize,
}

impl Balance {
    /// So many pods with this rule are to come, on nodes of these domains, beside those that are there.
    pub(super) fn new(spread: &Spread, pods: usize, before: BTreeMap<String, usize>) -> Self {
        // Beside a domain with `most` pods, the others have too few for the least of them to come closer than the skew.
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

    /// Whether it is even as it is. What was uneven before is nobody's fault here, as long as no pod was added there.
    pub(super) fn is_even(&self) -> bool {
        let least = self.counts.values().min().copied().unwrap_or_default();
        let grown = self.counts.iter().filter(|(name, count)| self.before.get(*name) != Some(*count));
        grown.map(|(_, count)| *count).max().is_none_or(|most| most - least <= self.spread.skew)
    }
}
