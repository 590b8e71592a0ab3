//! A surge group that somebody has suspended and that nothing will resume. Kueue admits a RayCluster once its quota has room; where
//! the older groups hold all of it, and the budget holds them, it never has. That is a lack of room like any other.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::status::{GroupStatus, Phase};

use super::board::Board;
use super::budget::Budget;
use super::progress::Hold;
use super::view::{Age, active, available};
use crate::time;

/// Kueue creates and admits in one go where there is room; a queue that moves takes longer, and tells so by itself.
const ADMITTED_WITHIN: Duration = Duration::from_mins(1);

/// Why the rollout can go neither on nor back by itself, and what would help.
pub(super) fn hold(board: &Board<'_>) -> Option<Hold> {
    let group = waiting(board)?;
    let since = since(group)?;
    if since > board.inputs.now {
        return None;
    }
    let why = group.message.as_deref().unwrap_or("its RayCluster is suspended");
    Some(format!(
        "no room for a surge group: {} is suspended, and strategy.rollingUpdate.maxUnavailable ({}) lets no older group go, whose \
         quota it may wait for: set strategy.rollingUpdate.maxUnavailable: 1, raise the quota (with Kueue the ClusterQueue's \
         nominalQuota), or resume it: {why}",
        group.name, board.fleet.strategy.max_unavailable
    ))
}

/// When that is said.
pub(super) fn wake(board: &Board<'_>) -> Option<Timestamp> {
    since(waiting(board)?)
}

fn since(group: &GroupStatus) -> Option<Timestamp> {
    time::end_of(group.since.as_ref(), ADMITTED_WITHIN)
}

/// The surge group, if nothing else is under way.
fn waiting<'b>(board: &'b Board<'_>) -> Option<&'b GroupStatus> {
    let (fleet, now) = (board.fleet, board.inputs.now);
    let surges = !fleet.paused && board.active_count() > fleet.replicas;
    let suspended = |group: &&GroupStatus| active(group) && group.phase == Phase::Suspended;
    let others = || board.groups.iter().filter(|group| !available(fleet, group, now));
    if !surges || !others().all(|group| suspended(&group)) {
        return None;
    }
    let mut outdated =
        [Age::OldPods, Age::OldEngine].into_iter().flat_map(|age| board.to_change(age)).peekable();
    outdated.peek()?;
    let budget = Budget::new(fleet, &board.groups, now);
    if outdated.any(|group| budget.allows(group)) {
        return None;
    }
    // The one that waits longest: another one may have been made a moment ago.
    others().min_by(|a, b| a.since.as_ref().map(|since| since.0).cmp(&b.since.as_ref().map(|since| since.0)))
}
