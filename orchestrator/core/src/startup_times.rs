//! How long groups take to come up: measured as they do, kept in the status, used for the progress deadline
//! and for forecasts.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::status::{GroupStatus, Phase, StartupTimes};
use rayfleet_api::{RayClusterFleetStatus, ValidFleet};

use crate::{ledger, time};

/// Enters in the groups when their start began, and in the pace how long starts took that ended just now.
pub(crate) fn measure(
    fleet: &ValidFleet,
    before: &RayClusterFleetStatus,
    groups: &mut [GroupStatus],
    now: Timestamp,
) -> Option<StartupTimes> {
    let mut pace = observed(fleet, before).cloned();
    let known = ledger::by_name(&before.groups);
    for group in groups {
        let Some(old) = known.get(&group.name) else {
            group.started_at = Some(time::began(now));
            continue;
        };
        let launched = launched(old, group);
        let took = seconds_since(old, now);
        if launched {
            if group.launch == 1 {
                note(&mut pace, fleet, took, |pace| &mut pace.pods_seconds);
            }
            group.started_at = Some(time::began(now));
        } else if group.phase == Phase::Ready {
            if old.phase != Phase::Ready {
                note(&mut pace, fleet, took, |pace| &mut pace.start_seconds);
            }
            group.started_at = None;
        } else if matches!(group.phase, Phase::Failed | Phase::Draining | Phase::Stopping | Phase::Suspended)
        {
            group.started_at = None;
        } else if old.phase == Phase::Suspended {
            group.started_at = Some(time::began(now));
        }
    }
    pace
}

/// An engine was launched just now: that fixes its deadline. One that is not ready gets a deadline, too.
fn launched(old: &GroupStatus, new: &GroupStatus) -> bool {
    new.start_deadline.is_some() && old.start_deadline.is_none() && new.not_ready_since.is_none()
}

fn seconds_since(group: &GroupStatus, now: Timestamp) -> Option<u32> {
    let started = group.started_at.as_ref()?.0;
    u32::try_from(now.as_second().saturating_sub(started.as_second())).ok()
}

fn note(
    pace: &mut Option<StartupTimes>,
    fleet: &ValidFleet,
    took: Option<u32>,
    of: fn(&mut StartupTimes) -> &mut Option<u32>,
) {
    let Some(took) = took else { return };
    let pace = pace.get_or_insert_with(|| StartupTimes { model: model(fleet), ..StartupTimes::default() });
    average(of(pace), took);
}

/// Enters a time that was seen, in seconds: the last few decide, and none alone. Half a second goes to what was seen now, or a time
/// that is always the same would never be reached.
pub(crate) fn average(known: &mut Option<u32>, took: u32) {
    let old = known.unwrap_or(took);
    *known = Some(if took < old { old.midpoint(took) } else { took - (took - old) / 2 });
}

/// What was observed of the model that the fleet asks for.
pub(crate) fn observed<'s>(
    fleet: &ValidFleet,
    status: &'s RayClusterFleetStatus,
) -> Option<&'s StartupTimes> {
    status.startup_times.as_ref().filter(|pace| pace.model == model(fleet))
}

fn model(fleet: &ValidFleet) -> String {
    fleet.model.as_ref().map_or_else(String::new, |model| {
        let ranks = model.parallelism;
        let data = if ranks.engines() == 1 { String::new() } else { format!("x{}", ranks.engines()) };
        format!("{} {}x{}{data}", model.source, ranks.tensor, ranks.pipeline)
    })
}

/// What a start takes at most where nothing is known of it.
const LEAST: Duration = Duration::from_mins(10);
const EACH_GPU: Duration = Duration::from_mins(1);

/// The time that a group of this size may take to come up, where none has been observed to do so.
pub(crate) fn by_size(fleet: &ValidFleet) -> Duration {
    LEAST.saturating_add(EACH_GPU.saturating_mul(fleet.shape.gpus()))
}

