//! The planner's state: the groups as they change while goals are set, and the planner's inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::Timestamp;
use rayfleet_api::spec::StrategyType;
use rayfleet_api::status::{Goal, GroupStatus, NodeFailures, Phase};
use rayfleet_api::valid::GroupShape;
use rayfleet_api::{GroupName, ValidFleet};

use super::blocked::Blocked;
use super::classify::{RevisionMatch, is_being_swapped, is_retained, is_serving, revision_match};
use super::closing_nodes::ClosingNodes;
use super::pend_failures::PendFailures;
use super::retirement_order::RetirementOrder;
use super::target::RolloutTarget;
use crate::capacity::{Budget, Room, Source};
use crate::held::{FailedWrite, HoldReason};
use crate::observed::ObservedGroup;

/// The planner's inputs besides the groups.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// The fleet to reach.
    pub(crate) fleet: &'a ValidFleet,
    /// The fleet at its last complete revision, if known.
    pub(crate) stable: Option<&'a ValidFleet>,
    /// The target revision, and why.
    pub(crate) target: &'a RolloutTarget<'a>,
    /// Why nothing is changed now, if so.
    pub(crate) held: Option<&'a HoldReason>,
    /// Writes outside of the groups that failed.
    pub(crate) failed_writes: &'a [FailedWrite],
    /// Observed state, by group name.
    pub(crate) observed: &'a BTreeMap<GroupName, ObservedGroup>,
    /// Entries that were removed from the ledger in this pass.
    pub(crate) removed: &'a [GroupStatus],
    /// Capacity of the nodes.
    pub(crate) capacity: Option<&'a dyn Source>,
    /// Failures of this fleet on nodes.
    pub(crate) nodes: &'a [NodeFailures],
    /// Now.
    pub(crate) now: Timestamp,
}

