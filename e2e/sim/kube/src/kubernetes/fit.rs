//! The scheduler's filters: why a pod may not run on a node, in the scheduler's words. Filters run in the
//! scheduler's order, and only the first that fails is reported for each node.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object::{entries, items, label, meets, name, namespace, selects};
use super::resources::{Amounts, add, amounts, requests};

/// A node with its pods, as the scheduler sees it.
pub(super) struct Place<'a> {
    node: &'a Value,
    /// Pods on it that have not ended.
    pods: Vec<&'a Value>,
    room: Amounts,
    taken: Amounts,
}

/// Why a pod may not run on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Objection {
    /// In the scheduler's words; insufficient resources may be several.
    pub(super) reasons: Vec<String>,
    /// Whether the end of other pods could help.
    pub(super) passing: bool,
}

impl Objection {
    fn passing(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], passing: true }
    }

    fn lasting(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], passing: false }
    }
}

impl<'a> Place<'a> {
    /// A node without pods.
    pub(super) fn new(node: &'a Value) -> Self {
        let room = amounts(&node["status"]["allocatable"]);
        Self { node, pods: Vec::new(), room, taken: Amounts::new() }
    }

    /// Adds a pod to the node.
    pub(super) fn put(&mut self, pod: &'a Value) {
        add(&mut self.taken, &asked(pod));
        self.pods.push(pod);
    }

    pub(super) fn name(&self) -> &'a str {
        name(self.node)
    }

    fn free(&self, resource: &str) -> i128 {
        let of = |amounts: &Amounts| amounts.get(resource).copied().unwrap_or_default();
        of(&self.room) - of(&self.taken)
    }

    /// How much CPU and memory would stay free, in thousandths: the scheduler prefers empty nodes.
    pub(super) fn score(&self, pod: &Value) -> i128 {
        let asked = asked(pod);
        let part = |resource: &str| {
            let room = self.room.get(resource).copied().unwrap_or_default();
            let left = self.free(resource) - asked.get(resource).copied().unwrap_or_default();
            if room > 0 { left * 1_000 / room } else { 0 }
        };
        i128::midpoint(part("cpu"), part("memory"))
    }

    fn domain(&self, key: &str) -> Option<&'a str> {
        label(self.node, key)
    }
}

fn asked(pod: &Value) -> Amounts {
    let mut asked = requests(&pod["spec"]);
    asked.insert("pods".to_owned(), 1_000);
    asked
}

/// Why a pod may not run on a place; `None` if it may.
pub(super) fn objection(pod: &Value, place: &Place<'_>, all: &[Place<'_>]) -> Option<Objection> {
    unschedulable(pod, place.node)
        .or_else(|| tainted(pod, place.node))
        .or_else(|| other_nodes_wanted(&pod["spec"], place.node))
        .or_else(|| too_little(pod, place))
        .or_else(|| uneven(pod, place, all))
        .or_else(|| beside_others(pod, place, all))
}

fn unschedulable(pod: &Value, node: &Value) -> Option<Objection> {
    let cordon = serde_json::json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
    let tolerated =
        items(&pod["spec"]["tolerations"]).iter().any(|toleration| tolerates(toleration, &cordon));
    (node["spec"]["unschedulable"] == true && !tolerated)
        .then(|| Objection::lasting("node(s) were unschedulable"))
}

fn tainted(pod: &Value, node: &Value) -> Option<Objection> {
    let hard = items(&node["spec"]["taints"]).iter().filter(|taint| taint["effect"] != "PreferNoSchedule");
    let tolerations = items(&pod["spec"]["tolerations"]);
    hard.into_iter()
        .any(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
        .then(|| Objection::lasting("node(s) had untolerated taint(s)"))
}

/// Whether a toleration matches a taint.
pub(super) fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let effect = text(&toleration["effect"]);
    let key = text(&toleration["key"]);
    let exists = toleration["operator"] == "Exists";
    (effect.is_empty() || effect == text(&taint["effect"]))
        && (key == text(&taint["key"]) || (key.is_empty() && exists))
        && (exists || text(&toleration["value"]) == text(&taint["value"]))
}

fn other_nodes_wanted(spec: &Value, node: &Value) -> Option<Objection> {
    let selected = entries(&spec["nodeSelector"]).all(|(key, value)| label(node, key) == value.as_str());
    let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let affine = required.is_null()
        || items(&required["nodeSelectorTerms"]).iter().any(|term| {
            let (labels, fields) = (items(&term["matchExpressions"]), items(&term["matchFields"]));
            let by_label = |expression: &Value| {
                meets(expression, label(node, expression["key"].as_str().unwrap_or_default()))
            };
            let by_field =
                |field: &Value| meets(field, Some(name(node)).filter(|_| field["key"] == "metadata.name"));
            !(labels.is_empty() && fields.is_empty())
                && labels.iter().all(by_label)
                && fields.iter().all(by_field)
        });
    (!selected || !affine).then(|| Objection::lasting("node(s) didn't match Pod's node affinity/selector"))
}

