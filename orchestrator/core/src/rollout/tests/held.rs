//! A fleet with a refused change: what is held, and what continues.

use std::collections::BTreeMap;

use rayfleet_api::status::{Goal, GroupStatus, Phase, RollbackStatus, RolloutStatus, RolloutStep};
use rayfleet_api::{GroupName, RayClusterFleetStatus, ValidFleet};

use crate::decide::{Decision, ReconcileInput, decide};
use crate::effect::Effect;
use crate::held::{FailedWrite, HoldReason};
use crate::observed::ObservedGroup;
use crate::testing::*;

fn refusal() -> HoldReason {
    HoldReason {
        reason: RolloutStep::InvalidSpec,
        message: "spec.model.engine.args: `--port` is set by Rayfleet: leave it out".to_owned(),
        stands_in: true,
        creates: true,
        temporary: false,
    }
}

fn pass(
    fleet: &ValidFleet,
    held: Option<&HoldReason>,
    status: &RayClusterFleetStatus,
    groups: &BTreeMap<GroupName, ObservedGroup>,
    seconds: i64,
) -> Decision {
    let capacity = nodes(&[1; 8]);
    let now = at(seconds);
    let world = ReconcileInput {
        fleet,
        stable: None,
        held,
        failed_writes: &[],
        status,
        groups,
        capacity: Some(&capacity),
        now,
    };
    decide(&world)
}

fn status(groups: &[GroupStatus]) -> RayClusterFleetStatus {
    RayClusterFleetStatus { groups: groups.to_vec(), ..RayClusterFleetStatus::default() }
}

fn observed(groups: &[GroupStatus]) -> BTreeMap<GroupName, ObservedGroup> {
    groups.iter().map(|group| (group.name.clone(), healthy(group, t0()))).collect()
}

fn condition(decision: &Decision, type_: &str) -> (String, String) {
    let found = decision.status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    (found.status.clone(), found.reason.clone())
}

fn creates(decision: &Decision) -> usize {
    decision.effects.iter().filter(|effect| matches!(effect, Effect::CreateCluster { .. })).count()
}

