//! How soon a new status is worth a write to the API server. What anything else follows from is written at once; what
//! only people read waits for more of its kind. No status is made here.

use std::time::Duration;

use jiff::SignedDuration;
use rayfleet_api::RayClusterFleetStatus;
use rayfleet_api::status::{Goal, GroupStatus, Phase, RolloutStatus};

use crate::effect::Effect;

/// How long a phase, a count or a condition may wait. People who watch do not notice; a load on the API server is
/// halved where several groups move at a time.
const PHASES: Duration = Duration::from_secs(1);

/// How long words may wait: `1 of 2 pods are ready`. As long as a kubelet keeps the status of its node to itself.
const WORDS: Duration = Duration::from_secs(10);

/// What another replica needs, at most, to take over and to ask the engine again: the lease, and some looks.
const FOUND_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// How long the step from one status to the next may stay unwritten; `None`: for ever, as it is no step. `written` is what the
/// API server has, which may be behind `before`.
///
/// Zero when an effect is to follow that must not be ahead of the ledger, or when losing the difference in a crash could lead
/// to another decision. No effect waits for words.
pub fn may_wait(
    written: &RayClusterFleetStatus,
    before: &RayClusterFleetStatus,
    after: &RayClusterFleetStatus,
    effects: &[Effect],
) -> Option<Duration> {
    let follows = effects.iter().any(|effect| !may_be_ahead(effect));
    if follows && !same_but_words(written, after) {
        return Some(Duration::ZERO);
    }
    if before == after {
        return None;
    }
    if *before != without_news(before, after) {
        return Some(Duration::ZERO);
    }
    // Whoever reads of a trouble in an event looks at the status next.
    let warned = effects.iter().any(|effect| matches!(effect, Effect::Event { warning: true, .. }));
    Some(if same_but_words(before, after) && !warned { WORDS } else { PHASES })
}

/// Whether an effect may come before the ledger says why. After a crash the probe prompt is asked again, an event may be told again, and
/// an open gate tells itself what it was opened for.
fn may_be_ahead(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Probe { .. } | Effect::SetGate { open: true, .. } | Effect::Event { warning: false, .. }
    )
}

/// `after`, with all that is only news as it was before.
fn without_news(before: &RayClusterFleetStatus, after: &RayClusterFleetStatus) -> RayClusterFleetStatus {
    RayClusterFleetStatus {
        observed_generation: before.observed_generation,
        replicas: before.replicas,
        updated_replicas: before.updated_replicas,
        ready_replicas: before.ready_replicas,
        available_replicas: before.available_replicas,
        unavailable_replicas: before.unavailable_replicas,
        conditions: before.conditions.clone(),
        pace: before.pace.clone(),
        groups: with_struck(before, each(&before.groups, &after.groups, group_without_news)),
        rollout: rollout(before, after, |old, new| RolloutStatus {
            step: old.step.clone(),
            reason: old.reason.clone(),
            revision_number: old.revision_number,
            last_progress: old.last_progress.clone(),
            ..new.clone()
        }),
        ..after.clone()
    }
}

/// The groups after, and those that were struck out since: that a group on its way out is gone can be seen again.
fn with_struck(before: &RayClusterFleetStatus, mut after: Vec<GroupStatus>) -> Vec<GroupStatus> {
    for (at, group) in before.groups.iter().enumerate() {
        let gone = group.goal == Goal::Retire && group.phase == Phase::Stopping;
        if gone && after.iter().all(|left| left.name != group.name) {
            after.insert(at.min(after.len()), group.clone());
        }
    }
    after
}

fn group_without_news(before: &GroupStatus, after: &GroupStatus) -> GroupStatus {
    let mut group = without_words(before, after);
    let arrives =
        after.phase == Phase::Ready && (before.phase == Phase::Ready || arrives_in_time(before, after));
    // Where a group stands on its way up is found again from its pods, its engine and its gate.
    if comes_up(before.phase) && (comes_up(after.phase) || arrives) {
        group.phase = before.phase;
        group.since.clone_from(&before.since);
        group.uid.clone_from(&before.uid);
    }
    // Counted from later on, it is taken for available later.
    if arrives {
        group.ready_since.clone_from(&before.ready_since);
        group.deadline.clone_from(&before.deadline);
        group.begun.clone_from(&before.begun);
    }
    group
}

/// A group is ready so long before its start is over that whoever finds it not yet so can still find it ready in time.
fn arrives_in_time(before: &GroupStatus, after: &GroupStatus) -> bool {
    let left =
        before.deadline.as_ref().zip(after.since.as_ref()).map(|(end, now)| end.0.duration_since(now.0));
    comes_up(before.phase) && left.is_none_or(|left| left >= FOUND_AGAIN)
}

