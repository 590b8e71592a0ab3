//! The conditions of a fleet. Each has one rule, one reason and one message; its time changes only with its
//! status.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::status::{FleetCondition, GroupStatus, Phase, RankCount, RolloutStatus, RolloutStep};

use super::blocked::Hold;
use super::blocker::{self, Blocker};
use super::classify::is_ready;
use super::counts::Counts;
use super::planner::Planner;
use super::progress;
use super::progress_deadline::deadline;
use crate::{group, text, time};

/// The current content of a condition.
pub(super) struct Verdict {
    pub(super) type_: &'static str,
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

fn verdict(type_: &'static str, status: &'static str, reason: &'static str, message: String) -> Verdict {
    Verdict { type_, status, reason, message }
}

/// All conditions, in a fixed order.
pub(super) fn conditions(
    planner: &Planner<'_>,
    counts: &Counts,
    rollout: &RolloutStatus,
    hold: Option<Hold>,
    limit: Duration,
    before: &[FleetCondition],
) -> Vec<FleetCondition> {
    let missing = counts.available < counts.wanted;
    let overdue = deadline(rollout, missing, limit).is_some_and(|end| end <= planner.inputs.now);
    let overdue = overdue.then_some(limit);
    let mut verdicts = vec![
        availability(planner, counts),
        progressing(planner, rollout, overdue),
        replica_failure(planner),
        stalled(planner, rollout, hold, overdue),
    ];
    verdicts.extend(placement(planner));
    verdicts.extend(
        planner
            .inputs
            .failed_writes
            .iter()
            .map(|failed| verdict(failed.condition, "True", failed.reason, failed.message.clone())),
    );
    verdicts.extend(suspended(planner));
    verdicts.extend(unreachable(planner));
    verdicts.into_iter().map(|verdict| dated(verdict, before, planner.inputs.now)).collect()
}

fn availability(planner: &Planner<'_>, counts: &Counts) -> Verdict {
    let fleet = planner.fleet;
    let floor = fleet.replicas.saturating_sub(fleet.strategy.max_unavailable);
    // A fleet without any serving group is not available, whatever `maxUnavailable` is.
    let floor = floor.max(fleet.replicas.min(1));
    let enough = u32::try_from(counts.available).is_ok_and(|available| available >= floor);
    let mut message = format!("{} of {} groups are available", counts.available, counts.wanted);
    if let Some(worst) = blocker::waiting(planner) {
        message = format!("{message}; {}", blocker::in_words(worst));
    }
    if enough {
        verdict("Available", "True", "MinimumGroupsAvailable", message)
    } else {
        verdict("Available", "False", "MinimumGroupsUnavailable", message)
    }
}

fn progressing(planner: &Planner<'_>, rollout: &RolloutStatus, overdue: Option<Duration>) -> Verdict {
    if let Some(held) = planner.inputs.held.filter(|held| !held.temporary || overdue.is_none()) {
        return verdict("Progressing", "False", held.reason.as_str(), held.message.clone());
    }
    let step = rollout.step;
    let reported = rollout.reason.as_ref().map_or(step.to_string(), |why| format!("{step}: {why}"));
    match step {
        RolloutStep::Complete => verdict("Progressing", "True", "Complete", reported),
        RolloutStep::RollingBack | RolloutStep::RolledBack => {
            verdict("Progressing", "False", "RolledBack", reported)
        }
        RolloutStep::Paused if overdue.is_none() => verdict("Progressing", "Unknown", "Paused", reported),
        RolloutStep::Suspended => verdict("Progressing", "Unknown", "Suspended", reported),
        _ => match overdue {
            Some(limit) => {
                let message = format!("nothing has moved for {} s; {reported}", limit.as_secs());
                verdict("Progressing", "False", "ProgressDeadlineExceeded", message)
            }
            None => verdict("Progressing", "True", "RollingOut", reported),
        },
    }
}

fn replica_failure(planner: &Planner<'_>) -> Verdict {
    let refused = planner.inputs.observed.iter().find_map(|(name, observed)| {
        let cluster = observed.cluster.as_ref()?;
        Some((name, cluster.replica_failure.as_ref().or(cluster.warning.as_ref())?))
    });
    if let Some((name, cause)) = refused {
        let message = format!("RayCluster {name}: {cause}");
        return verdict("ReplicaFailure", "True", "RayClusterFailed", message);
    }
    let not_made = planner.inputs.observed.values().find_map(|observed| observed.refused.clone());
    let not_tried = || planner.inputs.held.filter(|held| held.temporary).map(|held| held.message.clone());
    if let Some(message) = not_made.or_else(not_tried) {
        return verdict("ReplicaFailure", "True", RolloutStep::CreateRefused.as_str(), message);
    }
    let failed = planner.groups.iter().find_map(|group| Some((group, failure(group)?)));
    failed.map_or_else(
        || verdict("ReplicaFailure", "False", "NoFailure", String::new()),
        |(group, cause)| {
            verdict("ReplicaFailure", "True", "GroupFailed", format!("group {}: {cause}", group.name))
        },
    )
}

/// A failure from which a group has not recovered yet.
fn failure(group: &GroupStatus) -> Option<String> {
    if group.phase == Phase::Failed {
        return group.message.clone();
    }
    let recovering = (group.failures > 0 || group.restarts > 0) && group.phase != Phase::Ready;
    // One that has recovered may have to go for another reason. What has failed is ended without a drain.
    let drains = group.phase == Phase::Draining || group.left_endpoints_at.is_some();
    group.goal_reason.clone().filter(|_| recovering && !drains)
}

/// Why nothing can progress by itself, and the cure.
fn stalled(
    planner: &Planner<'_>,
    rollout: &RolloutStatus,
    hold: Option<Hold>,
    overdue: Option<Duration>,
) -> Verdict {
    if let Some(held) = planner.inputs.held.filter(|held| !held.temporary) {
        return verdict("Stalled", "True", held.reason.as_str(), held.message.clone());
    }
    if let Some(finalizer) = blocker::finalizer(planner) {
        return verdict("Stalled", "True", "HeldByFinalizer", finalizer);
    }
    if let Some(hold) = hold {
        return verdict("Stalled", "True", "NoRoom", hold);
    }
    if let Some(limit) = overdue {
        let Blocker { what, cure } = blocker::find(planner, rollout);
        let message = format!("nothing has moved for {} s: {what}; {cure}", limit.as_secs());
        return verdict("Stalled", "True", "ProgressDeadlineExceeded", message);
    }
    if let Some(rollback) = rollout.rollback.as_ref().filter(|_| rollout.step == RolloutStep::RolledBack) {
        let message = format!(
            "{}; the fleet serves {} as before: change the spec, or take it back with `kubectl rayfleet rollout \
             undo {}`",
            progress::failed(rollback),
            rollout.to,
            planner.fleet.name
        );
        return verdict("Stalled", "True", "RolledBack", message);
    }
    verdict("Stalled", "False", "NotStalled", String::new())
}

/// Bridge mode: every rank of every serving group runs where it was planned. A group with a difference fails,
/// so a ready one is as planned once all its ranks exist.
fn placement(planner: &Planner<'_>) -> Option<Verdict> {
    planner.fleet.model.as_ref()?;
    let whole = |group: &GroupStatus| group.ranks.is_some_and(RankCount::is_whole);
    let serving: Vec<_> = planner.groups.iter().filter(|group| is_ready(group)).collect();
    let misplaced = planner.groups.iter().find(|group| !group.misplaced.is_empty());
    if let Some(group) = misplaced {
        let message = format!("group {}: {}", group.name, group.misplaced.join("; "));
        return Some(verdict("PlacementVerified", "False", "WrongPlacement", message));
    }
    let unverified = |group: &GroupStatus| {
        let ray = planner.inputs.observed.get(&group.name).and_then(|observed| observed.ray.as_ref());
        match ray.map(|ray| &ray.state) {
            Some(Ok(alive)) => alive.engine.unverified.is_some(),
            // Nobody has asked yet: what the replica before found is still so.
            Some(Err(_)) | None => group.message.is_some(),
        }
    };
    if let Some(group) = serving.iter().find(|group| unverified(group)) {
        let cause = group.message.as_deref().unwrap_or("its ranks cannot be read");
        let message = format!("group {}: {cause}", group.name);
        return Some(verdict("PlacementVerified", "Unknown", "DashboardUnreachable", message));
    }
    let odd = serving.iter().find(|group| !whole(group));
    Some(match odd {
        _ if serving.is_empty() => {
            verdict("PlacementVerified", "Unknown", "NoReadyGroup", "no group is ready".to_owned())
        }
        Some(group) => {
            let placed = group.ranks.map_or_else(|| "none".to_owned(), |ranks| ranks.to_string());
            let message = format!("group {}: {placed} ranks are where the plan has them", group.name);
            verdict("PlacementVerified", "False", "RanksMissing", message)
        }
        None => {
            let message = format!("all ranks of {} ready groups are as planned", serving.len());
            verdict("PlacementVerified", "True", "AsPlanned", message)
        }
    })
}

/// Suspended groups, and who resumes them. Only reported while there are any.
fn suspended(planner: &Planner<'_>) -> Option<Verdict> {
    let all: Vec<&GroupStatus> =
        planner.groups.iter().filter(|group| group.phase == Phase::Suspended).collect();
    let first = all.first()?;
    let more = if all.len() > 1 { format!("; {} groups more", all.len() - 1) } else { String::new() };
    let why = first.message.as_deref().unwrap_or_default();
    Some(verdict("Suspended", "True", "RayClusterSuspended", format!("group {}: {why}{more}", first.name)))
}

/// Groups whose state is unknown. Only reported while there are any.
fn unreachable(planner: &Planner<'_>) -> Option<Verdict> {
    let count = planner.inputs.observed.values().filter(|observed| group::unreachable(observed)).count();
    let words = || format!("{count} groups: {}", group::unreachable_in_words(&planner.fleet.namespace));
    (count > 0).then(|| verdict(group::UNREACHABLE, "True", "NoPodAnswers", words()))
}

/// Adds the time to a verdict: a condition that is unchanged keeps its time.
pub(super) fn dated(verdict: Verdict, before: &[FleetCondition], now: Timestamp) -> FleetCondition {
    let Verdict { type_, status, reason, message } = verdict;
    FleetCondition::next(before, type_, status, reason, text::bounded(message), time::began(now))
}
