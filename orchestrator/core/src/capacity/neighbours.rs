//! Existing pods as the scheduler compares others with them: labels, namespace, required anti-affinity and
//! host ports. Bounded in size and shared between identical pods, because there are as many as pods in the
//! cluster. Their effect on one more pod is computed in `beside`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use rayfleet_api::names;
use serde_json::Value;
use smol_str::SmolStr;

use super::budget::Budget;

/// The most label bytes that are kept of a pod; a group's pods have about 600. Labels beyond the limit are
/// dropped, so they match no rule.
const LONGEST_LABELS: usize = 2 << 10;
/// Longest anti-affinity of a pod that is kept, in bytes of JSON. A longer one is ignored.
const LONGEST_TERMS: usize = 4 << 10;
/// The only label that every namespace has; other labels of namespaces are not known here.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// Labels whose values differ between groups. A pod of a group that is still to be created has none of them
/// yet.
const OF_A_GROUP: [&str; 4] =
    [names::LABEL_GROUP, names::LABEL_SLOT, names::RAY_LABEL_CLUSTER, "ray.io/identifier"];

/// Labels of a pod: lines of `key=value`, in the order of the keys. One piece of memory, for there are many of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Box<str>);

impl Labels {
    /// Labels of these keys and values.
    pub fn of<'l>(labels: impl IntoIterator<Item = (&'l str, &'l str)>) -> Self {
        let mut labels: Vec<(&str, &str)> = labels.into_iter().collect();
        labels.sort_unstable();
        let mut lines = String::new();
        for (key, value) in labels {
            if lines.len() + key.len() + value.len() + 2 <= LONGEST_LABELS {
                lines.extend([key, "=", value, "\n"]);
            }
        }
        Self(lines.into())
    }

    /// The value of a label. Half of the lines is left out at each step: pods may have hundreds of labels, and rules ask for many.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let mut rest = self.0.as_bytes();
        while !rest.is_empty() {
            let (before, after) = rest.split_at_checked(rest.len() / 2)?;
            let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let end = before.len() + after.iter().position(|byte| *byte == b'\n')?;
            let line = rest.get(start..end)?;
            let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b'=')?)?;
            match name.cmp(key.as_bytes()) {
                Ordering::Less => rest = rest.get(end + 1..)?,
                Ordering::Greater => rest = rest.get(..start)?,
                Ordering::Equal => return std::str::from_utf8(value.get(1..)?).ok(),
            }
        }
        None
    }
}

impl From<&BTreeMap<String, String>> for Labels {
    fn from(labels: &BTreeMap<String, String>) -> Self {
        Self::of(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

/// An existing pod. The order sorts pods with anti-affinity of their own last.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neighbour {
    /// The pods that it must not be near: its required anti-affinity, which also applies to pods that come
    /// later.
    pub(super) apart: Box<[Term]>,
    /// Host ports that it uses.
    pub(super) ports: Box<[Port]>,
    /// Namespace.
    pub(super) namespace: SmolStr,
    /// Labels. Selectors may ask for any of them.
    pub(super) labels: Labels,
}

impl Neighbour {
    /// A pod with this `affinity` and these host ports.
    pub(super) fn new(namespace: &str, labels: Labels, affinity: &Value, ports: Vec<Port>) -> Self {
        let anti = &affinity["podAntiAffinity"];
        let long = anti[REQUIRED].is_array() && anti[REQUIRED].to_string().len() > LONGEST_TERMS;
        let apart = if long { Vec::new() } else { terms(anti, namespace, &labels) };
        Self { apart: apart.into(), ports: ports.into(), namespace: namespace.into(), labels }
    }

    /// Whether the two cannot share a host for its ports.
    pub(super) fn collides(&self, other: &Self, budget: &Budget) -> bool {
        budget.spend(self.ports.len() * other.ports.len());
        self.ports.iter().any(|mine| other.ports.iter().any(|theirs| mine.collides(theirs)))
    }

    /// Whether it holds ports of its host.
    pub(super) fn holds_ports(&self) -> bool {
        !self.ports.is_empty()
    }

    /// Whether it keeps pods off that do not mind it themselves.
    fn minds_others(&self) -> bool {
        !self.apart.is_empty() || !self.ports.is_empty()
    }
}

/// A host port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Port {
    pub(super) number: i64,
    pub(super) protocol: SmolStr,
    /// Empty for all addresses.
    pub(super) address: SmolStr,
}

impl Port {
    /// Whether two pods cannot both use these ports on one host.
    fn collides(&self, other: &Self) -> bool {
        let addresses = self.address.is_empty() || other.address.is_empty() || self.address == other.address;
        self.number == other.number && self.protocol == other.protocol && addresses
    }
}

/// The pods of one node; identical ones are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crowd(Vec<(Arc<Neighbour>, usize)>);

impl Crowd {
    /// Adds `count` pods.
    pub fn add(&mut self, pod: &Arc<Neighbour>, count: usize) {
        match self.0.binary_search_by(|(one, _)| one.cmp(pod)) {
            Ok(at) => {
                if let Some((_, there)) = self.0.get_mut(at) {
                    *there += count;
                }
            }
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (pod.clone(), count));
            }
        }
    }

    /// Removes one pod.
    pub(super) fn remove(&mut self, pod: &Neighbour) {
        let Ok(at) = self.0.binary_search_by(|(one, _)| (**one).cmp(pod)) else { return };
        match self.0.get_mut(at) {
            Some((_, count)) if *count > 1 => *count -= 1,
            _ => drop(self.0.remove(at)),
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps only matching pods.
    pub(super) fn retain(&mut self, keep: impl Fn(&Neighbour) -> bool) {
        self.0.retain(|(pod, _)| keep(pod));
    }

    /// Every kind of pod, and its number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<Neighbour>, usize)> {
        self.0.iter().map(|(pod, count)| (pod, *count))
    }

    /// The pods that matter for a pod: all, or, if it has no rules itself, those with anti-affinity.
    pub(super) fn heeded(&self, minds_nobody: bool) -> impl Iterator<Item = (&Arc<Neighbour>, usize)> {
        let heeded = self.0.iter().rev().take_while(move |(pod, _)| !minds_nobody || pod.minds_others());
        heeded.map(|(pod, count)| (pod, *count))
    }
}