fn comes_up(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Pending
            | Phase::Provisioning
            | Phase::Forming
            | Phase::Placing
            | Phase::Loading
            | Phase::Probing
    )
}

/// Whether nothing but words about groups and the rollout differs.
fn same_but_words(before: &RayClusterFleetStatus, after: &RayClusterFleetStatus) -> bool {
    let plain = RayClusterFleetStatus {
        groups: each(&before.groups, &after.groups, without_words),
        rollout: rollout(before, after, |old, new| RolloutStatus {
            reason: old.reason.clone(),
            last_progress: old.last_progress.clone(),
            ..new.clone()
        }),
        conditions: before.conditions.clone(),
        ..after.clone()
    };
    let states = |status: &RayClusterFleetStatus| -> Vec<(String, String, String)> {
        let of = status.conditions.iter();
        of.map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone())).collect()
    };
    plain == *before && states(before) == states(after)
}

/// The group after, with the words about it and the picture of it as they were before.
fn without_words(before: &GroupStatus, after: &GroupStatus) -> GroupStatus {
    GroupStatus {
        message: before.message.clone(),
        head: before.head.clone(),
        nodes: before.nodes.clone(),
        ranks: before.ranks.clone(),
        placement: before.placement.clone(),
        misplaced: before.misplaced.clone(),
        in_flight: before.in_flight,
        in_flight_at: before.in_flight_at.clone(),
        // Counted from later on, a drain or a start only takes longer.
        closed_since: before.closed_since.clone(),
        due_since: before.due_since.clone(),
        held_since: before.held_since.clone(),
        ..after.clone()
    }
}

/// Each group after, made from itself and what it was before.
fn each(
    before: &[GroupStatus],
    after: &[GroupStatus],
    of: fn(&GroupStatus, &GroupStatus) -> GroupStatus,
) -> Vec<GroupStatus> {
    let was = |name: &str| before.iter().find(|group| group.name == name);
    after.iter().map(|group| was(&group.name).map_or_else(|| group.clone(), |was| of(was, group))).collect()
}

