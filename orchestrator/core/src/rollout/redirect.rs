//! Goals that the world has overtaken: a spec that changed while groups were on their way out.

use rayfleet_api::status::{Goal, Phase};

use super::board::Board;
use super::view::{Age, active, age};

pub(super) fn redirect(board: &mut Board<'_>) {
    let fleet = board.fleet;
    for group in &mut board.groups {
        if group.goal != Goal::SwapEngine {
            continue;
        }
        let age = age(fleet, group);
        let kept = board.kept.contains(&group.name);
        if age == Age::OldPods && !kept && !fleet.paused {
            group.goal = Goal::Retire;
            group.goal_reason = Some(format!("revision {} is to replace it", fleet.revision));
        } else if (age == Age::Current || kept) && group.phase != Phase::Stopping {
            group.goal = Goal::Serve;
            group.goal_reason = None;
        }
    }
}

/// A group that still drains and is wanted again need not end: its engine was not told to stop.
pub(super) fn take_back(board: &mut Board<'_>) {
    let fleet = board.fleet;
    let mut missing = fleet.replicas.saturating_sub(board.active_count());
    let (moving, seen) = (board.moving.clone(), board.inputs.seen);
    let ends = |name: &str| seen.get(name).is_some_and(|seen| seen.pods.iter().any(|pod| pod.deleting));
    for group in &mut board.groups {
        // What loses its pods anyway is not wanted again.
        let stays = !moving.has(group) && !ends(&group.name);
        let drains = !active(group) && group.phase == Phase::Draining && stays;
        if missing > 0 && drains && age(fleet, group) == Age::Current {
            group.goal = Goal::Serve;
            group.goal_reason = None;
            missing -= 1;
        }
    }
}
