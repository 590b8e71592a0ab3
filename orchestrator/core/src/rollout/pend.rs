//! Surge groups that are created although no whole group fits, so that a node autoscaler reacts to their pods
//! (`whenNoRoom: Pend`). Each has a time limit; if no nodes have been added by then it is given up. If a
//! group may be replaced in its place, the rollout then continues as with `Replace`; if none may be missing,
//! or nodes are being drained, the rollout waits, and another group pends after a growing backoff.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::spec::WhenNoRoom;
use rayfleet_api::status::{Goal, GroupStatus};
use rayfleet_api::valid::after;

use super::classify::is_retained;
use super::pend_failures::PendFailures;
use super::planner::Planner;
use crate::time;

/// Longest backoff before nodes are requested again, unless `pendTimeout` is longer. An autoscaler that got
/// none asks its cloud again within half an hour (Kubernetes' cluster-autoscaler:
/// `--max-node-group-backoff-duration`).
const LONGEST: Duration = Duration::from_hours(1);

/// The wait after so many tries: `pendTimeout`, doubled each time.
fn wait(timeout: Duration, times: u32) -> Duration {
    let doublings = times.saturating_sub(1).min(20);
    timeout.saturating_mul(1 << doublings).min(LONGEST.max(timeout))
}

/// Until when a group that is created now may wait for nodes.
pub(super) fn until(planner: &Planner<'_>) -> Timestamp {
    after(planner.inputs.now, planner.fleet.strategy.pend_timeout)
}

/// What to do without room: as with `Replace` while no group may pend.
pub(super) fn when_no_room(planner: &Planner<'_>) -> WhenNoRoom {
    match planner.fleet.strategy.when_no_room {
        WhenNoRoom::Pend if !may(planner) => WhenNoRoom::Replace,
        other => other,
    }
}

/// Whether a group may pend now.
fn may(planner: &Planner<'_>) -> bool {
    planner.pend_failures.is_none_or(|in_vain| retries(planner) && in_vain.again <= planner.inputs.now)
}

/// Nothing may be replaced in its place, or its place must be left: only new nodes help.
fn retries(planner: &Planner<'_>) -> bool {
    let leaves = |group| planner.moving.has(group) && !planner.moving.may_stay_in_place(group);
    planner.fleet.strategy.max_unavailable == 0 || planner.active().any(leaves)
}

/// Whether its pods wait for nodes that may be added.
pub(super) fn pends(group: &GroupStatus) -> bool {
    is_retained(group) && group.pend_until.is_some()
}

/// Gives up groups for which no nodes were added in time, and delays the next one.
pub(super) fn give_up(planner: &mut Planner<'_>) {
    let (now, timeout) = (planner.inputs.now, planner.fleet.strategy.pend_timeout);
    let limit = timeout.as_secs();
    let mut over = false;
    for group in &mut planner.groups {
        if pends(group) && group.pend_until.as_ref().is_some_and(|end| end.0 <= now) {
            group.goal = Goal::Retire;
            group.goal_reason =
                Some(format!("no nodes were added for its pods within {limit} s (strategy.pendTimeout)"));
            over = true;
        }
    }
    // Groups that pended at the same time count as one wait.
    if over && planner.pend_failures.is_none_or(|before| before.again <= now) {
        let before = planner.pend_failures.map_or(0, |before| before.times);
        let next = before.saturating_add(1);
        let grows = before == 0 || wait(timeout, before) < wait(timeout, next);
        let times = if grows { next } else { before };
        planner.pend_failures = Some(PendFailures { times, again: after(now, wait(timeout, times)) });
    }
}

/// Why a fleet that needs new nodes makes no progress, and when nodes are requested again.
pub(super) fn stands(planner: &Planner<'_>) -> Option<String> {
    let in_vain = planner.pend_failures.filter(|_| retries(planner))?;
    let limit = planner.fleet.strategy.pend_timeout.as_secs();
    let pending = planner.groups.iter().filter(|group| pends(group));
    let pends = pending.filter_map(|group| group.pend_until.as_ref()).min();
    let next = match pends {
        Some(end) => format!("pods wait for them again until {}", end.0),
        None => format!("pods wait for them again from {}", time::not_before(in_vain.again).0),
    };
    Some(format!("none were added within strategy.pendTimeout, {limit} s; {next}"))
}

/// When the next group is given up or may pend again.
pub(super) fn wake(planner: &Planner<'_>) -> Option<Timestamp> {
    let waiting = planner.groups.iter().filter(|group| pends(group));
    let again = planner.pend_failures.filter(|_| retries(planner)).map(|in_vain| in_vain.again);
    let again = again.filter(|again| *again > planner.inputs.now);
    waiting.fold(again, |first, group| time::earliest(first, group.pend_until.as_ref().map(|end| end.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoffs_double_up_to_an_hour_and_are_never_shorter_than_the_timeout() {
        let minutes = |timeout, times| wait(Duration::from_mins(timeout), times).as_secs() / 60;
        assert_eq!([1, 2, 3, 4, u32::MAX].map(|times| minutes(15, times)), [15, 30, 60, 60, 60]);
        assert_eq!([1, 2, 9].map(|times| minutes(120, times)), [120; 3]);
    }
}