fn too_little(pod: &Value, place: &Place<'_>) -> Option<Objection> {
    let asked = asked(pod);
    let short: Vec<(&String, &i128)> =
        asked.iter().filter(|(name, amount)| **amount > 0 && place.free(name) < **amount).collect();
    let fits_empty =
        short.iter().all(|(name, amount)| place.room.get(*name).is_some_and(|room| room >= *amount));
    let reason = |name: &str| {
        if name == "pods" { "Too many pods".to_owned() } else { format!("Insufficient {name}") }
    };
    let reasons: Vec<String> = short.iter().map(|(name, _)| reason(name)).collect();
    (!reasons.is_empty()).then_some(Objection { reasons, passing: fits_empty })
}

/// Whether an affinity term of `owner` selects `other`, including the labels that the term copies from its
/// owner.
fn is_meant(rule: &Value, owner: &Value, other: &Value) -> bool {
    let spaces = items(&rule["namespaces"]);
    let in_space = if spaces.is_empty() {
        namespace(owner) == namespace(other)
    } else {
        spaces.iter().any(|space| *space == namespace(other))
    };
    let same = |key: &Value| {
        let key = key.as_str().unwrap_or_default();
        label(owner, key).is_none_or(|own| label(other, key) == Some(own))
    };
    let selector = &rule["labelSelector"];
    in_space
        && selector.is_object()
        && selects(selector, &other["metadata"]["labels"])
        && items(&rule["matchLabelKeys"]).iter().all(same)
}

fn rules<'p>(pod: &'p Value, kind: &str) -> &'p [Value] {
    items(&pod["spec"]["affinity"][kind]["requiredDuringSchedulingIgnoredDuringExecution"])
}

fn beside_others(pod: &Value, place: &Place<'_>, all: &[Place<'_>]) -> Option<Objection> {
    let key_of = |rule: &Value| rule["topologyKey"].as_str().unwrap_or_default().to_owned();
    // Pods on all nodes in the same domain as this one.
    let near = |key: &str| -> Vec<&Value> {
        let Some(domain) = place.domain(key) else { return Vec::new() };
        let alike = all.iter().filter(|other| other.domain(key) == Some(domain));
        alike.flat_map(|other| other.pods.iter().copied()).collect()
    };
    let everybody = || all.iter().flat_map(|place| place.pods.iter().copied());
    for rule in rules(pod, "podAffinity") {
        let key = key_of(rule);
        let found = near(&key).into_iter().any(|other| is_meant(rule, pod, other));
        // The first of several pods with affinity to each other may go anywhere.
        let first = place.domain(&key).is_some()
            && is_meant(rule, pod, pod)
            && !everybody().any(|other| is_meant(rule, pod, other));
        if !found && !first {
            return Some(Objection::lasting("node(s) didn't match pod affinity rules"));
        }
    }
    for rule in rules(pod, "podAntiAffinity") {
        if near(&key_of(rule)).into_iter().any(|other| is_meant(rule, pod, other)) {
            return Some(Objection::passing("node(s) didn't match pod anti-affinity rules"));
        }
    }
    for other in everybody() {
        for rule in rules(other, "podAntiAffinity") {
            let is_near = near(&key_of(rule)).into_iter().any(|near| std::ptr::eq(near, other));
            if is_near && is_meant(rule, other, pod) {
                let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
                return Some(Objection::passing(reason));
            }
        }
    }
    None
}

