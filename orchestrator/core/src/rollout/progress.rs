//! The step of a rollout, its reason, and whether it makes progress.

use rayfleet_api::spec::WhenNoRoom;
use rayfleet_api::status::{
    GroupStatus, Phase, RayClusterFleetStatus, RollbackStatus, RolloutStatus, RolloutStep,
};

use super::blocked::{Blocked, Hold, ROOM_UNKNOWN};
use super::classify::{RevisionMatch, is_available, is_retained, revision_match};
use super::counts::Counts;
use super::planner::Planner;
use super::progress_made::{Since, moved};
use super::{admission, blocker, moving, pend};
use crate::{text, time};

/// The most groups named in a reason; the list of groups has all.
const NAMED: usize = 3;

/// The rollout's step and reason, and why it is stuck if it is.
pub(super) fn progress(
    planner: &Planner<'_>,
    before: &RayClusterFleetStatus,
    counts: &Counts,
    lost: u32,
) -> (RolloutStatus, Option<Hold>) {
    let fleet = planner.fleet;
    let hold = hold(planner);
    let (step, reason) = step(planner, counts, hold.as_ref());
    let old = before.rollout.clone().unwrap_or_default();
    let to = fleet.revision.clone();
    let outdated = planner.active().find(|group| revision_match(fleet, group) != RevisionMatch::UpToDate);
    let moved = moved(planner, &Since { status: before, rollout: &old }, counts, &to, step);
    let target = planner.inputs.target;
    let complete = step == RolloutStep::Complete;
    let proven = complete && planner.kept.is_empty() && fleet.replicas > 0;
    let mut rollout = RolloutStatus {
        stable: if proven { Some(to.clone()) } else { old.stable },
        // The stand-in for a refused spec cannot have failed.
        rollback: if planner.inputs.held.is_some() { old.rollback } else { target.rollback().cloned() },
        pend_failed_revision: None,
        pend_failures: 0,
        pend_retry_after: None,
        from: outdated.map(GroupStatus::revisions),
        revision_number: old.revision_number.filter(|_| old.to == to),
        last_progress: if moved { Some(time::began(planner.inputs.now)) } else { old.last_progress },
        lost_requests: old.lost_requests.saturating_add(i64::from(lost)),
        step,
        reason: reason.map(text::bounded),
        to,
    };
    // After a complete rollout the next group without room pends as the first one did.
    if let Some(in_vain) = planner.pend_failures.filter(|_| !complete) {
        in_vain.record(&mut rollout);
    }
    (rollout, hold)
}

/// A rollout that waits for room which nothing in progress will free.
fn hold(planner: &Planner<'_>) -> Option<Hold> {
    if planner.inputs.held.is_some() {
        return None;
    }
    let strategy = &planner.fleet.strategy;
    let in_vain = pend::stands(planner);
    if let Some(stays) = moving::stays(planner)
        && !room_will_come(planner)
    {
        return Some(in_vain.map_or(stays.clone(), |in_vain| format!("{stays} ({in_vain})")));
    }
    if let Some(held) = admission::hold(planner)
        && !room_will_come(planner)
    {
        return Some(held);
    }
    if let Some(in_vain) = &in_vain
        && planner.groups.iter().any(pend::pends)
    {
        let instead = if strategy.max_unavailable == 0 {
            "set strategy.rollingUpdate.maxUnavailable: 1 or "
        } else {
            ""
        };
        return Some(format!("no nodes for a surge group: {instead}add nodes ({in_vain})"));
    }
    let Some(Blocked::NoRoom(no_room)) = &planner.blocked else { return None };
    let replaces = strategy.max_unavailable > 0 && pend::when_no_room(planner) == WhenNoRoom::Replace;
    if replaces || planner.surge() == 0 || room_will_come(planner) {
        return None;
    }
    let change = if strategy.max_unavailable == 0 {
        "set strategy.rollingUpdate.maxUnavailable: 1"
    } else {
        "set strategy.whenNoRoom: Replace"
    };
    let room = if no_room.quota { "raise the ResourceQuota" } else { "add nodes" };
    let autoscaler = match in_vain {
        _ if no_room.quota => String::new(),
        Some(in_vain) => format!(" ({in_vain})"),
        None => ", or strategy.whenNoRoom: Pend to let a node autoscaler add them".to_owned(),
    };
    Some(format!("no room for a surge group: {change} or {room}{autoscaler}: {no_room}"))
}

/// Whether own groups or pods are being deleted. An object that remains without pods frees nothing.
fn room_will_come(planner: &Planner<'_>) -> bool {
    let mut pods = planner.inputs.observed.values().flat_map(|observed| &observed.pods);
    planner.groups.iter().any(|group| !is_retained(group)) || pods.any(|pod| pod.deleting && pod.holds())
}

