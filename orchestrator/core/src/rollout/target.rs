//! The target revision of a fleet: the one that it asks for, or, once that has failed and `onFailure` is
//! `Rollback`, the last complete one. All other rules only know the target, so a rollback has every guarantee
//! of a rollout.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::revision::Revision;
use rayfleet_api::spec::OnFailure;
use rayfleet_api::status::{GroupStatus, Phase, RollbackStatus};
use rayfleet_api::{GroupName, RayClusterFleetStatus, ValidFleet};

use super::classify::{RevisionMatch, is_available, is_retained, revision_match};
use super::pend_failures::PendFailures;
use super::progress_deadline;
use crate::effect::Effect;
use crate::observed::ObservedGroup;
use crate::{group, startup_times, text, time};

/// The target of one fleet in one pass.
pub(crate) struct RolloutTarget<'a> {
    asked: &'a ValidFleet,
    stable: Option<&'a ValidFleet>,
    rollback: Option<RollbackStatus>,
    /// Revision for which waits for nodes failed, with the current spec, and how often.
    pended: Option<(Revision, PendFailures)>,
    /// The fleet while it must not change: it stays at its revision.
    held: Option<ValidFleet>,
}

impl<'a> RolloutTarget<'a> {
    /// Reads the target from the status: a rollback applies to the revision that failed, and to no other.
    /// With `refused` everything stays as it is.
    pub(crate) fn new(
        asked: &'a ValidFleet,
        stable: Option<&'a ValidFleet>,
        status: &RayClusterFleetStatus,
        refused: bool,
    ) -> Self {
        let stable = stable.filter(|stable| stable.revision != asked.revision);
        let recorded = status.rollout.as_ref().and_then(|rollout| rollout.rollback.clone());
        let rollback = recorded.filter(|rollback| {
            rollback.failed == asked.revision && asked.strategy.on_failure == OnFailure::Rollback
        });
        // Going forward again to the failed revision would be wrong.
        let lost = rollback.is_some() && stable.is_none();
        let target = if rollback.is_some() { stable.unwrap_or(asked) } else { asked };
        let held = (lost || refused).then(|| ValidFleet { paused: true, ..target.clone() });
        let same_spec = status.observed_generation == Some(asked.generation);
        let rollout = status.rollout.as_ref().filter(|_| same_spec);
        let pended = rollout
            .and_then(|rollout| Some((rollout.pend_failed_revision.clone()?, PendFailures::of(rollout))));
        Self { asked, stable, rollback, pended, held }
    }

    /// Failed waits for nodes of surge groups of the target revision.
    pub(super) fn in_vain(&self) -> Option<PendFailures> {
        let (pended, in_vain) = self.pended.as_ref()?;
        (*pended == self.fleet().revision).then_some(*in_vain)
    }

    /// The fleet to reach.
    pub(crate) fn fleet(&self) -> &ValidFleet {
        match (&self.held, &self.rollback, self.stable) {
            (Some(held), _, _) => held,
            (None, Some(_), Some(stable)) => stable,
            _ => self.asked,
        }
    }

    /// The fleet as its spec asks for.
    pub(super) fn asked(&self) -> &ValidFleet {
        self.asked
    }

    /// The rollback in force.
    pub(super) fn rollback(&self) -> Option<&RollbackStatus> {
        self.rollback.as_ref()
    }

    /// Starts a rollback if the wanted revision has failed; returns the event about it.
    pub(crate) fn turn_if_failed(
        &mut self,
        status: &RayClusterFleetStatus,
        groups: &[GroupStatus],
        observed: &BTreeMap<GroupName, ObservedGroup>,
        now: Timestamp,
    ) -> Option<Effect> {
        let asked = self.asked;
        let wanted = asked.strategy.on_failure == OnFailure::Rollback && !asked.paused;
        if self.rollback.is_some() || self.held.is_some() || !wanted {
            return None;
        }
        let stable = self.stable?;
        let mut new = groups.iter().filter(|group| revision_match(asked, group) == RevisionMatch::UpToDate);
        let overdue = progress_deadline::overdue(asked, status, now);
        let limit = startup_times::progress_deadline(asked, status);
        let cause = new.find_map(|group| {
            failed_to_start(asked, group).or_else(|| {
                let observed = observed.get(&group.name);
                let pods = observed.map(|observed| observed.pods.as_slice()).unwrap_or_default();
                let excused = stable.shape.needs_the_same_room(&asked.shape) && waits_for_room(observed)
                    || group::pulls_its_image(group, pods, now);
                if overdue && !excused { late(asked, group, limit, now) } else { None }
            })
        })?;
        let failed = asked.revision.clone();
        let message = format!("revision {failed} failed: {cause}; going back to {}", stable.revision);
        let cause = text::bounded(cause);
        self.rollback = Some(RollbackStatus { failed, cause, since: Some(time::began(now)) });
        Some(Effect::Event { warning: true, reason: "RolledBack", message })
    }
}

/// Its engine never served, after all allowed launches.
fn failed_to_start(fleet: &ValidFleet, group: &GroupStatus) -> Option<String> {
    let cause = group.goal_reason.as_deref().unwrap_or("failed");
    (group.failed_starts > fleet.failure.engine_restarts).then(|| format!("group {}: {cause}", group.name))
}

/// The rollout has waited for it too long.
fn late(fleet: &ValidFleet, group: &GroupStatus, limit: Duration, now: Timestamp) -> Option<String> {
    // A suspended group says nothing about the revision.
    let at_fault = !matches!(group.phase, Phase::Ready | Phase::Suspended);
    if !is_retained(group) || is_available(fleet, group, now) || !at_fault {
        return None;
    }
    let limit = limit.as_secs();
    let doing = group.message.as_deref().unwrap_or("no cause is known");
    Some(format!("group {} is still {} after {limit} s: {doing}", group.name, group.phase.as_str()))
}

/// A pod has no node: with the same pods as before that is not caused by the revision.
fn waits_for_room(observed: Option<&ObservedGroup>) -> bool {
    observed.is_some_and(|observed| observed.pods.iter().any(|pod| pod.node.is_none() && !pod.deleting))
}
