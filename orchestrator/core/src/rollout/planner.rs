//! The planner's planner: the groups as they become while goals are set, and what the planner may know.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::Timestamp;
use rayfleet_api::ValidFleet;
use rayfleet_api::spec::StrategyType;
use rayfleet_api::status::{Goal, GroupStatus, NodeFailures, Phase};
use rayfleet_api::valid::GroupShape;

use super::blocked::Blocked;
use super::classify::{RevisionMatch, is_being_swapped, is_retained, is_serving, revision_match};
use super::closing_nodes::ClosingNodes;
use super::pend_failures::PendFailures;
use super::retirement_order::RetirementOrder;
use super::target::RolloutTarget;
use crate::capacity::{Room, Source};
use crate::held::{FailedWrite, HoldReason};
use crate::observed::ObservedGroup;

/// What the planner may know, beside the groups.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// The fleet as it is to become.
    pub(crate) fleet: &'a ValidFleet,
    /// The fleet with the revision that was complete last, if that is known.
    pub(crate) stable: Option<&'a ValidFleet>,
    /// Where it is going, and why.
    pub(crate) target: &'a RolloutTarget<'a>,
    /// Why nothing is changed now, if so.
    pub(crate) held: Option<&'a HoldReason>,
    /// What could not be written beside the groups.
    pub(crate) failed_writes: &'a [FailedWrite],
    /// What was observed, by group name.
    pub(crate) observed: &'a BTreeMap<String, ObservedGroup>,
    /// Entries that were struck out in this pass.
    pub(crate) removed: &'a [GroupStatus],
    /// What the nodes have.
    pub(crate) capacity: Option<&'a dyn Source>,
    /// What the fleet has against nodes.
    pub(crate) nodes: &'a [NodeFailures],
    /// Now.
    pub(crate) now: Timestamp,
}