fn step(planner: &Planner<'_>, counts: &Counts, hold: Option<&Hold>) -> (RolloutStep, Option<String>) {
    if let Some(held) = planner.inputs.held {
        return (held.reason, Some(held.message.clone()));
    }
    let fleet = planner.fleet;
    let changing = |of| planner.to_change(of).next().is_some();
    let outdated = changing(RevisionMatch::PodsOutdated) || changing(RevisionMatch::EngineOutdated);
    if fleet.paused && outdated && !planner.moves() {
        return (RolloutStep::Paused, Some(paused(planner, counts)));
    }
    if let Some(hold) = hold {
        return (RolloutStep::WaitingForRoom, Some(hold.clone()));
    }
    let forward = planner.inputs.target.rollback().is_none();
    if forward && planner.groups.iter().any(pend::pends) {
        return (RolloutStep::WaitingForNodes, Some(reason(planner, counts)));
    }
    if forward && waits_to_be_resumed(planner) {
        return (RolloutStep::Suspended, Some(reason(planner, counts)));
    }
    let active = planner.active_count();
    let leaving = planner.groups.iter().any(|group| !super::classify::is_retained(group));
    let step = if changing(RevisionMatch::PodsOutdated) {
        RolloutStep::ReplacingGroups
    } else if changing(RevisionMatch::EngineOutdated) {
        RolloutStep::SwappingEngines
    } else if active < fleet.replicas {
        RolloutStep::StartingGroups
    } else if leaving || active > fleet.replicas {
        RolloutStep::RemovingGroups
    } else if counts.available < counts.wanted {
        RolloutStep::StartingGroups
    } else {
        return match planner.inputs.target.rollback() {
            Some(rollback) => (RolloutStep::RolledBack, Some(failed(rollback))),
            None => (RolloutStep::Complete, kept_in_words(planner)),
        };
    };
    let reason = reason(planner, counts);
    match planner.inputs.target.rollback() {
        Some(rollback) => (RolloutStep::RollingBack, Some(format!("{}; {reason}", failed(rollback)))),
        None => (step, Some(reason)),
    }
}

/// Whether all groups that are not available are suspended and stay: somebody else must act.
fn waits_to_be_resumed(planner: &Planner<'_>) -> bool {
    let mut waiting =
        planner.groups.iter().filter(|group| !is_available(planner.fleet, group, planner.inputs.now));
    let first = waiting.next();
    first.is_some()
        && first.into_iter().chain(waiting).all(|group| is_retained(group) && group.phase == Phase::Suspended)
}

/// What failed, and why.
pub(super) fn failed(rollback: &RollbackStatus) -> String {
    format!("revision {} failed: {}", rollback.failed, rollback.cause)
}

fn paused(planner: &Planner<'_>, counts: &Counts) -> String {
    let target = planner.inputs.target;
    match target.rollback() {
        Some(rollback) if !target.asked().paused => format!(
            "{}; the revision to go back to is no longer in the history: change the spec to one that works",
            failed(rollback)
        ),
        _ => format!("spec.paused is true; {}", counts.updated_in_words()),
    }
}

fn kept_in_words(planner: &Planner<'_>) -> Option<String> {
    let kept = planner.kept.len();
    (kept > 0).then(|| format!("the partition keeps {kept} groups on the old revision"))
}

/// How far the rollout is, which groups change, and what blocks it.
fn reason(planner: &Planner<'_>, counts: &Counts) -> String {
    let mut parts = vec![counts.updated_in_words()];
    let moving = planner
        .groups
        .iter()
        .filter(|group| !is_retained(group) || !is_available(planner.fleet, group, planner.inputs.now));
    let leaving = planner.active().filter_map(|group| Some((group, planner.moving.why(group)?)));
    parts.extend(leaving.take(NAMED).map(|(group, why)| format!("{} is to move: {why}", group.name)));
    parts.extend(moving::last_in_words(planner));
    let mut pending = planner.groups.iter().filter(|group| pend::pends(group));
    if let Some(end) = pending.find_map(|group| group.pend_until.as_ref()) {
        parts.push(format!("pods wait until {} for nodes (strategy.whenNoRoom: Pend)", end.0));
    }
    parts.extend(moving.take(NAMED).map(|group| format!("{} is {}", group.name, group.phase.as_str())));
    parts.extend(blocker::finalizer(planner));
    match &planner.blocked {
        Some(Blocked::NoRoom(no_room)) => parts.push(format!("no room for another group: {no_room}")),
        Some(Blocked::Unknown) => parts.push(ROOM_UNKNOWN.to_owned()),
        Some(Blocked::Leaving) => parts.push("waits until a group is gone".to_owned()),
        None => {}
    }
    parts.join("; ")
}
