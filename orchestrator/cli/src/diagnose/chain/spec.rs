//! The spec is accepted by Rayfleet and by KubeRay's CRD.

use rayfleet_api::ValidFleet;
use rayfleet_api::names::KIND;
use rayfleet_api::status::RolloutStep;

use super::words::{odd_status, quoted, said};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Finding, Subject, Verdict};

/// Rules that are named; a spec may break one in thousands of places.
const MOST: usize = 8;

/// No rule refuses the spec.
pub(crate) fn accepted(case: &Case<'_>) -> Verdict {
    let generation = case.of.fleet.metadata.generation.unwrap_or_default();
    let Some(rollout) = case.rollout() else {
        return match odd_status(case) {
            Some(odd) => Verdict::Unknown(odd),
            None => Verdict::Waits(format!("generation {generation} is about to be observed")),
        };
    };
    if !case.of.is_observed() {
        return Verdict::Waits(format!("generation {generation} is about to be observed"));
    }
    let (name, namespace) = (case.name(), case.namespace());
    let refused = |about: Option<String>, by: &str, mut evidence: Vec<String>| {
        let words = case.condition("Stalled", "True").map(said);
        let words = words.or_else(|| rollout.reason.as_deref().map(quoted));
        evidence.splice(0..0, words);
        let stays = case.of.fleet.status.as_ref().map_or(0, |status| status.replicas);
        Verdict::Wrong(Finding {
            subject: Subject::new(KIND, &namespace, &name),
            about,
            what: format!("fleet {namespace}/{name}: {by} refuses the spec of generation {generation}"),
            evidence,
            cure: format!(
                "correct what the words name and apply the manifest again; {stays} groups keep an earlier revision \
                 meanwhile"
            ),
        })
    };
    match rollout.step {
        RolloutStep::InvalidSpec => {
            // The rules of this program may be of another version; the orchestrator's words stand before them.
            let problems = match ValidFleet::new(&case.of.fleet) {
                Ok(valid) => valid.launch_problems(),
                Err(problems) => problems,
            };
            let field = problems.first().map(|problem| problem.field.clone());
            let rules = problems.iter().take(MOST).map(|problem| quoted(&problem.to_string())).collect();
            refused(field, "Rayfleet", rules)
        }
        RolloutStep::InvalidTemplate => {
            refused(Some("spec.template.spec".to_owned()), "KubeRay's CRD", Vec::new())
        }
        RolloutStep::CreateRefused => refused(
            Some("ReplicaFailure/CreateRefused".to_owned()),
            "the API server (a quota, a policy, a webhook, a right)",
            case.condition("ReplicaFailure", "True").map(said).into_iter().collect(),
        ),
        RolloutStep::KubeRayMissing if case.facts.rayclusters.is_err() => refused(
            Some("Stalled/KubeRayMissing".to_owned()),
            "the orchestrator, without KubeRay's CRD,",
            Vec::new(),
        ),
        RolloutStep::KubeRayMissing => {
            Verdict::Waits("KubeRay's CRD has just come back; the orchestrator tries again".to_owned())
        }
        _ => Verdict::Ok(format!("generation {generation} is accepted")),
    }
}
