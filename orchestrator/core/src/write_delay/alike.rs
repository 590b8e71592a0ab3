//! In what two statuses are alike: the newer one with what only people read, counts or words, as it was in the older. Whoever finds
//! that the same as the older one has lost nothing by a crash. Linear in the groups.

use std::collections::HashSet;

use jiff::SignedDuration;
use rayfleet_api::status::{Goal, GroupStatus, Phase, RolloutStatus};
use rayfleet_api::{GroupName, RayClusterFleetStatus};

use crate::ledger;

/// What another replica needs, at most, to take over and to ask the engine again: the lease, and some looks.
const FOUND_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// `after`, with all that is only reported as it was before.
pub(super) fn without_reported_fields(
    before: &RayClusterFleetStatus,
    after: &RayClusterFleetStatus,
) -> RayClusterFleetStatus {
    RayClusterFleetStatus {
        observed_generation: before.observed_generation,
        replicas: before.replicas,
        updated_replicas: before.updated_replicas,
        ready_replicas: before.ready_replicas,
        available_replicas: before.available_replicas,
        unavailable_replicas: before.unavailable_replicas,
        conditions: before.conditions.clone(),
        startup_times: before.startup_times.clone(),
        ending_times: before.ending_times.clone(),
        groups: with_struck(
            &before.groups,
            each(&before.groups, &after.groups, group_without_reported_fields),
        ),
        rollout: rollout(before, after, |old, new| RolloutStatus {
            step: old.step,
            reason: old.reason.clone(),
            revision_number: old.revision_number,
            last_progress: old.last_progress.clone(),
            ..new.clone()
        }),
        ..after.clone()
    }
}

/// The groups after, and those that were struck out since: that a group on its way out is gone can be observed again.
fn with_struck(before: &[GroupStatus], after: Vec<GroupStatus>) -> Vec<GroupStatus> {
    let left: HashSet<GroupName> = after.iter().map(|group| group.name.clone()).collect();
    let leaving = |group: &GroupStatus| group.goal == Goal::Retire && group.phase == Phase::Stopping;
    let struck = before.iter().enumerate().filter(|(_, group)| leaving(group) && !left.contains(&group.name));
    let (mut all, mut after) = (Vec::with_capacity(after.len()), after.into_iter());
    // Each where it was, those that came since behind.
    for (at, group) in struck {
        all.extend(after.by_ref().take(at.saturating_sub(all.len())));
        all.push(group.clone());
    }
    all.extend(after);
    all
}

fn group_without_reported_fields(before: &GroupStatus, after: &GroupStatus) -> GroupStatus {
    let mut group = without_text(before, after);
    let arrives =
        after.phase == Phase::Ready && (before.phase == Phase::Ready || arrives_in_time(before, after));
    // Where a group stands on its way up is found again from its pods, its engine and its gate.
    if comes_up(before.phase) && (comes_up(after.phase) || arrives) {
        group.phase = before.phase;
        group.phase_since.clone_from(&before.phase_since);
        group.uid.clone_from(&before.uid);
    }
    // Counted from later on, it is taken for available later.
    if arrives {
        group.ready_since.clone_from(&before.ready_since);
        group.start_deadline.clone_from(&before.start_deadline);
        group.started_at.clone_from(&before.started_at);
    }
    group
}

/// A group is ready so long before its start is over that whoever finds it not yet so can still find it ready in time.
fn arrives_in_time(before: &GroupStatus, after: &GroupStatus) -> bool {
    let left = before
        .start_deadline
        .as_ref()
        .zip(after.phase_since.as_ref())
        .map(|(end, now)| end.0.duration_since(now.0));
    comes_up(before.phase) && left.is_none_or(|left| left >= FOUND_AGAIN)
}

fn comes_up(phase: Phase) -> bool {
    phase < Phase::Ready
}

/// Whether nothing but words about groups and the rollout differs.
pub(super) fn same_but_text(before: &RayClusterFleetStatus, after: &RayClusterFleetStatus) -> bool {
    let plain = RayClusterFleetStatus {
        groups: each(&before.groups, &after.groups, without_text),
        rollout: rollout(before, after, |old, new| RolloutStatus {
            reason: old.reason.clone(),
            last_progress: old.last_progress.clone(),
            ..new.clone()
        }),
        conditions: before.conditions.clone(),
        ..after.clone()
    };
    let states = |status: &RayClusterFleetStatus| -> Vec<(String, String, String)> {
        let of = status.conditions.iter();
        of.map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone())).collect()
    };
    plain == *before && states(before) == states(after)
}

/// The group after, with the words about it and the picture of it as they were before.
fn without_text(before: &GroupStatus, after: &GroupStatus) -> GroupStatus {
    GroupStatus {
        message: before.message.clone(),
        head: before.head.clone(),
        nodes: before.nodes.clone(),
        ranks: before.ranks,
        placement: before.placement.clone(),
        misplaced: before.misplaced.clone(),
        in_flight: before.in_flight,
        in_flight_at: before.in_flight_at.clone(),
        // Counted from later on, a drain or a start only takes longer.
        left_endpoints_at: before.left_endpoints_at.clone(),
        forming_since: before.forming_since.clone(),
        waiting_since: before.waiting_since.clone(),
        ..after.clone()
    }
}

/// Each group after, made from itself and what it was before.
fn each(
    before: &[GroupStatus],
    after: &[GroupStatus],
    of: fn(&GroupStatus, &GroupStatus) -> GroupStatus,
) -> Vec<GroupStatus> {
    let was = ledger::by_name(before);
    let of = |group: &GroupStatus| was.get(&group.name).map_or_else(|| group.clone(), |was| of(was, group));
    after.iter().map(of).collect()
}

fn rollout(
    before: &RayClusterFleetStatus,
    after: &RayClusterFleetStatus,
    of: fn(&RolloutStatus, &RolloutStatus) -> RolloutStatus,
) -> Option<RolloutStatus> {
    match (&before.rollout, &after.rollout) {
        (Some(before), Some(after)) => Some(of(before, after)),
        (_, after) => after.clone(),
    }
}
