//! Surge groups that are made although no whole group fits, so that a node autoscaler sees their pods (`whenNoRoom: Pend`). Each
//! has a while; if no nodes have come by then it is given up, and until the spec changes the rollout goes on as with `Replace`.

use jiff::Timestamp;
use rayfleet_api::status::{Goal, GroupStatus};
use rayfleet_api::valid::after;

use super::board::Board;
use super::view::active;
use crate::time;

/// Until when a group that is made now may wait for nodes.
pub(super) fn until(board: &Board<'_>) -> Timestamp {
    after(board.inputs.now, board.fleet.strategy.pend_timeout)
}

/// Its pods wait for nodes that may be added.
pub(super) fn pends(group: &GroupStatus) -> bool {
    active(group) && group.pend_until.is_some()
}

/// Groups for which no nodes came in time go, and no other one pends in their stead.
pub(super) fn give_up(board: &mut Board<'_>) {
    let (now, limit) = (board.inputs.now, board.fleet.strategy.pend_timeout.as_secs());
    for group in &mut board.groups {
        let over = pends(group) && group.pend_until.as_ref().is_some_and(|end| end.0 <= now);
        if over {
            group.goal = Goal::Retire;
            group.goal_reason =
                Some(format!("no nodes came for its pods within {limit} s (strategy.pendTimeout)"));
            board.gave_up = true;
        }
    }
}

/// When the next group is given up.
pub(super) fn wake(board: &Board<'_>) -> Option<Timestamp> {
    let waiting = board.groups.iter().filter(|group| pends(group));
    waiting.fold(None, |first, group| time::earliest(first, group.pend_until.as_ref().map(|end| end.0)))
}
