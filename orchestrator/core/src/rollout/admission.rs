//! A surge group that is suspended and that nothing will resume. Kueue admits a RayCluster once its quota has
//! room; if the older groups use all of it, and the budget keeps them, it never has. That is handled like any
//! other lack of room.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::status::{GroupStatus, Phase};

use super::blocked::Hold;
use super::budget::Budget;
use super::classify::{RevisionMatch, is_available, is_retained};
use super::planner::Planner;
use crate::time;

/// Kueue creates and admits at once if there is room; a queue that moves takes longer, and reports that
/// itself.
const ADMITTED_WITHIN: Duration = Duration::from_mins(1);

/// Why the rollout can go neither forward nor back by itself, and the cure.
pub(super) fn hold(planner: &Planner<'_>) -> Option<Hold> {
    let group = waiting(planner)?;
    let since = since(group)?;
    if since > planner.inputs.now {
        return None;
    }
    let why = group.message.as_deref().unwrap_or("its RayCluster is suspended");
    Some(format!(
        "no room for a surge group: {} is suspended, and strategy.rollingUpdate.maxUnavailable ({}) lets no older group go, whose \
         quota it may wait for: set strategy.rollingUpdate.maxUnavailable: 1, raise the quota (with Kueue the ClusterQueue's \
         nominalQuota), or resume it: {why}",
        group.name, planner.fleet.strategy.max_unavailable
    ))
}

/// When `hold` starts to apply.
pub(super) fn wake(planner: &Planner<'_>) -> Option<Timestamp> {
    since(waiting(planner)?)
}

fn since(group: &GroupStatus) -> Option<Timestamp> {
    time::end_of(group.phase_since.as_ref(), ADMITTED_WITHIN)
}

/// The surge group, if nothing else is in progress.
fn waiting<'b>(planner: &'b Planner<'_>) -> Option<&'b GroupStatus> {
    let (fleet, now) = (planner.fleet, planner.inputs.now);
    let surges = !fleet.paused && planner.active_count() > fleet.replicas;
    let suspended = |group: &&GroupStatus| is_retained(group) && group.phase == Phase::Suspended;
    let others = || planner.groups.iter().filter(|group| !is_available(fleet, group, now));
    if !surges || !others().all(|group| suspended(&group)) {
        return None;
    }
    let mut outdated = [RevisionMatch::PodsOutdated, RevisionMatch::EngineOutdated]
        .into_iter()
        .flat_map(|age| planner.to_change(age))
        .peekable();
    outdated.peek()?;
    let budget = Budget::new(fleet, &planner.groups, now);
    if outdated.any(|group| budget.allows(group)) {
        return None;
    }
    // The one that has waited longest: another one may have been created a moment ago.
    others().min_by(|a, b| {
        a.phase_since.as_ref().map(|since| since.0).cmp(&b.phase_since.as_ref().map(|since| since.0))
    })
}
