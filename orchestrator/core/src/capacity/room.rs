//! The free room, updated pod by pod and group by group.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayfleet_api::valid::{GroupShape, PodShape};
use serde_json::Value;

use super::beside::Beside;
use super::kind::{Free, Kind};
use super::neighbours::Crowd;
use super::requests::add;
use super::search::{self, Asked};
use super::settle::{settle, there};
use super::{Capacity, Labels, Neighbour, NoRoom, NodeRoom, Quota, Resources};

/// What is free on each node, and what the quotas leave.
pub(crate) struct Room<'a> {
    pub(super) nodes: &'a [NodeRoom],
    pub(super) free: Unclaimed<'a>,
    quotas: Vec<Quota>,
    namespace: &'a str,
    kinds: Vec<Kind>,
    /// Pods placed here, by index of the node: rules of later pods match them.
    joined: BTreeMap<usize, Crowd>,
}

/// What is free after subtracting what was claimed here.
pub(super) struct Unclaimed<'a> {
    nodes: &'a [NodeRoom],
    pub(super) claimed: BTreeMap<usize, Resources>,
}

impl<'a> Unclaimed<'a> {
    /// Nothing claimed yet.
    pub(super) fn of(nodes: &'a [NodeRoom]) -> Self {
        Self { nodes, claimed: BTreeMap::new() }
    }

    pub(super) fn claim(&mut self, node: usize, asked: &Resources) {
        add(self.claimed.entry(node).or_default(), asked);
    }
}

impl Free for Unclaimed<'_> {
    fn free(&self, node: usize, resource: &str) -> i128 {
        let Some(room) = self.nodes.get(node) else { return 0 };
        let claimed = self.claimed.get(&node).and_then(|claimed| claimed.get(resource));
        room.free(resource).saturating_sub(claimed.copied().unwrap_or_default())
    }
}

impl<'a> Room<'a> {
    /// What is free once every pending pod that fits somewhere has a node.
    pub(crate) fn of(capacity: &'a Capacity) -> Self {
        let settled = settle(capacity);
        Self {
            nodes: &capacity.nodes,
            free: settled.free,
            quotas: capacity.quotas.clone(),
            namespace: &capacity.namespace,
            kinds: Vec::new(),
            joined: settled.joined,
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
        let mut kind = self.kind(&role.spec, &me);
        for _ in 0..count {
            // If one pod finds no node, the identical ones after it do not either.
            let Some(node) = self.kinds[kind].candidates().next() else { return };
            let asked = self.kinds[kind].asked.clone();
            self.claim(node, &asked);
            if !self.join(node, &me) {
                kind = self.kind(&role.spec, &me);
            }
        }
    }

    /// Takes room for all pods of a group or for none. Returns the node of each.
    pub(crate) fn place(&mut self, shape: &GroupShape) -> Result<Vec<String>, NoRoom> {
        let specs = || shape.roles.iter().map(|role| (&*role.spec, role.count));
        if let Some(short) = self.quotas.iter().find_map(|quota| quota.short(specs())) {
            return Err(NoRoom::quota(&short));
        }
        let roles: Vec<(usize, usize)> = shape
            .roles
            .iter()
            .map(|role| {
                let me = self.me(role);
                (self.kind(&role.spec, &me), role.count)
            })
            .collect();
        let kinds: Vec<usize> =
            roles.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count)).collect();
        let asked = kinds.iter().enumerate().map(|(position, kind)| Asked { position, kind: *kind });
        let found = search::search(self.nodes, &self.free, &self.kinds, asked.collect());
        let Some(places) = found else { return Err(NoRoom::explain(self, &shape.roles)) };
        let mut joined = Vec::new();
        for (kind, node) in kinds.iter().zip(&places) {
            let asked = self.kinds[*kind].asked.clone();
            joined.push((*node, self.kinds[*kind].beside.me().clone()));
            self.claim(*node, &asked);
        }
        for (node, pod) in joined {
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

    fn kind(&mut self, spec: &Value, me: &Arc<Neighbour>) -> usize {
        let same = |kind: &Kind| kind.spec == *spec && kind.beside.me() == me;
        self.kinds.iter().position(same).unwrap_or_else(|| {
            let beside = Beside::new(me.clone(), spec);
            let pods = there(self.nodes, &self.joined, beside.minds_nobody());
            self.kinds.push(Kind::new(spec, beside, self.nodes, pods, &self.free));
            self.kinds.len() - 1
        })
    }

    /// Number of nodes with room for a pod that existing pods exclude.
    pub(super) fn ruled_out(&self, role: &PodShape) -> usize {
        let me = self.me(role);
        let found = self.kinds.iter().find(|kind| kind.spec == *role.spec && *kind.beside.me() == me);
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
        self.kinds.retain_mut(|kind| kind.joined(node, self.nodes, pod));
        self.joined.entry(node).or_default().add(pod, 1);
        self.kinds.len() == before
    }
}