/// Without progress for this long a rollout counts as stuck.
pub(crate) fn progress_deadline(fleet: &ValidFleet, status: &RayClusterFleetStatus) -> Duration {
    fleet.progress_deadline.unwrap_or_else(|| {
        let observed = observed(fleet, status).and_then(|pace| {
            Some(Duration::from_secs(
                u64::from(pace.start_seconds?) + u64::from(pace.pods_seconds.unwrap_or(0)),
            ))
        });
        let by_size = by_size(fleet);
        let unseen = fleet.model.as_ref().map_or(by_size, |model| model.start_timeout.max(by_size));
        let start = observed.map_or(unseen, |observed| LEAST.max(observed.saturating_mul(3)));
        fleet.drain_timeout.saturating_add(start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, entry, fleet, ready_entry};

    fn status(groups: Vec<GroupStatus>, pace: Option<StartupTimes>) -> RayClusterFleetStatus {
        RayClusterFleetStatus { groups, startup_times: pace, ..RayClusterFleetStatus::default() }
    }

    /// One group through these phases, each at its second; gives the pace at the end.
    fn through(steps: &[(i64, Phase, u32)]) -> Option<StartupTimes> {
        let fleet = fleet(1);
        let mut before = status(Vec::new(), None);
        for (second, phase, launch) in steps {
            let old = before.groups.first().cloned().unwrap_or_else(|| entry(&fleet, 0));
            let on_its_way = matches!(phase, Phase::Placing | Phase::Loading | Phase::Probing);
            let deadline = on_its_way.then(|| time::began(at(100_000)));
            let mut groups =
                vec![GroupStatus { phase: *phase, launch: *launch, start_deadline: deadline, ..old }];
            let pace = measure(&fleet, &before, &mut groups, at(*second));
            before = status(groups, pace);
        }
        before.startup_times
    }

    const UP: [(i64, Phase, u32); 5] = [
        (0, Phase::Pending, 0),
        (5, Phase::Provisioning, 0),
        (40, Phase::Placing, 1),
        (50, Phase::Loading, 1),
        (340, Phase::Ready, 1),
    ];

    #[test]
    fn pods_and_the_start_are_measured_apart() {
        let pace = through(&UP).unwrap();
        assert_eq!(pace.model, "/models/llama 1x2");
        assert_eq!((pace.pods_seconds, pace.start_seconds), (Some(40), Some(300)));
    }

    #[test]
    fn a_time_that_is_always_the_same_is_reached_from_both_sides() {
        for first in [1, 9] {
            let mut known = Some(first);
            for _ in 0..4 {
                average(&mut known, 5);
            }
            assert_eq!(known, Some(5), "from {first}");
        }
        let mut known = Some(u32::MAX);
        average(&mut known, 0);
        assert_eq!(known, Some(u32::MAX / 2));
    }

    #[test]
    fn a_swap_is_measured_from_its_launch() {
        let mut steps = UP.to_vec();
        steps.extend([(1000, Phase::Draining, 1), (1500, Phase::Placing, 2), (1900, Phase::Ready, 2)]);
        let pace = through(&steps).unwrap();
        assert_eq!((pace.pods_seconds, pace.start_seconds), (Some(40), Some(350)), "each counts for a half");
        steps.extend([(2000, Phase::Stopping, 2), (2010, Phase::Placing, 3), (2110, Phase::Ready, 3)]);
        assert_eq!(through(&steps).unwrap().start_seconds, Some(225));
    }

    #[test]
    fn a_failed_start_is_none() {
        let mut steps = UP[..4].to_vec();
        steps.extend([(60, Phase::Failed, 1), (5000, Phase::Ready, 1)]);
        assert_eq!(through(&steps).unwrap().start_seconds, None);
    }

    #[test]
    fn a_group_that_comes_back_from_not_being_ready_was_not_started() {
        let fleet = fleet(1);
        let ready = status(vec![ready_entry(&fleet, 0)], None);
        let deadline = Some(time::began(at(60)));
        let not_ready = GroupStatus {
            phase: Phase::Loading,
            not_ready_since: Some(time::began(at(5))),
            start_deadline: deadline,
            ..ready_entry(&fleet, 0)
        };
        let mut groups = vec![not_ready];
        assert_eq!(measure(&fleet, &ready, &mut groups, at(5)), None);
        let before = status(groups, None);
        let mut groups = vec![ready_entry(&fleet, 0)];
        assert_eq!(measure(&fleet, &before, &mut groups, at(9)), None);
    }

    #[test]
    fn the_deadline_follows_what_was_seen_of_this_model() {
        let mut fleet = fleet(1);
        fleet.progress_deadline = None;
        let minutes = |fleet: &ValidFleet, start: Option<u32>, model: &str| {
            let pace = start.map(|start| StartupTimes {
                model: model.to_owned(),
                pods_seconds: Some(60),
                start_seconds: Some(start),
            });
            progress_deadline(fleet, &status(Vec::new(), pace)).as_secs() / 60
        };
        // The drain's minute is in each.
        assert_eq!(minutes(&fleet, None, ""), 1 + 12, "two GPUs");
        assert_eq!(minutes(&fleet, Some(60), "/models/llama 1x2"), 1 + 10, "ten minutes at least");
        assert_eq!(minutes(&fleet, Some(1200), "/models/llama 1x2"), 1 + 63);
        assert_eq!(minutes(&fleet, Some(1200), "/models/other 1x2"), 1 + 12, "of another model");
        fleet.model.as_mut().unwrap().start_timeout = Duration::from_mins(45);
        assert_eq!(minutes(&fleet, None, ""), 1 + 45);
        fleet.progress_deadline = Some(Duration::from_mins(2));
        assert_eq!(minutes(&fleet, Some(1200), "/models/llama 1x2"), 2);
    }
}