fn rollout(
    before: &RayClusterFleetStatus,
    after: &RayClusterFleetStatus,
    of: fn(&RolloutStatus, &RolloutStatus) -> RolloutStatus,
) -> Option<RolloutStatus> {
    match (&before.rollout, &after.rollout) {
        (Some(before), Some(after)) => Some(of(before, after)),
        (_, after) => after.clone(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use rayfleet_api::status::{FleetCondition, PaceStatus, RankPlacement};

    use super::*;

    fn status(change: impl FnOnce(&mut RayClusterFleetStatus)) -> RayClusterFleetStatus {
        let group = |name: &str| GroupStatus { name: name.to_owned(), ..GroupStatus::default() };
        let condition = FleetCondition {
            type_: "Available".into(),
            status: "False".into(),
            last_update_time: None,
            last_transition_time: None,
            reason: "Few".into(),
            message: "0 of 2".into(),
        };
        let mut status = RayClusterFleetStatus {
            groups: vec![group("a"), group("b")],
            conditions: vec![condition],
            rollout: Some(RolloutStatus { to: "p/e".into(), ..RolloutStatus::default() }),
            ..RayClusterFleetStatus::default()
        };
        change(&mut status);
        status
    }

    fn wait(change: impl FnOnce(&mut RayClusterFleetStatus)) -> Option<Duration> {
        may_wait(&status(|_| {}), &status(|_| {}), &status(change), &[])
    }

    fn time(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    fn rollout_of(status: &mut RayClusterFleetStatus) -> &mut RolloutStatus {
        status.rollout.as_mut().unwrap()
    }

    #[test]
    fn nothing_new_is_never_written() {
        assert_eq!(wait(|_| {}), None);
    }

    #[test]
    fn what_decisions_follow_from_is_written_at_once() {
        let changes: [fn(&mut RayClusterFleetStatus); 13] = [
            |status| status.groups[0].goal = Goal::Retire,
            |status| status.groups[0].phase = Phase::Failed,
            |status| status.groups[0].phase = Phase::Draining,
            |status| status.groups[0].launch = 1,
            |status| status.groups[0].failures = 1,
            |status| status.groups[0].restarts = 1,
            |status| status.groups[0].engine_revision = Some("e".into()),
            |status| status.groups[0].avoid_nodes = vec!["n".into()],
            |status| drop(status.groups.pop()),
            |status| status.groups.push(GroupStatus { name: "c".into(), ..GroupStatus::default() }),
            |status| rollout_of(status).to = "q/e".into(),
            |status| rollout_of(status).lost_requests = 1,
            |status| status.rollout = None,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert_eq!(wait(change), Some(Duration::ZERO), "change {number}");
        }
    }

    #[test]
    fn what_people_watch_waits_a_little_and_words_longer() {
        let phases: [fn(&mut RayClusterFleetStatus); 5] = [
            |status| status.groups[1].phase = Phase::Loading,
            |status| status.groups[1].uid = Some("u".into()),
            |status| status.available_replicas = 1,
            |status| status.conditions[0].status = "True".into(),
            |status| rollout_of(status).step = "Complete".into(),
        ];
        for (number, change) in phases.into_iter().enumerate() {
            assert_eq!(wait(change), Some(PHASES), "change {number}");
        }
        let words: [fn(&mut RayClusterFleetStatus); 7] = [
            |status| status.groups[1].closed_since = Some(time(1)),
            |status| status.groups[1].due_since = Some(time(1)),
            |status| status.groups[1].held_since = Some(time(1)),
            |status| status.groups[1].message = Some("1 of 2 pods are ready".into()),
            |status| status.groups[1].in_flight = Some(3),
            |status| status.conditions[0].message = "1 of 2".into(),
            |status| rollout_of(status).reason = Some("a is Loading".into()),
        ];
        for (number, change) in words.into_iter().enumerate() {
            assert_eq!(wait(change), Some(WORDS), "change {number}");
        }
    }

    #[test]
    fn counts_and_dates_are_news_like_phases_and_the_picture_of_a_group_is_words() {
        let news: [fn(&mut RayClusterFleetStatus); 9] = [
            |status| status.observed_generation = Some(2),
            |status| status.replicas = 1,
            |status| status.updated_replicas = 1,
            |status| status.ready_replicas = 1,
            |status| status.unavailable_replicas = 1,
            |status| status.pace = Some(PaceStatus::default()),
            |status| status.conditions[0].reason = "Enough".into(),
            |status| status.groups[0].since = Some(time(1)),
            |status| rollout_of(status).revision_number = Some(2),
        ];
        for (number, change) in news.into_iter().enumerate() {
            assert_eq!(wait(change), Some(PHASES), "news {number}");
        }
        let words: [fn(&mut RayClusterFleetStatus); 7] = [
            |status| status.groups[0].head = Some("a-head".into()),
            |status| status.groups[0].nodes = vec!["n".into()],
            |status| status.groups[0].ranks = Some("1/2".into()),
            |status| status.groups[0].placement = vec![RankPlacement::default()],
            |status| status.groups[0].misplaced = vec!["rank 1 is on n".into()],
            |status| status.groups[0].in_flight_at = Some(time(1)),
            |status| rollout_of(status).last_progress = Some(time(1)),
        ];
        for (number, change) in words.into_iter().enumerate() {
            assert_eq!(wait(change), Some(WORDS), "words {number}");
        }
    }

    #[test]
    fn where_a_group_stands_is_news_only_on_its_way_up() {
        let up = [
            Phase::Pending,
            Phase::Provisioning,
            Phase::Forming,
            Phase::Placing,
            Phase::Loading,
            Phase::Probing,
        ];
        let at = |phase: Phase| status(|status| status.groups[0].phase = phase);
        let step = |from, to| may_wait(&at(from), &at(from), &at(to), &[]);
        for phases in up.windows(2) {
            assert_eq!(step(phases[0], phases[1]), Some(PHASES), "{phases:?}");
        }
        for other in [Phase::Draining, Phase::Stopping, Phase::Failed] {
            assert_eq!(step(Phase::Loading, other), Some(Duration::ZERO), "to {other:?}");
        }
        for other in [Phase::Ready, Phase::Draining, Phase::Stopping, Phase::Failed] {
            assert_eq!(step(other, Phase::Loading), Some(Duration::ZERO), "from {other:?}");
        }
        let ready_since = |phase, since| {
            status(|status| {
                status.groups[0].phase = phase;
                status.groups[0].ready_since = Some(time(since));
            })
        };
        let drains = |since| ready_since(Phase::Draining, since);
        assert_eq!(may_wait(&drains(1), &drains(1), &drains(2), &[]), Some(Duration::ZERO));
        let (leaves, serves) = (drains(1), ready_since(Phase::Ready, 1));
        assert_eq!(may_wait(&serves, &serves, &leaves, &[]), Some(Duration::ZERO));
    }

    fn gate(open: bool) -> Effect {
        let (group, pod, pod_uid) = ("a".to_owned(), "a-head".to_owned(), "u".to_owned());
        Effect::SetGate { group, pod, pod_uid, open, launch: String::new(), reason: "Ready" }
    }

    #[test]
    fn no_effect_is_ahead_of_the_ledger_but_those_that_open_a_group() {
        let (before, after) = (status(|_| {}), status(|status| status.groups[0].phase = Phase::Probing));
        let probe = Effect::Probe { group: "a".into(), submission: "s".into() };
        let event = |warning| Effect::Event { warning, reason: "GroupReady", message: String::new() };
        for ahead in [probe.clone(), gate(true), event(false)] {
            assert_eq!(may_wait(&before, &before, &after, std::slice::from_ref(&ahead)), Some(PHASES));
            assert_eq!(may_wait(&before, &after, &after, std::slice::from_ref(&ahead)), None);
        }
        let stop = Effect::StopEngine { group: "a".into(), submission: "s".into() };
        for behind in [gate(false), event(true), stop] {
            let both = [probe.clone(), behind.clone()];
            assert_eq!(may_wait(&before, &before, &after, &both), Some(Duration::ZERO));
            assert_eq!(
                may_wait(&before, &after, &after, std::slice::from_ref(&behind)),
                Some(Duration::ZERO)
            );
            assert_eq!(may_wait(&after, &after, &after, &[behind]), None);
        }
    }

    #[test]
    fn that_a_group_is_ready_is_news_unless_its_time_is_nearly_over() {
        let up = |deadline: Option<i64>| {
            status(|status| {
                status.groups[0].phase = Phase::Probing;
                status.groups[0].since = Some(time(10));
                status.groups[0].begun = Some(time(5));
                status.groups[0].deadline = deadline.map(time);
            })
        };
        let ready = status(|status| {
            status.groups[0].phase = Phase::Ready;
            status.groups[0].since = Some(time(100));
            status.groups[0].ready_since = Some(time(101));
        });
        for (deadline, wait) in
            [(None, PHASES), (Some(160), PHASES), (Some(159), Duration::ZERO), (Some(50), Duration::ZERO)]
        {
            let before = up(deadline);
            assert_eq!(may_wait(&before, &before, &ready, &[gate(true)]), Some(wait), "{deadline:?}");
        }
        let forgiven = |status: &RayClusterFleetStatus| {
            let mut status = status.clone();
            status.groups[0].failed_starts = 0;
            status
        };
        let mut before = up(None);
        before.groups[0].failed_starts = 2;
        assert_eq!(may_wait(&before, &before, &forgiven(&ready), &[]), Some(Duration::ZERO));
    }

    #[test]
    fn no_effect_waits_for_words() {
        let (before, after) =
            (status(|_| {}), status(|status| status.groups[0].message = Some("ends".into())));
        let stop = Effect::StopEngine { group: "a".into(), submission: "s".into() };
        assert_eq!(may_wait(&before, &before, &after, &[stop]), Some(WORDS));
    }

    #[test]
    fn words_that_a_warning_tells_of_do_not_wait_as_long() {
        let (before, after) =
            (status(|_| {}), status(|status| status.groups[0].message = Some("no such image".into())));
        let event = |warning| Effect::Event { warning, reason: "PodProblem", message: String::new() };
        assert_eq!(may_wait(&before, &before, &after, &[event(true)]), Some(PHASES));
        assert_eq!(may_wait(&before, &before, &after, &[event(false)]), Some(WORDS));
    }

    #[test]
    fn that_a_group_on_its_way_out_is_gone_is_news() {
        let leaving = |group: &str| {
            status(|status| {
                let group = status.groups.iter_mut().find(|entry| entry.name == group).unwrap();
                (group.goal, group.phase) = (Goal::Retire, Phase::Stopping);
            })
        };
        let gone = |mut status: RayClusterFleetStatus, group: &str| {
            status.groups.retain(|entry| entry.name != group);
            status
        };
        for group in ["a", "b"] {
            let before = leaving(group);
            assert_eq!(
                may_wait(&before, &before, &gone(before.clone(), group), &[]),
                Some(PHASES),
                "{group}"
            );
        }
        let before = leaving("a");
        assert_eq!(may_wait(&before, &before, &gone(before.clone(), "b"), &[]), Some(Duration::ZERO));
        let mut next = gone(before.clone(), "a");
        next.groups.push(GroupStatus { name: "c".into(), ..GroupStatus::default() });
        assert_eq!(may_wait(&before, &before, &next, &[]), Some(Duration::ZERO));
        for (goal, phase) in [(Goal::Retire, Phase::Draining), (Goal::Serve, Phase::Stopping)] {
            let before = status(|status| (status.groups[0].goal, status.groups[0].phase) = (goal, phase));
            let next = gone(before.clone(), "a");
            assert_eq!(may_wait(&before, &before, &next, &[]), Some(Duration::ZERO), "{goal:?}, {phase:?}");
        }
    }

    #[test]
    fn since_when_a_group_is_ready_is_news_while_it_is() {
        let ready = |since: i64| {
            status(|status| {
                status.groups[0].phase = Phase::Ready;
                status.groups[0].ready_since = Some(time(since));
            })
        };
        assert_eq!(may_wait(&ready(1), &ready(1), &ready(2), &[]), Some(PHASES));
    }
}