/// JSON field of the required terms.
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// A required term of a pod's affinity or anti-affinity, or a spread rule: which pods it matches, and the
/// domains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Term {
    /// Topology key.
    pub(super) key: SmolStr,
    /// Namespaces, by name.
    namespaces: Box<[SmolStr]>,
    /// Namespaces that match this selector, as far as their name decides it.
    others: Option<Box<[Demand]>>,
    /// Selector of the pods' labels; `None` matches no pod.
    selector: Option<Box<[Demand]>>,
}

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Demand {
    key: SmolStr,
    operator: SmolStr,
    values: Box<[SmolStr]>,
}

impl Demand {
    fn holds(&self, labels: &Labels, budget: &Budget) -> bool {
        budget.spend(1 + self.values.len());
        let value = labels.get(&self.key);
        let among = || value.is_some_and(|value| self.values.iter().any(|one| one == value));
        match self.operator.as_str() {
            "In" => among(),
            "NotIn" => !among(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

impl Term {
    /// The term of a pod with these labels in this namespace.
    pub(super) fn of(term: &Value, namespace: &str, own: &Labels) -> Option<Self> {
        let mut selector = demands(&term["labelSelector"]);
        let of_its_group = |key: SmolStr| OF_A_GROUP.contains(&key.as_str()) && own.get(&key).is_none();
        if texts(&term["matchLabelKeys"]).any(of_its_group) {
            // It matches pods of its own group, and none of them exists.
            selector = None;
        }
        for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
            for key in texts(&term[field]) {
                let Some(value) = own.get(&key) else { continue };
                if let Some(selector) = &mut selector {
                    selector.push(Demand {
                        operator: operator.into(),
                        values: Box::new([value.into()]),
                        key,
                    });
                }
            }
        }
        let mut namespaces: Vec<SmolStr> = texts(&term["namespaces"]).collect();
        let others = demands(&term["namespaceSelector"]);
        if namespaces.is_empty() && others.is_none() {
            namespaces.push(namespace.into());
        }
        Some(Self {
            key: term["topologyKey"].as_str()?.into(),
            namespaces: namespaces.into(),
            others: others.map(Vec::into_boxed_slice),
            selector: selector.map(Vec::into_boxed_slice),
        })
    }

    /// Whether it means a pod. The namespace is asked first: most pods are in another one.
    pub(super) fn means(&self, pod: &Neighbour, budget: &Budget) -> bool {
        budget.spend(1 + self.namespaces.len());
        let Some(selector) = &self.selector else { return false };
        let is_in = self.namespaces.contains(&pod.namespace)
            || self.others.as_ref().is_some_and(|demands| {
                all_hold(demands, &Labels::of([(NAMESPACE_NAME, pod.namespace.as_str())]), budget)
            });
        is_in && all_hold(selector, &pod.labels, budget)
    }
}

fn all_hold(demands: &[Demand], labels: &Labels, budget: &Budget) -> bool {
    demands.iter().all(|demand| demand.holds(labels, budget))
}

fn texts(list: &Value) -> impl Iterator<Item = SmolStr> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(SmolStr::from)
}

/// An empty selector matches all pods, a missing one none.
fn demands(selector: &Value) -> Option<Vec<Demand>> {
    let labels = selector.as_object()?.get("matchLabels").and_then(Value::as_object);
    let labels = labels.into_iter().flatten().map(|(key, value)| Demand {
        key: key.into(),
        operator: "In".into(),
        values: value.as_str().map(SmolStr::from).into_iter().collect(),
    });
    let expressions =
        selector["matchExpressions"].as_array().into_iter().flatten().map(|expression| Demand {
            key: expression["key"].as_str().unwrap_or_default().into(),
            operator: expression["operator"].as_str().unwrap_or_default().into(),
            values: texts(&expression["values"]).collect(),
        });
    Some(labels.chain(expressions).collect())
}

/// Required terms of a pod spec's `podAffinity` or `podAntiAffinity`.
pub(super) fn terms(affinity: &Value, namespace: &str, own: &Labels) -> Vec<Term> {
    let all = affinity[REQUIRED].as_array().into_iter().flatten();
    all.filter_map(|term| Term::of(term, namespace, own)).collect()
}
