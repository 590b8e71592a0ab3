//! The free room, updated pod by pod and group by group.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayfleet_api::NodeName;
use rayfleet_api::valid::{GroupShape, PodShape};
use serde_json::Value;

use super::beside::Beside;
use super::budget::{Budget, values};
use super::kind::{Kind, SCANNED};
use super::neighbours::{Crowd, Labels, Neighbour};
use super::node_room::NodeRoom;
use super::quota::{Quota, Short};
use super::requests::Resources;
use super::search::{self, Asked};
use super::settle::{Settled, settle, there};
use super::source::Capacity;
use super::unclaimed::Unclaimed;

/// Looks that all questions about room may cost in one pass over a fleet, however many groups it has and whatever their rules are: about a
/// second.
pub(super) const LOOKS: usize = 10_000_000;

/// What is free on each node, and what the quotas leave.
pub(crate) struct Room<'a> {
    pub(super) nodes: &'a [NodeRoom],
    pub(super) free: Unclaimed<'a>,
    quotas: Vec<Quota>,
    namespace: &'a str,
    pub(super) kinds: Vec<Kind>,
    /// Pods that were given a place here, by position of the node: those that come after have to do with them.
    joined: BTreeMap<usize, Crowd>,
    /// Once it is spent there is no room for anything more: the careful answer, as what runs may rule any node out.
    pub(super) budget: Budget,
}

impl<'a> Room<'a> {
    /// The looks of one pass.
    pub(crate) fn budget_of_a_pass() -> Budget {
        Budget::of(LOOKS)
    }

    /// What is free once every pending pod that fits somewhere has a node.
    pub(crate) fn of(capacity: &'a Capacity) -> Self {
        Self::within(capacity, Self::budget_of_a_pass())
    }

    /// The same, with a budget that other questions share.
    pub(crate) fn within(capacity: &'a Capacity, budget: Budget) -> Self {
        budget.spend(capacity.nodes.len());
        let settled = if budget.is_spent() { Settled::without_pending(capacity) } else { settle(capacity) };
        budget.spend(settled.cost());
        Self {
            nodes: &capacity.nodes,
            free: settled.free,
            quotas: capacity.quotas.clone(),
            namespace: &capacity.namespace,
            kinds: Vec::new(),
            joined: settled.joined,
            budget,
        }
    }

    /// Reserves room for `count` pods of a role that are about to be created.
    pub(crate) fn reserve(&mut self, role: &PodShape, count: usize) {
        if count > 0 {
            self.take(role, count);
        }
        for quota in &mut self.quotas {
            quota.take([(&*role.spec, count)]);
        }
    }

    /// Takes room on nodes for pods, as far as there is any.
    fn take(&mut self, role: &PodShape, count: usize) {
        let me = self.me(role);
        let Some(mut kind) = self.kind(&role.spec, &me) else { return };
        for _ in 0..count {
            // If one pod finds no node, the identical ones after it do not either.
            let Some(node) = self.kinds[kind].candidates().next() else { return };
            let asked = self.kinds[kind].asked.clone();
            self.make_way(1);
            self.claim(node, &asked);
            if !self.join(node, &me) || self.kinds.is_empty() {
                let Some(again) = self.kind(&role.spec, &me) else { return };
                kind = again;
            }
        }
    }

    /// Whether there is room for all pods of a group, which is taken then; without a reason.
    pub(crate) fn has_room_for(&mut self, shape: &GroupShape) -> bool {
        self.find(shape).is_ok()
    }

    /// Takes room for all pods of a group or for none. `Err`: the quota that is short, or `None` if it is the nodes.
    pub(super) fn find(&mut self, shape: &GroupShape) -> Result<Vec<NodeName>, Option<Short>> {
        let specs = || shape.roles.iter().map(|role| (&*role.spec, role.count));
        if let Some(short) = self.quotas.iter().find_map(|quota| quota.short(specs())) {
            return Err(Some(short));
        }
        let mut roles = Vec::new();
        for role in &shape.roles {
            let me = self.me(role);
            let kind = self.kind(&role.spec, &me).ok_or(None)?;
            roles.push((kind, role.count));
        }
        let kinds: Vec<usize> =
            roles.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count)).collect();
        let asked = kinds.iter().enumerate().map(|(position, kind)| Asked { position, kind: *kind });
        let found = search::search(self.nodes, &self.free, &self.kinds, asked.collect(), &self.budget);
        let places = found.ok_or(None)?;
        let taken: Vec<(usize, Resources, Arc<Neighbour>)> = (kinds.iter().zip(&places))
            .map(|(kind, node)| {
                let kind = &self.kinds[*kind];
                (*node, kind.asked.clone(), kind.beside.me().clone())
            })
            .collect();
        self.make_way(taken.len());
        for (node, asked, _) in &taken {
            self.claim(*node, asked);
        }
        for (node, _, pod) in taken {
            self.join(node, &pod);
        }
        for quota in &mut self.quotas {
            quota.take(specs());
        }
        Ok(places.into_iter().map(|node| self.nodes[node].name.clone()).collect())
    }

    /// A pod of the fleet as other pods' rules match it.
    fn me(&self, role: &PodShape) -> Arc<Neighbour> {
        Arc::new(Neighbour::of(self.namespace, Labels::from(&*role.labels), &role.spec))
    }

    /// The position of the kind of a pod. `None`: the budget is spent.
    fn kind(&mut self, spec: &Arc<Value>, me: &Arc<Neighbour>) -> Option<usize> {
        self.budget.spend(1 + self.kinds.len());
        if self.budget.is_spent() {
            return None;
        }
        let same = |kind: &Kind| kind.spec == *spec && kind.beside.me() == me;
        if let Some(known) = self.kinds.iter().position(same) {
            return Some(known);
        }
        self.budget.spend(values(spec));
        let beside = Beside::new(me.clone(), spec);
        let pods = there(self.nodes, &self.joined, beside.minds_nobody());
        let kind = Kind::new(spec, beside, self.nodes, pods, &self.free, &self.budget)?;
        self.kinds.push(kind);
        Some(self.kinds.len() - 1)
    }

    /// So many pods take their places. Each kind is kept up to date with each of them, unless that costs more than is left: then none is
    /// kept.
    fn make_way(&mut self, pods: usize) {
        let each = 1 + self.nodes.len() / SCANNED;
        self.budget.spend(pods.saturating_mul(self.kinds.len()).saturating_mul(each));
        if self.budget.is_spent() {
            self.kinds.clear();
        }
    }

    /// Number of nodes with room for a pod that existing pods exclude.
    pub(super) fn ruled_out(&self, role: &PodShape) -> usize {
        let me = self.me(role);
        let found = self.kinds.iter().find(|kind| kind.spec == role.spec && *kind.beside.me() == me);
        found.map_or(0, |kind| kind.ruled_out)
    }

    fn claim(&mut self, node: usize, asked: &Resources) {
        self.free.claim(node, asked);
        for kind in &mut self.kinds {
            kind.changed(node, &self.free);
        }
    }

    /// Records that a pod was placed. `false` if a kind was dropped because it must be rebuilt.
    fn join(&mut self, node: usize, pod: &Arc<Neighbour>) -> bool {
        let before = self.kinds.len();
        self.kinds.retain_mut(|kind| kind.joined(node, self.nodes, pod, &self.budget));
        self.joined.entry(node).or_default().add(pod, 1);
        self.kinds.len() == before
    }
}
