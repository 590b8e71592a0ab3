//! What is reported of a fleet that others control. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rayfleet_api::RayClusterFleetStatus;
use rayfleet_api::status::FleetCondition;

/// Reason of a fleet that AIBrix's controller works on, or has worked on.
const OWNED_BY_AIBRIX: &str = "OwnedByAIBrix";
/// Reason of a fleet that AIBrix's CRD drops fields of, or has dropped.
const CRD_REPLACED: &str = "CRDReplaced";

/// Why nothing is done about a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForeignOwner {
    /// One word for programs.
    pub(super) reason: &'static str,
    /// Object, field and cure.
    pub(super) message: String,
}

impl ForeignOwner {
    /// Whether fields of the fleet are dropped, or have been.
    pub(super) fn loses_fields(&self) -> bool {
        self.reason == CRD_REPLACED
    }

    /// The fleet has RayClusterReplicaSets.
    pub(super) fn of_aibrix(fleet: &str, set: &str) -> Self {
        let message = format!(
            "RayClusterReplicaSet {set} is of this fleet: AIBrix's controller made it, and only one controller may work on a fleet; \
             nothing is changed. Switch AIBrix's off (its flag --controllers=*,-distributed-inference-controller); then let Rayfleet \
             have the groups as they are: kubectl annotate rayclusterfleet {fleet} rayfleet.io/take-over=true"
        );
        Self { reason: OWNED_BY_AIBRIX, message }
    }

    /// It has them although its groups are Rayfleet's.
    pub(super) fn still_of_aibrix(set: &str) -> Self {
        let message = format!(
            "RayClusterReplicaSet {set} was made after this fleet's groups had become Rayfleet's: AIBrix's controller is still at work; \
             nothing is changed. Switch it off (its flag --controllers=*,-distributed-inference-controller), then delete what it \
             made: kubectl delete rayclusterreplicaset {set}"
        );
        Self { reason: OWNED_BY_AIBRIX, message }
    }

    /// The API server does not keep the ledger.
    pub(super) fn foreign_crd() -> Self {
        let message = "CustomResourceDefinition rayclusterfleets.orchestration.aibrix.ai is not Rayfleet's any more (AIBrix's chart brings \
                       one of this name): status.groups, spec.model and others of its fields are dropped from every object. Nothing is changed \
                       or written; gates go on following the engines that were known. Apply Rayfleet's again: \
                       kubectl apply --server-side --force-conflicts -f manifests/crd.yaml";
        Self { reason: CRD_REPLACED, message: message.to_owned() }
    }

    /// The CRD is Rayfleet's again, and the fleet was written meanwhile.
    pub(super) fn lost_fields(fields: &[&str]) -> Self {
        let message = format!(
            "{}: lost while another CRD was in the place of Rayfleet's; nothing is changed. Apply the fleet's manifest again",
            fields.join(", ")
        );
        Self { reason: CRD_REPLACED, message }
    }

    /// The status that says so, where it does not yet. Of AIBrix's conditions none is touched, so that nobody writes back and forth.
    /// `None` also where any write would lose what the API server still has.
    pub(super) fn status(
        &self,
        before: &RayClusterFleetStatus,
        now: Timestamp,
    ) -> Option<RayClusterFleetStatus> {
        let (conditions, message) = (&before.conditions, self.message.clone());
        let stalled = FleetCondition::next(conditions, "Stalled", "True", self.reason, message, Time(now));
        if self.reason != OWNED_BY_AIBRIX || before.conditions.contains(&stalled) {
            return None;
        }
        let mut status = before.clone();
        status.conditions.retain(|condition| condition.type_ != "Stalled");
        status.conditions.push(stalled);
        Some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_of_aibrix_gets_one_event_and_its_own_conditions_stay() {
        let available = FleetCondition {
            type_: "Available".to_owned(),
            status: "True".to_owned(),
            last_update_time: None,
            last_transition_time: None,
            reason: "MinimumReplicasAvailable".to_owned(),
            message: String::new(),
        };
        let before =
            RayClusterFleetStatus { conditions: vec![available], ..RayClusterFleetStatus::default() };
        let owner = ForeignOwner::of_aibrix("llama", "llama-bcdfgh");
        let status = owner.status(&before, Timestamp::UNIX_EPOCH).unwrap();
        let types: Vec<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(types, ["Available", "Stalled"]);
        assert_eq!(owner.status(&status, Timestamp::UNIX_EPOCH), None);
        let still =
            ForeignOwner::still_of_aibrix("llama-bcdfgh").status(&status, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(still.conditions.len(), 2);
    }

    #[test]
    fn a_write_that_would_lose_fields_is_not_made() {
        for owner in [ForeignOwner::foreign_crd(), ForeignOwner::lost_fields(&["spec.model"])] {
            assert_eq!(owner.status(&RayClusterFleetStatus::default(), Timestamp::UNIX_EPOCH), None);
        }
    }

    #[test]
    fn all_of_it_names_the_object_and_the_cure() {
        for (owner, words) in [
            (
                ForeignOwner::of_aibrix("f", "s"),
                ["RayClusterReplicaSet s", "kubectl annotate rayclusterfleet f rayfleet.io/take-over=true"],
            ),
            (
                ForeignOwner::still_of_aibrix("s"),
                ["RayClusterReplicaSet s", "kubectl delete rayclusterreplicaset s"],
            ),
            (ForeignOwner::foreign_crd(), ["rayclusterfleets.orchestration.aibrix.ai", "kubectl apply"]),
            (
                ForeignOwner::lost_fields(&["spec.model", "spec.drain"]),
                ["spec.model, spec.drain", "Apply the fleet's manifest again"],
            ),
        ] {
            for word in words {
                assert!(owner.message.contains(word), "{word:?} is not in {}", owner.message);
            }
            assert!(owner.message.len() < 1024, "an event holds no more: {}", owner.message.len());
        }
    }
}
