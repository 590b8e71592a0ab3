//! What is free, pod by pod and group by group.

use std::collections::BTreeMap;

use rayfleet_api::valid::GroupShape;
use serde_json::Value;

use super::kind::{Free, Kind};
use super::requests::add;
use super::search::{self, Asked};
use super::{Capacity, NoRoom, NodeRoom, Quota, Resources};

/// What is free on each node, and what the quotas leave.
pub(crate) struct Room<'a> {
    pub(super) nodes: &'a [NodeRoom],
    pub(super) free: Unclaimed<'a>,
    quotas: Vec<Quota>,
    kinds: Vec<Kind>,
}

/// What is free once what was claimed here is taken off.
pub(super) struct Unclaimed<'a> {
    nodes: &'a [NodeRoom],
    claimed: BTreeMap<usize, Resources>,
}

impl Free for Unclaimed<'_> {
    fn free(&self, node: usize, resource: &str) -> i128 {
        let Some(room) = self.nodes.get(node) else { return 0 };
        let claimed = self.claimed.get(&node).and_then(|claimed| claimed.get(resource));
        room.free(resource).saturating_sub(claimed.copied().unwrap_or_default())
    }
}

impl<'a> Room<'a> {
    /// What is free once every pending pod that fits somewhere has its node.
    pub(crate) fn of(capacity: &'a Capacity) -> Self {
        let nodes = capacity.nodes.as_slice();
        let free = Unclaimed { nodes, claimed: BTreeMap::new() };
        let mut room = Self { nodes, free, quotas: capacity.quotas.clone(), kinds: Vec::new() };
        let mut pending: Vec<_> = capacity.pending.iter().collect();
        pending.sort_by(|a, b| a.name.cmp(&b.name));
        for pod in pending {
            room.take(&pod.spec, 1);
        }
        room
    }

    /// Takes room for so many pods of a spec that are about to be made.
    pub(crate) fn reserve(&mut self, spec: &Value, count: usize) {
        self.take(spec, count);
        for quota in &mut self.quotas {
            quota.take([(spec, count)]);
        }
    }

    /// Takes room on nodes for pods, as far as there is any. Pods that exist are in the quotas already.
    fn take(&mut self, spec: &Value, count: usize) {
        let kind = self.kind(spec);
        let asked = self.kinds[kind].asked.clone();
        for _ in 0..count {
            // Where one finds no node, none after it does.
            let Some(node) = self.kinds[kind].candidates().next() else { return };
            self.claim(node, &asked);
        }
    }

    /// Takes room for all the pods of a group or for none. Gives the node of each.
    pub(crate) fn place(&mut self, shape: &GroupShape) -> Result<Vec<String>, NoRoom> {
        let specs = || shape.roles.iter().map(|role| (&*role.spec, role.count));
        if let Some(short) = self.quotas.iter().find_map(|quota| quota.short(specs())) {
            return Err(NoRoom::quota(&short));
        }
        let kinds: Vec<usize> =
            specs().flat_map(|(spec, count)| std::iter::repeat_n(self.kind(spec), count)).collect();
        let asked = kinds.iter().enumerate().map(|(position, kind)| Asked { position, kind: *kind });
        let found = search::search(self.nodes, &self.free, &self.kinds, asked.collect());
        let Some(places) = found else { return Err(NoRoom::explain(self, &shape.roles)) };
        for (kind, node) in kinds.iter().zip(&places) {
            let asked = self.kinds[*kind].asked.clone();
            self.claim(*node, &asked);
        }
        for quota in &mut self.quotas {
            quota.take(specs());
        }
        Ok(places.into_iter().map(|node| self.nodes[node].name.clone()).collect())
    }

    fn kind(&mut self, spec: &Value) -> usize {
        self.kinds.iter().position(|kind| kind.spec == *spec).unwrap_or_else(|| {
            self.kinds.push(Kind::new(spec, self.nodes, &self.free));
            self.kinds.len() - 1
        })
    }

    fn claim(&mut self, node: usize, asked: &Resources) {
        add(self.free.claimed.entry(node).or_default(), asked);
        for kind in &mut self.kinds {
            kind.changed(node, &self.free);
        }
    }
}
