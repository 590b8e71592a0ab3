//! How long groups take to end: measured as they do, kept in the status, used for forecasts.

use jiff::Timestamp;
use rayfleet_api::RayClusterFleetStatus;
use rayfleet_api::status::{EndingTimes, Goal, GroupStatus, Phase};

use crate::ledger;
use crate::startup_times::average;

/// What is known once these groups follow those of the status.
pub(crate) fn measure(
    before: &RayClusterFleetStatus,
    groups: &[GroupStatus],
    now: Timestamp,
) -> Option<EndingTimes> {
    let mut times = before.ending_times.clone();
    let after = ledger::by_name(groups);
    for old in &before.groups {
        let Some(took) = seconds_since(old, now) else { continue };
        if let Some(ended) = ended(old, after.get(&old.name).copied()) {
            average(ended(times.get_or_insert_default()), took);
        }
    }
    times
}

/// What of a group's end was over just now.
fn ended(old: &GroupStatus, new: Option<&GroupStatus>) -> Option<fn(&mut EndingTimes) -> &mut Option<u32>> {
    let swapped = new.is_some_and(|new| old.goal == Goal::SwapEngine && new.launch > old.launch);
    match (old.phase, new) {
        // A drain that is taken back was none.
        (Phase::Draining, Some(new)) if swapped || new.phase == Phase::Stopping => {
            Some(|times| &mut times.drain_seconds)
        }
        (Phase::Stopping, _) if swapped => Some(|times| &mut times.stop_seconds),
        (Phase::Stopping, None) => Some(|times| &mut times.end_seconds),
        _ => None,
    }
}

fn seconds_since(group: &GroupStatus, now: Timestamp) -> Option<u32> {
    let since = group.phase_since.as_ref()?.0;
    u32::try_from(now.as_second().saturating_sub(since.as_second())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, fleet, ready_entry};
    use crate::time;

    fn group(phase: Phase, goal: Goal, launch: u32, since: i64) -> GroupStatus {
        GroupStatus {
            phase,
            goal,
            launch,
            phase_since: Some(time::began(at(since))),
            ..ready_entry(&fleet(1), 0)
        }
    }

    /// A second, and how the group stands at it: phase, goal and launch, while it is there.
    type Moment = (i64, Option<(Phase, Goal, u32)>);

    /// One group through these moments; gives what is known at the end.
    fn through(moments: &[Moment]) -> Option<EndingTimes> {
        let mut status = RayClusterFleetStatus::default();
        for (second, state) in moments {
            let groups: Vec<_> =
                state.iter().map(|(phase, goal, launch)| group(*phase, *goal, *launch, *second)).collect();
            let ending_times = measure(&status, &groups, at(*second));
            status = RayClusterFleetStatus { groups, ending_times, ..RayClusterFleetStatus::default() };
        }
        status.ending_times
    }

    #[test]
    fn the_end_of_a_group_has_a_drain_and_an_end() {
        let times = through(&[
            (0, Some((Phase::Ready, Goal::Serve, 1))),
            (9, Some((Phase::Draining, Goal::Retire, 1))),
            (13, Some((Phase::Stopping, Goal::Retire, 1))),
            (20, None),
        ]);
        let expected = EndingTimes { drain_seconds: Some(4), stop_seconds: None, end_seconds: Some(7) };
        assert_eq!(times, Some(expected));
    }

    #[test]
    fn a_swap_has_a_drain_and_a_stop() {
        let swap = [
            (0, Some((Phase::Draining, Goal::SwapEngine, 1))),
            (6, Some((Phase::Stopping, Goal::SwapEngine, 1))),
            (8, Some((Phase::Provisioning, Goal::Serve, 2))),
        ];
        let expected = EndingTimes { drain_seconds: Some(6), stop_seconds: Some(2), end_seconds: None };
        assert_eq!(through(&swap), Some(expected));
        // Its engine had ended by then: nothing was stopped.
        let at_once = [swap[0], (6, swap[2].1)];
        assert_eq!(through(&at_once).unwrap().stop_seconds, None);
        assert_eq!(through(&at_once).unwrap().drain_seconds, Some(6));
    }

    #[test]
    fn what_did_not_end_is_not_counted() {
        let taken_back =
            [(0, Some((Phase::Draining, Goal::Retire, 1))), (5, Some((Phase::Ready, Goal::Serve, 1)))];
        assert_eq!(through(&taken_back), None);
        // A group that somebody deleted while it served.
        assert_eq!(through(&[(0, Some((Phase::Ready, Goal::Serve, 1))), (5, None)]), None);
        // An engine that failed is launched again, and that is no swap.
        let failed =
            [(0, Some((Phase::Failed, Goal::Serve, 1))), (5, Some((Phase::Placing, Goal::Serve, 2)))];
        assert_eq!(through(&failed), None);
    }
}
