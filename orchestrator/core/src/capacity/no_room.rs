//! Why a group does not fit, with numbers.

use std::collections::{BTreeMap, BTreeSet};

use rayfleet_api::NodeName;
use rayfleet_api::valid::{GroupShape, PodShape};

use super::budget::{Budget, values};
use super::eligible::eligible;
use super::quota::Short;
use super::requests::{Resources, amount_in_words, requests, scarce};
use super::room::Room;
use super::rules::Rules;

/// The most free amounts that are listed.
const LISTED: usize = 8;

/// Looks that an explanation may cost; of a group with more rules than that the first pods are explained.
const LOOKS: usize = 1_000_000;

/// A group does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// What the group needs: `2 nodes x 1 nvidia.com/gpu`.
    pub needs: String,
    /// What is free: `best free: 1 + 0`.
    pub free: String,
    /// A ResourceQuota is the reason: more nodes do not help.
    pub quota: bool,
}

impl Room<'_> {
    /// Takes room for all pods of a group or for none. Returns the node of each.
    pub(crate) fn place(&mut self, shape: &GroupShape) -> Result<Vec<NodeName>, NoRoom> {
        self.find(shape).map_err(|short| match short {
            Some(short) => NoRoom::quota(&short),
            None => NoRoom::explain(self, &shape.roles),
        })
    }
}

impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "needs {}; {}", self.needs, self.free)
    }
}

impl NoRoom {
    /// The namespace's quota is exceeded, so the nodes do not matter.
    fn quota(short: &Short) -> Self {
        let amount = |thousandths| amount_in_words(&short.resource, thousandths);
        Self {
            needs: format!("{} {}", amount(short.asked), short.resource),
            free: format!("ResourceQuota {} leaves {}", short.quota, amount(short.left)),
            quota: true,
        }
    }

    fn explain(room: &Room<'_>, pods: &[PodShape]) -> Self {
        let budget = Budget::of(LOOKS);
        let resource = short_of(room, pods, &budget);
        let mut free = free(room, pods, &resource, &budget);
        free += &ruled_out(room, pods, &budget);
        if room.budget.is_spent() {
            free +=
                "; given up, as the scheduling rules of these pods take too long to compare: make them fewer";
        }
        Self { needs: needs(pods, &resource), free, quota: false }
    }
}

/// The resource that the fewest nodes have enough of for a pod; a scarce one among equals.
fn short_of(room: &Room<'_>, pods: &[PodShape], budget: &Budget) -> String {
    let mut enough: BTreeMap<String, usize> = BTreeMap::new();
    for pod in pods {
        if budget.is_spent() {
            break;
        }
        let usable = usable(room, pod, budget);
        for (name, amount) in requests(&pod.spec).into_iter().filter(|(_, amount)| *amount > 0) {
            budget.spend(usable.len());
            let count = usable.iter().filter(|at| room.free.free(**at, &name) >= amount).count();
            enough.entry(name).and_modify(|least| *least = count.min(*least)).or_insert(count);
        }
    }
    let least = enough.into_iter().min_by_key(|(name, count)| (*count, !name.contains('/'), name.clone()));
    least.map_or_else(|| "pods".to_owned(), |(name, _)| name)
}

/// Nodes that may run a pod, as far as the budget goes.
fn usable(room: &Room<'_>, pod: &PodShape, budget: &Budget) -> Vec<usize> {
    let nodes = room.nodes.iter().enumerate();
    let usable = nodes.filter(|(_, node)| !budget.is_spent() && eligible(&pod.spec, node, budget));
    usable.map(|(at, _)| at).collect()
}

/// Nodes that have room for a pod, and on which other pods do not let it.
fn ruled_out(room: &Room<'_>, pods: &[PodShape], budget: &Budget) -> String {
    let mut most = 0;
    for pod in pods {
        budget.spend(values(&pod.spec) + room.kinds.len());
        if budget.is_spent() {
            break;
        }
        most = room.ruled_out(pod).max(most);
    }
    match most {
        0 => String::new(),
        1 => "; pods on 1 node with room rule it out by affinity, anti-affinity or host ports".to_owned(),
        many => {
            format!("; pods on {many} nodes with room rule them out by affinity, anti-affinity or host ports")
        }
    }
}

fn amount_of(resources: &Resources, name: &str) -> i128 {
    resources.get(name).copied().unwrap_or_default()
}

/// `2 nodes x 8 nvidia.com/gpu`; `pods` instead of `nodes` if they may share one.
fn needs(pods: &[PodShape], resource: &str) -> String {
    let mut counts: BTreeMap<i128, (usize, bool)> = BTreeMap::new();
    for pod in pods {
        let entry = counts.entry(amount_of(&requests(&pod.spec), resource)).or_insert((0, true));
        *entry = (entry.0.saturating_add(pod.count), entry.1 && Rules::of(&pod.spec).a_node_each());
    }
    let part = |(amount, (count, apart)): (&i128, &(usize, bool))| {
        let what = match (apart, count) {
            (true, 1) => "node",
            (true, _) => "nodes",
            (false, 1) => "pod",
            (false, _) => "pods",
        };
        format!("{count} {what} x {} {resource}", amount_in_words(resource, *amount))
    };
    counts.iter().rev().map(part).collect::<Vec<_>>().join(" + ") + &together(pods)
}

/// The rule about a common domain: ` in one topology.kubernetes.io/zone`.
fn together(pods: &[PodShape]) -> String {
    let rules: Vec<Rules> = pods.iter().map(|pod| Rules::of(&pod.spec)).collect();
    let one = rules.iter().flat_map(|rules| &rules.together).map(|key| format!(" in one {key}"));
    let even = rules.iter().flat_map(|rules| &rules.spread);
    let even = even.map(|spread| format!(" spread over {} (maxSkew {})", spread.key, spread.skew));
    let words: BTreeSet<String> = one.chain(even).collect();
    words.into_iter().collect()
}

/// `best free: 8 + 4`, or that no node comes into question.
fn free(room: &Room<'_>, pods: &[PodShape], resource: &str, budget: &Budget) -> String {
    for pod in pods {
        let mut nodes = room.nodes.iter();
        if !nodes.any(|node| budget.is_spent() || eligible(&pod.spec, node, budget)) {
            return format!(
                "none of {} nodes may run pod `{}`: check its nodeSelector, affinity and tolerations, and the \
                 nodes' taints and readiness",
                room.nodes.len(),
                pod.role
            );
        }
    }
    let asks = |pod: &&PodShape| scarce(&requests(&pod.spec)).contains_key(resource);
    let asking = pods.iter().find(asks).or(pods.first());
    let usable = asking.map(|pod| usable(room, pod, budget)).unwrap_or_default();
    let mut amounts: Vec<i128> = usable.into_iter().map(|at| room.free.free(at, resource).max(0)).collect();
    amounts.sort_unstable_by(|a, b| b.cmp(a));
    let more = if amounts.len() > LISTED { " + ..." } else { "" };
    let listed: Vec<_> =
        amounts.iter().take(LISTED).map(|amount| amount_in_words(resource, *amount)).collect();
    format!("best free: {}{more}", listed.join(" + "))
}
