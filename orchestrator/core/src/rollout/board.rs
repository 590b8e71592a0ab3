//! The planner's board: the groups as they become while goals are set, and what the planner may know.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rayfleet_api::ValidFleet;
use rayfleet_api::spec::StrategyType;
use rayfleet_api::status::{Goal, GroupStatus, NodeFailures};

use super::create::Blocked;
use super::view::{Age, active, age, being_swapped, serving};
use crate::capacity::{Capacity, Room};
use crate::seen::GroupSeen;

/// What the planner may know, beside the groups.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// The fleet.
    pub(crate) fleet: &'a ValidFleet,
    /// What was observed, by group name.
    pub(crate) seen: &'a BTreeMap<String, GroupSeen>,
    /// Entries that were struck out in this pass.
    pub(crate) removed: &'a [GroupStatus],
    /// What the nodes have.
    pub(crate) capacity: Option<&'a Capacity>,
    /// What the fleet has against nodes.
    pub(crate) nodes: &'a [NodeFailures],
    /// Now.
    pub(crate) now: Timestamp,
}

/// The groups as they become.
pub(crate) struct Board<'a> {
    pub(super) fleet: &'a ValidFleet,
    pub(super) inputs: Inputs<'a>,
    pub(crate) groups: Vec<GroupStatus>,
    /// Groups that the partition keeps on the old revision.
    pub(super) kept: BTreeSet<String>,
    /// Why a group that is wanted was not created.
    pub(crate) blocked: Option<Blocked>,
}

impl<'a> Board<'a> {
    pub(crate) fn new(inputs: Inputs<'a>, groups: Vec<GroupStatus>) -> Self {
        let kept = kept(inputs.fleet, &groups);
        Self { fleet: inputs.fleet, inputs, groups, kept, blocked: None }
    }

    /// Groups that are to stay.
    pub(super) fn active(&self) -> impl Iterator<Item = &GroupStatus> {
        self.groups.iter().filter(|group| active(group))
    }

    /// Number of groups that are to stay.
    pub(super) fn active_count(&self) -> u32 {
        count(self.active())
    }

    /// Number of groups that exist or are about to.
    pub(super) fn existing_count(&self) -> u32 {
        count(self.groups.iter())
    }

    /// Groups of an age that a rollout has to change.
    pub(super) fn to_change(&self, of: Age) -> impl Iterator<Item = &GroupStatus> {
        self.active().filter(move |group| age(self.fleet, group) == of && !self.kept.contains(&group.name))
    }

    /// Groups above `replicas` that the rollout may have now. Engines are swapped in place; only where no
    /// group may be missing does one group more have to take over, until the last swapped one serves.
    pub(super) fn surge(&self) -> u32 {
        let strategy = &self.fleet.strategy;
        if strategy.kind == StrategyType::Recreate {
            0
        } else if self.to_change(Age::OldPods).next().is_some() {
            strategy.max_surge
        } else if strategy.max_unavailable == 0 && self.swaps() {
            strategy.max_surge.min(1)
        } else {
            0
        }
    }

    fn swaps(&self) -> bool {
        self.to_swap() || self.active().any(being_swapped)
    }

    /// A group that serves is to have its engine swapped.
    pub(super) fn to_swap(&self) -> bool {
        self.to_change(Age::OldEngine).any(serving)
    }

    /// Groups that are to have the new pods in the end.
    pub(super) fn current_target(&self) -> u32 {
        let kept = count(self.active().filter(|group| self.kept.contains(&group.name)));
        self.fleet.replicas.saturating_sub(kept)
    }

    /// Sets goals in the order of `key`, as far as `may` allows.
    pub(super) fn set_goals<K: Ord>(
        &mut self,
        goal: Goal,
        reason: &str,
        mut pick: impl FnMut(&GroupStatus) -> Option<K>,
        mut may: impl FnMut(&GroupStatus) -> bool,
    ) {
        let mut order: Vec<(K, usize)> =
            self.groups.iter().enumerate().filter_map(|(at, group)| Some((pick(group)?, at))).collect();
        order.sort();
        for (_, at) in order {
            if may(&self.groups[at]) {
                let group = &mut self.groups[at];
                group.goal = goal;
                group.goal_reason = Some(reason.to_owned());
            }
        }
    }

    /// What is free for one group more, when that is known: pods of the own groups that do not exist yet
    /// are taken off.
    pub(super) fn room(&self) -> Option<Room<'a>> {
        let mut room = Room::of(self.inputs.capacity?);
        let shapes = &self.fleet.shape.pods;
        for group in self.active() {
            let seen = self.inputs.seen.get(&group.name);
            let there = seen.map_or(0, |seen| seen.pods.iter().filter(|pod| !pod.deleting).count());
            for shape in shapes.iter().skip(there) {
                room.take_one(&shape.spec);
            }
        }
        Some(room)
    }
}

/// The partition keeps that many outdated groups, those of the lowest slots.
fn kept(fleet: &ValidFleet, groups: &[GroupStatus]) -> BTreeSet<String> {
    if fleet.strategy.kind == StrategyType::Recreate {
        return BTreeSet::new();
    }
    let mut outdated: Vec<_> =
        groups.iter().filter(|group| active(group) && age(fleet, group) != Age::Current).collect();
    outdated.sort_by_key(|group| (group.slot, group.attempt));
    let partition = usize::try_from(fleet.strategy.partition).unwrap_or(usize::MAX);
    outdated.into_iter().take(partition).map(|group| group.name.clone()).collect()
}

pub(super) fn count<'g>(groups: impl Iterator<Item = &'g GroupStatus>) -> u32 {
    u32::try_from(groups.count()).unwrap_or(u32::MAX)
}
