//! The planner's terms for a group: revision match, serving, ready, available, retained. Each term is defined
//! here only.

use jiff::Timestamp;
use rayfleet_api::ValidFleet;
pub(super) use rayfleet_api::revision::RevisionMatch;
use rayfleet_api::status::{Goal, GroupStatus, Phase};

use crate::time;

pub(super) fn revision_match(fleet: &ValidFleet, group: &GroupStatus) -> RevisionMatch {
    RevisionMatch::of(&group.revision, group.engine_revision.as_ref(), &fleet.revision)
}

/// It is to stay. (A group that is not to stay exists until its RayCluster is gone.)
pub(super) fn is_retained(group: &GroupStatus) -> bool {
    group.goal != Goal::Retire
}

/// It has passed all gates, and is not to leave service.
pub(super) fn is_serving(group: &GroupStatus) -> bool {
    group.phase == Phase::Ready && group.goal == Goal::Serve
}

/// It serves, or did a moment ago and may again: one request without a timely reply is no reason to give up a
/// group that takes many minutes to load.
pub(super) fn counts_as_serving(fleet: &ValidFleet, group: &GroupStatus, now: Timestamp) -> bool {
    let spared = time::end_of(group.not_ready_since.as_ref(), fleet.failure.hung_after);
    is_serving(group) || (group.goal == Goal::Serve && spared.is_some_and(|end| now < end))
}

/// It takes traffic.
pub(super) fn is_ready(group: &GroupStatus) -> bool {
    is_serving(group) && group.ready_since.is_some()
}

/// When it became or will become available, if it stays ready.
pub(super) fn available_from(fleet: &ValidFleet, group: &GroupStatus) -> Option<Timestamp> {
    time::end_of(group.ready_since.as_ref(), fleet.min_ready).filter(|_| is_serving(group))
}

/// It has taken traffic for `minReadySeconds`.
pub(super) fn is_available(fleet: &ValidFleet, group: &GroupStatus, now: Timestamp) -> bool {
    available_from(fleet, group).is_some_and(|moment| moment <= now)
}

/// Its engine leaves service for the next one, or the next one starts on the same pods. A restart after a
/// failure does not count.
pub(super) fn is_being_swapped(group: &GroupStatus) -> bool {
    match group.phase {
        Phase::Ready | Phase::Draining | Phase::Stopping => group.goal == Goal::SwapEngine,
        Phase::Placing | Phase::Loading | Phase::Probing => group.launch > 1 && group.restarts == 0,
        Phase::Pending | Phase::Provisioning | Phase::Forming | Phase::Failed | Phase::Suspended => false,
    }
}