/// Violated topology spread, over the domains of the nodes that the pod's node affinity allows.
fn uneven(pod: &Value, place: &Place<'_>, all: &[Place<'_>]) -> Option<Objection> {
    const REASON: &str = "node(s) didn't match pod topology spread constraints";
    let hard = items(&pod["spec"]["topologySpreadConstraints"]).iter();
    for rule in hard.filter(|rule| rule["whenUnsatisfiable"] != "ScheduleAnyway") {
        let key = rule["topologyKey"].as_str().unwrap_or_default();
        let Some(here) = place.domain(key) else {
            return Some(Objection::lasting(&format!("{REASON} (missing required label)")));
        };
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for other in all.iter().filter(|other| other_nodes_wanted(&pod["spec"], other.node).is_none()) {
            if let Some(domain) = other.domain(key) {
                let meant = other.pods.iter().filter(|other| is_meant(rule, pod, other)).count();
                *counts.entry(domain).or_default() += meant;
            }
        }
        let least = counts.values().min().copied().unwrap_or_default();
        let with_it = counts.get(here).copied().unwrap_or_default() + usize::from(is_meant(rule, pod, pod));
        let skew = rule["maxSkew"].as_u64().and_then(|skew| usize::try_from(skew).ok()).unwrap_or(1);
        if with_it.saturating_sub(least) > skew {
            return Some(Objection::passing(REASON));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str) -> Value {
        json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "zone": "z"}},
            "spec": {}, "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", "nvidia.com/gpu": "2"}}
        })
    }

    fn pod(spec: &Value) -> Value {
        json!({"metadata": {"name": "p", "namespace": "n", "labels": {"group": "g", "fleet": "f"}}, "spec": spec})
    }

    fn gpus(count: &str) -> Value {
        json!({"containers": [{"resources": {"limits": {"nvidia.com/gpu": count}}}]})
    }

    fn of(pod: &Value, node: &Value, there: &[&Value]) -> Option<Objection> {
        let mut place = Place::new(node);
        for pod in there {
            place.put(pod);
        }
        let all = [place];
        objection(pod, &all[0], &all)
    }

    fn reason(pod: &Value, node: &Value, there: &[&Value]) -> String {
        of(pod, node, there).map(|objection| objection.reasons.join(", ")).unwrap_or_default()
    }

    #[test]
    fn used_gpus_are_a_passing_objection_and_missing_gpus_a_lasting_one() {
        let (node, two) = (node("a"), pod(&gpus("2")));
        assert_eq!(of(&two, &node, &[]), None);
        let taken = of(&two, &node, &[&two]).unwrap();
        assert_eq!((taken.reasons, taken.passing), (vec!["Insufficient nvidia.com/gpu".to_owned()], true));
        assert!(!of(&pod(&gpus("64")), &node, &[]).unwrap().passing);
    }

    #[test]
    fn cordon_taint_and_selector_are_reported_in_this_order() {
        let mut node = node("a");
        let mut asking = gpus("64");
        assert_eq!(reason(&pod(&asking), &node, &[]), "Insufficient nvidia.com/gpu");
        asking["nodeSelector"] = json!({"zone": "other"});
        assert_eq!(reason(&pod(&asking), &node, &[]), "node(s) didn't match Pod's node affinity/selector");
        node["spec"]["taints"] = json!([{"key": "k", "effect": "NoSchedule"}]);
        assert_eq!(reason(&pod(&asking), &node, &[]), "node(s) had untolerated taint(s)");
        node["spec"]["unschedulable"] = json!(true);
        assert_eq!(reason(&pod(&asking), &node, &[]), "node(s) were unschedulable");
        node["spec"]["unschedulable"] = json!(false);
        asking["tolerations"] = json!([{"key": "k", "operator": "Exists"}]);
        asking["nodeSelector"] = json!({"zone": "z"});
        assert_eq!(reason(&pod(&asking), &node, &[]), "Insufficient nvidia.com/gpu");
    }

    #[test]
    fn a_node_excluded_by_a_field_selector_is_not_used() {
        let off = json!([{"key": "metadata.name", "operator": "NotIn", "values": ["a"]}]);
        let mut spec = gpus("1");
        let path = json!({"nodeSelectorTerms": [{"matchFields": off}]});
        spec["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": path}});
        assert!(reason(&pod(&spec), &node("a"), &[]).contains("node affinity"));
        assert_eq!(of(&pod(&spec), &node("b"), &[]), None);
    }

    #[test]
    fn anti_affinity_separates_pods_of_one_group_only() {
        let mut spec = gpus("1");
        spec["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname", "matchLabelKeys": ["group"],
            "labelSelector": {"matchExpressions": [{"key": "fleet", "operator": "Exists"}]}
        }]}});
        let (node, one) = (node("a"), pod(&spec));
        let mut stranger = pod(&spec);
        stranger["metadata"]["labels"]["group"] = json!("h");
        assert_eq!(reason(&one, &node, &[&one]), "node(s) didn't match pod anti-affinity rules");
        assert_eq!(of(&one, &node, &[&stranger]), None);
        // A pod without anti-affinity is still subject to that of existing pods.
        let bare = pod(&gpus("1"));
        assert_eq!(reason(&bare, &node, &[&one]), "node(s) didn't satisfy existing pods anti-affinity rules");
    }

    #[test]
    fn the_first_pod_with_affinity_to_its_own_group_may_go_anywhere() {
        let mut spec = gpus("1");
        spec["affinity"] = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"group": "g"}}
        }]}});
        let (a, b, one) = (node("a"), node("b"), pod(&spec));
        assert_eq!(of(&one, &a, &[]), None);
        let mut places = [Place::new(&a), Place::new(&b)];
        places[0].put(&one);
        assert_eq!(objection(&one, &places[0], &places), None);
        let elsewhere = objection(&one, &places[1], &places).unwrap();
        assert_eq!(elsewhere.reasons, ["node(s) didn't match pod affinity rules"]);
    }

    #[test]
    fn topology_spread_counts_every_domain() {
        let mut spec = gpus("1");
        spec["topologySpreadConstraints"] = json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"group": "g"}}
        }]);
        let (a, b, one) = (node("a"), node("b"), pod(&spec));
        let mut places = [Place::new(&a), Place::new(&b)];
        places[0].put(&one);
        assert!(objection(&one, &places[0], &places).is_some());
        assert_eq!(objection(&one, &places[1], &places), None);
    }
}