/// The groups while goals are set.
pub(crate) struct Planner<'a> {
    pub(super) fleet: &'a ValidFleet,
    pub(super) inputs: Inputs<'a>,
    pub(crate) groups: Vec<GroupStatus>,
    /// Groups that the partition keeps on the old revision.
    pub(super) kept: BTreeSet<GroupName>,
    /// Order in which groups are retired.
    pub(super) retirement_order: Rc<RetirementOrder<'a>>,
    /// Why a wanted group was not created.
    pub(crate) blocked: Option<Blocked>,
    /// Number of groups added by this pass.
    pub(super) made: usize,
    /// Whether the next pass has more to add.
    pub(super) more: bool,
    /// Slots in use, and the first that may be free.
    slots: Option<(BTreeSet<u32>, u32)>,
    /// What questions about room may still cost in this pass. Once it is spent there is room for nothing more.
    pub(super) looks: Budget,
    /// Groups with a pod on a node that is to be emptied, and those that somebody wants replaced.
    pub(super) moving: ClosingNodes,
    /// Surge groups of this spec waited for nodes in vain.
    pub(super) pend_failures: Option<PendFailures>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(inputs: Inputs<'a>, groups: Vec<GroupStatus>) -> Self {
        let moving = ClosingNodes::new(inputs.observed, &groups);
        let kept = kept(&inputs, &groups, &moving);
        Self {
            fleet: inputs.fleet,
            inputs,
            kept,
            retirement_order: Rc::new(RetirementOrder::new(inputs.capacity, inputs.observed)),
            blocked: None,
            pend_failures: inputs.target.in_vain(),
            made: 0,
            more: false,
            slots: None,
            looks: Room::budget_of_a_pass(),
            moving,
            groups,
        }
    }

    /// Whether a pass that follows at once has more groups to enter.
    pub(crate) fn more(&self) -> bool {
        self.more
    }

    /// The lowest free slot. Entries are never removed from a planner, so a slot that was skipped remains in
    /// use.
    pub(super) fn take_slot(&mut self) -> u32 {
        let groups = &self.groups;
        let (taken, from) =
            self.slots.get_or_insert_with(|| (groups.iter().map(|group| group.slot).collect(), 0));
        let free = (*from..=u32::MAX).find(|slot| !taken.contains(slot)).unwrap_or_default();
        *from = free.saturating_add(1);
        free
    }

    /// The stable revision, if groups can be created from it.
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

    /// Number of groups that exist or will be created.
    pub(super) fn existing_count(&self) -> u32 {
        count(self.groups.iter())
    }

    /// A group's revision match. One that must leave its nodes, or is to be replaced, can only be replaced.
    pub(super) fn age(&self, group: &GroupStatus) -> RevisionMatch {
        if self.moving.has(group) { RevisionMatch::PodsOutdated } else { revision_match(self.fleet, group) }
    }

    /// The partition keeps it as it is, and it need not leave its nodes.
    pub(super) fn is_kept(&self, group: &GroupStatus) -> bool {
        self.kept.contains(&group.name) && !self.moving.has(group)
    }

    /// Groups with this revision match that a rollout must change.
    pub(super) fn to_change(&self, of: RevisionMatch) -> impl Iterator<Item = &GroupStatus> {
        self.active().filter(move |group| self.age(group) == of && !self.is_kept(group))
    }

    /// More groups must leave their nodes than there are replacements.
    pub(super) fn moves(&self) -> bool {
        let staying = count(self.active().filter(|group| !self.moving.has(group)));
        staying < self.fleet.replicas && self.active().any(|group| self.moving.has(group))
    }

    /// Groups above `replicas` that the rollout may have now. Engines are swapped in place; only if no group
    /// may be missing, one more group must take over until the last swapped one serves.
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

    /// Whether a serving group is to have its engine swapped.
    pub(super) fn to_swap(&self) -> bool {
        self.to_change(RevisionMatch::EngineOutdated).any(is_serving)
    }

    /// Number of groups with the new pods at the end.
    pub(super) fn current_target(&self) -> u32 {
        self.fleet.replicas.saturating_sub(self.old_target())
    }

    /// Number of groups with the old revision at the end, by the partition: as many as exist or can be
    /// created.
    fn old_target(&self) -> u32 {
        let partition = partition(self.fleet).min(self.fleet.replicas);
        let kept = count(self.active().filter(|group| self.kept.contains(&group.name)));
        if self.stable().is_some() { partition } else { kept }
    }

    /// The fleet from which the next group is created: that of the partition first, if one of its groups is
    /// missing.
    pub(super) fn next_fleet(&self) -> &'a ValidFleet {
        let old = self.active().filter(|group| revision_match(self.fleet, group) != RevisionMatch::UpToDate);
        // A group that must leave its nodes is replaced by one of the same revision.
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

    /// The free room for one more group, if known: pods of the fleet's groups that do not exist yet are
    /// subtracted.
    pub(super) fn room(&self) -> Option<Room<'a>> {
        let mut room = Room::within(self.inputs.capacity?.capacity(), self.looks.clone());
        // A suspended group reserves no room; whoever resumes it provides it.
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

    /// The pods of a group, as far as its template is known.
    fn shape(&self, group: &GroupStatus) -> &'a GroupShape {
        let stable = self.inputs.stable.filter(|stable| stable.revision.pod == group.revision);
        &stable.unwrap_or(self.fleet).shape
    }
}

/// The last complete revision, if it is not the target.
fn stable<'a>(inputs: &Inputs<'a>) -> Option<&'a ValidFleet> {
    inputs.stable.filter(|stable| stable.revision != inputs.fleet.revision)
}

/// Number of groups that the partition keeps on an old revision.
fn partition(fleet: &ValidFleet) -> u32 {
    if fleet.strategy.kind == StrategyType::Recreate { 0 } else { fleet.strategy.partition }
}

/// The outdated groups that the partition keeps: those that need not leave first, or what stands in for one of those would go instead;
/// then those of the last complete revision, then those of the lowest slots.
fn kept(inputs: &Inputs<'_>, groups: &[GroupStatus], moving: &ClosingNodes) -> BTreeSet<GroupName> {
    let fleet = inputs.fleet;
    let mut outdated: Vec<_> = groups
        .iter()
        .filter(|group| is_retained(group) && revision_match(fleet, group) != RevisionMatch::UpToDate)
        .collect();
    let proven = |group: &GroupStatus| {
        stable(inputs).is_some_and(|stable| revision_match(stable, group) == RevisionMatch::UpToDate)
    };
    outdated.sort_by_key(|group| (moving.has(group), !proven(group), group.slot, group.attempt));
    let kept = usize::try_from(partition(fleet)).unwrap_or(usize::MAX);
    outdated.into_iter().take(kept).map(|group| group.name.clone()).collect()
}

pub(super) fn count<'g>(groups: impl Iterator<Item = &'g GroupStatus>) -> u32 {
    u32::try_from(groups.count()).unwrap_or(u32::MAX)
}