fn words(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn a_refusal_is_reported_once_beside_the_observed_state() {
    let fleet = fleet(2);
    let groups = [ready_entry(&fleet, 0), ready_entry(&fleet, 1)];
    let held = refusal();
    let first = pass(&fleet, Some(&held), &status(&groups), &observed(&groups), 1);
    assert_eq!((first.status.ready_replicas, first.status.available_replicas), (2, 2));
    assert_eq!(first.status.updated_replicas, 0, "no group has the refused revision");
    assert_eq!(condition(&first, "Available"), words("True", "MinimumGroupsAvailable"));
    assert_eq!(condition(&first, "Progressing"), words("False", "InvalidSpec"));
    assert_eq!(condition(&first, "Stalled"), words("True", "InvalidSpec"));
    assert_eq!(condition(&first, "ReplicaFailure"), words("False", "NoFailure"));
    let rollout = first.status.rollout.clone().unwrap();
    assert_eq!((rollout.step.as_str(), rollout.reason.as_deref()), ("InvalidSpec", Some(&*held.message)));
    let event = Effect::Event { warning: true, reason: "InvalidSpec", message: held.message.clone() };
    assert_eq!(first.effects, [event]);
    let second = pass(&fleet, Some(&held), &first.status, &observed(&groups), 2);
    assert_eq!((second.status, second.effects), (first.status, Vec::new()));
}

#[test]
fn the_gate_of_a_dead_engine_closes_while_the_spec_is_refused() {
    let fleet = fleet(2);
    let groups = [ready_entry(&fleet, 0), ready_entry(&fleet, 1)];
    let mut there = observed(&groups);
    // Its worker is gone.
    there.get_mut(&groups[0].name).unwrap().pods.pop();
    let decision = pass(&fleet, Some(&refusal()), &status(&groups), &there, 1);
    let closed = decision.effects.iter().find(|effect| effect.closes()).unwrap();
    assert!(closed.ends_traffic_of_the_dead());
    assert_eq!(decision.status.groups[0].phase, Phase::Failed);
    assert_eq!((decision.status.ready_replicas, decision.status.unavailable_replicas), (1, 1));
}

#[test]
fn no_group_is_changed_to_the_stand_in_revision() {
    // The spec is refused in the middle of a rollout: the stand-in is the older revision.
    let fleet = fleet(2);
    let newer = GroupStatus { revision: "pods2".into(), ..ready_entry(&fleet, 1) };
    let groups = [ready_entry(&fleet, 0), newer];
    let decision = pass(&fleet, Some(&refusal()), &status(&groups), &observed(&groups), 1);
    assert!(decision.status.groups.iter().all(|group| group.goal == Goal::Serve), "{decision:#?}");
    assert_eq!(creates(&decision), 0);
}

#[test]
fn scaling_continues_while_a_change_is_held() {
    let held = refusal();
    let groups = [ready_entry(&fleet(2), 0), ready_entry(&fleet(2), 1)];
    let goals = |replicas| {
        let decision = pass(&fleet(replicas), Some(&held), &status(&groups), &observed(&groups), 1);
        let serve = decision.status.groups.iter().filter(|group| group.goal == Goal::Serve).count();
        (serve, creates(&decision))
    };
    assert_eq!((goals(1), goals(2), goals(3)), ((1, 0), (2, 0), (3, 1)));
}

#[test]
fn without_a_valid_revision_no_group_is_created() {
    let held = HoldReason { creates: false, ..refusal() };
    let fleet = fleet(2);
    let groups = [ready_entry(&fleet, 0)];
    let decision = pass(&fleet, Some(&held), &status(&groups), &observed(&groups), 1);
    assert_eq!((creates(&decision), decision.status.groups.len()), (0, 1), "nor reserved");
}

#[test]
fn the_duration_of_a_refusal_does_not_count_for_the_progress_deadline() {
    let fleet = fleet(2);
    let groups = [ready_entry(&fleet, 0)];
    let refused = pass(&fleet, Some(&refusal()), &status(&groups), &observed(&groups), 1);
    let later = pass(&fleet, Some(&refusal()), &refused.status, &observed(&groups), 10_000);
    assert_eq!(condition(&later, "Stalled"), words("True", "InvalidSpec"));
    let corrected = pass(&fleet, None, &later.status, &observed(&groups), 10_001);
    assert_eq!(condition(&corrected, "Progressing"), words("True", "RollingOut"));
    assert_eq!(condition(&corrected, "Stalled"), words("False", "NotStalled"));
}

#[test]
fn a_transient_hold_is_no_stall_before_the_deadline() {
    let held = HoldReason { temporary: true, reason: RolloutStep::CreateRefused, ..refusal() };
    let fleet = fleet(2);
    let groups = [ready_entry(&fleet, 0), ready_entry(&fleet, 1)];
    let first = pass(&fleet, Some(&held), &status(&groups), &observed(&groups), 1);
    assert_eq!(condition(&first, "ReplicaFailure"), words("True", "CreateRefused"));
    assert_eq!(condition(&first, "Progressing"), words("False", "CreateRefused"));
    assert_eq!(condition(&first, "Stalled"), words("False", "NotStalled"));
    let late = pass(&fleet, Some(&held), &first.status, &observed(&groups), 700);
    assert_eq!(condition(&late, "Stalled"), words("True", "ProgressDeadlineExceeded"));
}

#[test]
fn a_rollback_survives_a_refusal() {
    let fleet = fleet(1);
    let groups = [ready_entry(&fleet, 0)];
    let rollback = RollbackStatus { failed: "pods9/eng9".into(), ..RollbackStatus::default() };
    let rollout = RolloutStatus { rollback: Some(rollback.clone()), ..RolloutStatus::default() };
    let status = RayClusterFleetStatus { rollout: Some(rollout), ..status(&groups) };
    let decision = pass(&fleet, Some(&refusal()), &status, &observed(&groups), 1);
    assert_eq!(decision.status.rollout.unwrap().rollback, Some(rollback));
}

#[test]
fn a_failed_write_outside_of_groups_has_its_own_condition() {
    let fleet = fleet(1);
    let groups = [ready_entry(&fleet, 0)];
    let message = "Service n/f: exceeded quota: raise it".to_owned();
    let failed = [FailedWrite { condition: "ServiceFailed", reason: "Forbidden", message }];
    let (status, observed) = (status(&groups), observed(&groups));
    let capacity = nodes(&[1; 4]);
    let world = ReconcileInput {
        fleet: &fleet,
        stable: None,
        held: None,
        failed_writes: &failed,
        status: &status,
        groups: &observed,
        capacity: Some(&capacity),
        now: at(1),
    };
    let decision = decide(&world);
    assert_eq!(condition(&decision, "ServiceFailed"), words("True", "Forbidden"));
    assert_eq!(condition(&decision, "Progressing"), words("True", "Complete"));
    let after = decide(&ReconcileInput { failed_writes: &[], status: &decision.status, ..world });
    assert!(after.status.conditions.iter().all(|condition| condition.type_ != "ServiceFailed"));
}

#[test]
fn a_raycluster_that_cannot_be_created_has_the_reason() {
    let fleet = fleet(1);
    let waiting = entry(&fleet, 0);
    let words_of = "RayCluster llama-pods1-0 cannot be created: exceeded quota: q".to_owned();
    let there = ObservedGroup { refused: Some(words_of.clone()), ..ObservedGroup::default() };
    let there = BTreeMap::from([(waiting.name.clone(), there)]);
    let decision = pass(&fleet, None, &status(&[waiting]), &there, 1);
    assert_eq!(decision.status.groups[0].message.as_deref(), Some(&*words_of));
    assert_eq!(condition(&decision, "ReplicaFailure"), words("True", "CreateRefused"));
    assert_eq!(creates(&decision), 1, "it is tried again");
}

#[test]
fn a_name_in_use_by_another_owner_costs_an_attempt_number() {
    let fleet = fleet(1);
    let waiting = entry(&fleet, 0);
    let foreign = ObservedGroup {
        taken: Some("of fleet other".to_owned()),
        pods: healthy(&waiting, t0()).pods,
        ..ObservedGroup::default()
    };
    let there = BTreeMap::from([(waiting.name.clone(), foreign)]);
    let first = pass(&fleet, None, &status(&[waiting]), &there, 1);
    let reported = |effect: &Effect| matches!(effect, Effect::Event { reason: "RayClusterExists", .. });
    assert!(first.effects.iter().any(reported), "{:#?}", first.effects);
    let second = pass(&fleet, None, &first.status, &there, 2);
    let names: Vec<&str> = second.status.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!((names, creates(&second)), (vec!["llama-pods1-1"], 1));
}
