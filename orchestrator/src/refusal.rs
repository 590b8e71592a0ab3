//! Why a fleet does not become what it asks for: what is wrong, where, and what helps. Pure. What goes on all the same is decided by
//! `rayfleet_core`; only a fleet of which nothing valid is known has its status made here.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rayfleet_api::status::{FleetCondition, RolloutStatus, RolloutStep};
use rayfleet_api::{FieldError, RayClusterFleetStatus};
use rayfleet_core::HoldReason;
use rayfleet_text::cut;

/// Longest part of a refusal in bytes: a spec may break a rule in thousands of places.
const LONGEST: usize = 4096;

fn held(reason: RolloutStep, message: &str) -> HoldReason {
    HoldReason { reason, message: cut(message, LONGEST), stands_in: true, creates: true, temporary: false }
}

/// The spec breaks rules.
pub(crate) fn invalid(problems: &[FieldError]) -> HoldReason {
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    held(RolloutStep::InvalidSpec, &all.join("; "))
}

/// KubeRay does not take the template.
pub(crate) fn template(words: &str) -> HoldReason {
    let message =
        format!("spec.template.spec: KubeRay's CRD refuses the RayCluster: {words}: correct the template");
    held(RolloutStep::InvalidTemplate, &message)
}

/// The API server does not take RayClusters of the template now. `words` name the object, what was said, and the cure.
pub(crate) fn not_now(words: &str) -> HoldReason {
    HoldReason { temporary: true, ..held(RolloutStep::CreateRefused, words) }
}

/// KubeRay is not there.
pub(crate) fn no_kuberay(words: &str) -> HoldReason {
    let message = format!("KubeRay is not installed: {words}: install KubeRay 1.6 or later with its CRDs");
    HoldReason { stands_in: false, creates: false, ..held(RolloutStep::KubeRayMissing, &message) }
}

/// The status of a fleet of which no valid revision is known: what its groups are is left as it was. Unchanged when it said so before.
pub(crate) fn status(
    held: &HoldReason,
    before: &RayClusterFleetStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> RayClusterFleetStatus {
    let mut status = before.clone();
    status.observed_generation = generation;
    condition(held, &mut status, "Progressing", "False", now);
    condition(held, &mut status, "Stalled", "True", now);
    let rollout = status.rollout.get_or_insert_with(RolloutStatus::default);
    rollout.step = held.reason;
    rollout.reason = Some(held.message.clone());
    status
}

fn condition(held: &HoldReason, status: &mut RayClusterFleetStatus, kind: &str, value: &str, now: Timestamp) {
    let (reason, message) = (held.reason.as_str(), held.message.clone());
    let condition = FleetCondition::next(&status.conditions, kind, value, reason, message, Time(now));
    match status.conditions.iter_mut().find(|condition| condition.type_ == kind) {
        Some(old) => *old = condition,
        None => status.conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn saying_the_same_again_changes_nothing() {
        let refusal = no_kuberay("no CRD");
        let once = status(&refusal, &RayClusterFleetStatus::default(), Some(1), at(10));
        let twice = status(&refusal, &once, Some(1), at(20));
        assert_eq!(once, twice);
        assert_eq!(once.conditions.len(), 2);
    }

    #[test]
    fn groups_are_left_as_they_are() {
        let before = RayClusterFleetStatus { ready_replicas: 2, ..RayClusterFleetStatus::default() };
        let after = status(&template("no"), &before, Some(2), at(1));
        assert_eq!((after.ready_replicas, after.observed_generation), (2, Some(2)));
    }

    #[test]
    fn a_refusal_names_the_field_and_the_cure() {
        let problem =
            |field: &str, problem: &str| FieldError { field: field.into(), problem: problem.into() };
        let problems =
            [problem("spec.replicas", "must be 0 or more"), problem("spec.model.name", "is empty")];
        let refusal = invalid(&problems);
        assert_eq!(refusal.reason, RolloutStep::InvalidSpec);
        for word in ["spec.replicas", "must be 0 or more", "; ", "spec.model.name"] {
            assert!(refusal.message.contains(word), "{word:?} is not in {}", refusal.message);
        }
        let refusal = template("spec.headGroupSpec: Required value");
        assert_eq!(refusal.reason, RolloutStep::InvalidTemplate);
        assert!(refusal.message.starts_with("spec.template.spec: "), "{}", refusal.message);
        assert!(refusal.message.ends_with("Required value: correct the template"), "{}", refusal.message);
        let missing = no_kuberay("no CRD");
        assert_eq!(missing.reason, RolloutStep::KubeRayMissing);
        assert!(missing.message.contains("no CRD: install KubeRay"), "{}", missing.message);
    }

    #[test]
    fn a_refusal_of_any_length_fits_a_condition() {
        let problem = FieldError { field: "spec.model.engine.args".into(), problem: "ß".repeat(100) };
        let refusal = invalid(&vec![problem; 1000]);
        assert!(refusal.message.len() < 5_000 && refusal.message.ends_with('…'), "{}", refusal.message.len());
    }

    #[test]
    fn another_reason_keeps_the_time_of_the_transition() {
        let first = status(&no_kuberay("no CRD"), &RayClusterFleetStatus::default(), Some(1), at(10));
        let next = status(&template("no"), &first, Some(1), at(20));
        let stalled = next.conditions.iter().find(|condition| condition.type_ == "Stalled").unwrap();
        assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "InvalidTemplate"));
        assert_eq!(stalled.last_transition_time, Some(Time(at(10))));
        assert_eq!(stalled.last_update_time, Some(Time(at(20))));
        assert_eq!(next.conditions.len(), 2);
    }

    #[test]
    fn a_condition_that_turns_gets_a_new_time() {
        let was = FleetCondition {
            type_: "Progressing".into(),
            status: "True".into(),
            last_transition_time: Some(Time(at(10))),
            last_update_time: Some(Time(at(10))),
            reason: "RolloutInProgress".into(),
            message: String::new(),
        };
        let before = RayClusterFleetStatus { conditions: vec![was], ..RayClusterFleetStatus::default() };
        let after = status(&template("no"), &before, Some(1), at(20));
        assert_eq!(after.conditions[0].last_transition_time, Some(Time(at(20))));
        assert_eq!(after.rollout.unwrap().step, RolloutStep::InvalidTemplate);
    }
}