/// The groups as they become.
pub(crate) struct Planner<'a> {
    pub(super) fleet: &'a ValidFleet,
    pub(super) inputs: Inputs<'a>,
    pub(crate) groups: Vec<GroupStatus>,
    /// Groups that the partition keeps on the old revision.
    pub(super) kept: BTreeSet<String>,
    /// Which group goes first when one must go.
    pub(super) retirement_order: Rc<RetirementOrder<'a>>,
    /// Why a group that is wanted was not created.
    pub(crate) blocked: Option<Blocked>,
    /// Groups that this pass has entered.
    pub(super) made: usize,
    /// Whether the next pass has some to enter.
    pub(super) more: bool,
    /// Slots that entries have, and the first that may be free.
    slots: Option<(BTreeSet<u32>, u32)>,
    /// Groups with a pod on a node that is to be emptied.
    pub(super) moving: ClosingNodes,
    /// Surge groups of this spec waited for nodes in vain.
    pub(super) pend_failures: Option<PendFailures>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(inputs: Inputs<'a>, groups: Vec<GroupStatus>) -> Self {
        let kept = kept(&inputs, &groups);
        let standing = Rc::new(RetirementOrder::new(inputs.capacity, inputs.observed));
        let moving = ClosingNodes::new(inputs.observed, &groups);
        let in_vain = inputs.target.in_vain();
        Self {
            fleet: inputs.fleet,
            inputs,
            groups,
            kept,
            retirement_order: standing,
            blocked: None,
            pend_failures: in_vain,
            made: 0,
            more: false,
            slots: None,
            moving,
        }
    }

    /// Whether a pass that follows at once has more groups to enter.
    pub(crate) fn more(&self) -> bool {
        self.more
    }

    /// The lowest slot that no entry has. No entry leaves the planner, so a slot that was passed over stays taken.
    pub(super) fn take_slot(&mut self) -> u32 {
        let groups = &self.groups;
        let (taken, from) =
            self.slots.get_or_insert_with(|| (groups.iter().map(|group| group.slot).collect(), 0));
        let free = (*from..=u32::MAX).find(|slot| !taken.contains(slot)).unwrap_or_default();
        *from = free.saturating_add(1);
        free
    }

    /// The revision to keep, if there is one that groups can be made of.
    pub(super) fn stable(&self) -> Option<&'a ValidFleet> {
        stable(&self.inputs)
    }

    /// Groups that are to stay.
    pub(super) fn active(&self) -> impl Iterator<Item = &GroupStatus> {
        self.groups.iter().filter(|group| is_retained(group))
    }

    /// Number of groups that are to stay.
    pub(super) fn active_count(&self) -> u32 {
        count(self.active())
    }

    /// Number of groups that exist or are about to.
    pub(super) fn existing_count(&self) -> u32 {
        count(self.groups.iter())
    }

    /// How a group stands to what is wanted. One that has to leave its nodes can only be replaced.
    pub(super) fn age(&self, group: &GroupStatus) -> RevisionMatch {
        if self.moving.has(group) { RevisionMatch::PodsOutdated } else { revision_match(self.fleet, group) }
    }

    /// A partition keeps it as it is, and so do its nodes.
    pub(super) fn is_kept(&self, group: &GroupStatus) -> bool {
        self.kept.contains(&group.name) && !self.moving.has(group)
    }

    /// Groups of an age that a rollout has to change.
    pub(super) fn to_change(&self, of: RevisionMatch) -> impl Iterator<Item = &GroupStatus> {
        self.active().filter(move |group| self.age(group) == of && !self.is_kept(group))
    }

    /// Groups that have to leave their nodes are more than those that stand in for them.
    pub(super) fn moves(&self) -> bool {
        let staying = count(self.active().filter(|group| !self.moving.has(group)));
        staying < self.fleet.replicas && self.active().any(|group| self.moving.has(group))
    }

    /// Groups above `replicas` that the rollout may have now. Engines are swapped in place; only where no
    /// group may be missing does one group more have to take over, until the last swapped one serves.
    pub(super) fn surge(&self) -> u32 {
        let strategy = &self.fleet.strategy;
        if strategy.kind == StrategyType::Recreate {
            0
        } else if self.to_change(RevisionMatch::PodsOutdated).next().is_some() {
            strategy.max_surge
        } else if strategy.max_unavailable == 0 && self.swaps() {
            strategy.max_surge.min(1)
        } else {
            0
        }
    }

    fn swaps(&self) -> bool {
        self.to_swap() || self.active().any(is_being_swapped)
    }

    /// A group that serves is to have its engine swapped.
    pub(super) fn to_swap(&self) -> bool {
        self.to_change(RevisionMatch::EngineOutdated).any(is_serving)
    }

    /// Groups that are to have the new pods in the end.
    pub(super) fn current_target(&self) -> u32 {
        self.fleet.replicas.saturating_sub(self.old_target())
    }

    /// Groups that the partition wants to be of the old revision in the end: as many as there are, or can be
    /// made.
    fn old_target(&self) -> u32 {
        let partition = partition(self.fleet).min(self.fleet.replicas);
        let kept = count(self.active().filter(|group| self.kept.contains(&group.name)));
        if self.stable().is_some() { partition } else { kept }
    }

    /// What the next new group is made of: the partition's share first, if a group of it is missing.
    pub(super) fn next_fleet(&self) -> &'a ValidFleet {
        let old = self.active().filter(|group| revision_match(self.fleet, group) != RevisionMatch::UpToDate);
        // What has to leave its nodes is to be replaced by its like.
        let old = count(old.filter(|group| !self.moving.has(group)));
        match self.stable() {
            Some(stable) if old < self.old_target() => stable,
            _ => self.fleet,
        }
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
        let mut room = Room::of(self.inputs.capacity?.capacity());
        // What is suspended holds no room, and who resumes it sees to it that there is some.
        for group in self.active().filter(|group| group.phase != Phase::Suspended) {
            let observed = self.inputs.observed.get(&group.name);
            let mut there =
                observed.map_or(0, |observed| observed.pods.iter().filter(|pod| !pod.deleting).count());
            // A group of an older template may have fewer pods than the new ones.
            let mut left =
                observed.and_then(|observed| observed.cluster.as_ref()?.pods).unwrap_or(usize::MAX);
            for role in &self.shape(group).roles {
                let wanted = role.count.min(left);
                let present = wanted.min(there);
                (left, there) = (left - wanted, there - present);
                room.reserve(role, wanted - present);
            }
        }
        Some(room)
    }

    /// The pods that a group is made of, as far as its template is known.
    fn shape(&self, group: &GroupStatus) -> &'a GroupShape {
        let stable = self.inputs.stable.filter(|stable| stable.revision.pod == group.revision);
        &stable.unwrap_or(self.fleet).shape
    }
}

/// The revision that was complete last, where it is another than the one to go to.
fn stable<'a>(inputs: &Inputs<'a>) -> Option<&'a ValidFleet> {
    inputs.stable.filter(|stable| stable.revision != inputs.fleet.revision)
}

/// Groups that the partition keeps on an old revision.
fn partition(fleet: &ValidFleet) -> u32 {
    if fleet.strategy.kind == StrategyType::Recreate { 0 } else { fleet.strategy.partition }
}

/// The partition keeps that many outdated groups: those of the revision that was complete last before others,
/// then those of the lowest slots.
fn kept(inputs: &Inputs<'_>, groups: &[GroupStatus]) -> BTreeSet<String> {
    let fleet = inputs.fleet;
    let mut outdated: Vec<_> = groups
        .iter()
        .filter(|group| is_retained(group) && revision_match(fleet, group) != RevisionMatch::UpToDate)
        .collect();
    let proven = |group: &GroupStatus| {
        stable(inputs).is_some_and(|stable| revision_match(stable, group) == RevisionMatch::UpToDate)
    };
    outdated.sort_by_key(|group| (!proven(group), group.slot, group.attempt));
    let kept = usize::try_from(partition(fleet)).unwrap_or(usize::MAX);
    outdated.into_iter().take(kept).map(|group| group.name.clone()).collect()
}

pub(super) fn count<'g>(groups: impl Iterator<Item = &'g GroupStatus>) -> u32 {
    u32::try_from(groups.count()).unwrap_or(u32::MAX)
}
