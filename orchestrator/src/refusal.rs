//! The status of a fleet that can not be worked on: what is wrong, where, and what helps. Groups that
//! are there are left as they are. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rayfleet_api::status::{FleetCondition, RolloutStatus};
use rayfleet_api::{Invalid, RayClusterFleetStatus};

/// Why a fleet is not worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// One word for programs.
    pub reason: &'static str,
    /// Object, field and cure.
    pub message: String,
}

impl Refusal {
    /// The spec breaks rules.
    pub(crate) fn invalid(problems: &[Invalid]) -> Self {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Self { reason: "InvalidSpec", message: all.join("; ") }
    }

    /// KubeRay does not take the template.
    pub(crate) fn template(words: &str) -> Self {
        let message = format!(
            "spec.template.spec: KubeRay's CRD refuses the RayCluster: {words}: correct the template"
        );
        Self { reason: "InvalidTemplate", message }
    }

    /// KubeRay is not there.
    pub(crate) fn no_kuberay(words: &str) -> Self {
        let message =
            format!("KubeRay is not installed: {words}: install KubeRay 1.6 or later with its CRDs");
        Self { reason: "KubeRayMissing", message }
    }

    /// The status that says so. Unchanged when it said so before.
    pub(crate) fn status(
        &self,
        before: &RayClusterFleetStatus,
        generation: Option<i64>,
        now: Timestamp,
    ) -> RayClusterFleetStatus {
        let mut status = before.clone();
        status.observed_generation = generation;
        self.condition(&mut status, "Progressing", "False", now);
        self.condition(&mut status, "Stalled", "True", now);
        let rollout = status.rollout.get_or_insert_with(RolloutStatus::default);
        self.reason.clone_into(&mut rollout.step);
        rollout.reason = Some(self.message.clone());
        status
    }

    fn condition(&self, status: &mut RayClusterFleetStatus, kind: &str, value: &str, now: Timestamp) {
        let before = status.conditions.iter().position(|condition| condition.type_ == kind);
        let old = before.and_then(|index| status.conditions.get(index));
        let same = old.is_some_and(|old| {
            old.status == value && old.reason == self.reason && old.message == self.message
        });
        if same {
            return;
        }
        let kept = old.filter(|old| old.status == value).and_then(|old| old.last_transition_time.clone());
        let condition = FleetCondition {
            type_: kind.to_owned(),
            status: value.to_owned(),
            last_update_time: Some(Time(now)),
            last_transition_time: kept.or(Some(Time(now))),
            reason: self.reason.to_owned(),
            message: self.message.clone(),
        };
        match before.and_then(|index| status.conditions.get_mut(index)) {
            Some(old) => *old = condition,
            None => status.conditions.push(condition),
        }
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
        let refusal = Refusal::no_kuberay("no CRD");
        let once = refusal.status(&RayClusterFleetStatus::default(), Some(1), at(10));
        let twice = refusal.status(&once, Some(1), at(20));
        assert_eq!(once, twice);
        assert_eq!(once.conditions.len(), 2);
    }

    #[test]
    fn groups_are_left_as_they_are() {
        let before = RayClusterFleetStatus { ready_replicas: 2, ..RayClusterFleetStatus::default() };
        let after = Refusal::template("no").status(&before, Some(2), at(1));
        assert_eq!((after.ready_replicas, after.observed_generation), (2, Some(2)));
    }

    #[test]
    fn a_refusal_names_the_field_and_the_cure() {
        let problem = |field: &str, problem: &str| Invalid { field: field.into(), problem: problem.into() };
        let problems =
            [problem("spec.replicas", "must be 0 or more"), problem("spec.model.name", "is empty")];
        let invalid = Refusal::invalid(&problems);
        assert_eq!(invalid.reason, "InvalidSpec");
        for word in ["spec.replicas", "must be 0 or more", "; ", "spec.model.name"] {
            assert!(invalid.message.contains(word), "{word:?} is not in {}", invalid.message);
        }
        let template = Refusal::template("spec.headGroupSpec: Required value");
        assert_eq!(template.reason, "InvalidTemplate");
        assert!(template.message.starts_with("spec.template.spec: "), "{}", template.message);
        assert!(template.message.ends_with("Required value: correct the template"), "{}", template.message);
        let missing = Refusal::no_kuberay("no CRD");
        assert_eq!(missing.reason, "KubeRayMissing");
        assert!(missing.message.contains("no CRD: install KubeRay"), "{}", missing.message);
    }

    #[test]
    fn another_reason_keeps_the_time_of_the_transition() {
        let first = Refusal::no_kuberay("no CRD").status(&RayClusterFleetStatus::default(), Some(1), at(10));
        let next = Refusal::template("no").status(&first, Some(1), at(20));
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
        let after = Refusal::template("no").status(&before, Some(1), at(20));
        assert_eq!(after.conditions[0].last_transition_time, Some(Time(at(20))));
        assert_eq!(after.rollout.unwrap().step, "InvalidTemplate");
    }
}
