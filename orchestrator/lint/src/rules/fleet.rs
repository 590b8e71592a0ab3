//! What Rayfleet refuses, does not read, or takes another way than AIBrix.

use rayfleet_api::kuberay;
use serde_json::Value;

use crate::finding::Findings;
use crate::rule::Rule;
use crate::workload::{Workload, valid};

/// AIBrix's default of `progressDeadlineSeconds`.
const AIBRIX_DEADLINE: u64 = 600;
/// The annotation by which AIBrix rolls back.
const ROLLBACK: &str = "deprecated.deployment.rollback.to";

pub(super) fn check(workload: &Workload<'_>, findings: &mut Findings) {
    let object = workload.object;
    if workload.lws {
        return;
    }
    if workload.valid.is_none() {
        for problem in valid(&object.value).err().into_iter().flatten() {
            // What the schema says of a field comes first: the same, by its type.
            if !findings.is_at(object, &problem.field) {
                let cure = "correct the field: until then the fleet is refused and nothing is created";
                findings.push(Rule::InvalidFleet, (object, &problem.field), problem.to_string(), cure);
            }
        }
    }
    let spec = &object.value["spec"];
    if workload.bridged && spec["progressDeadlineSeconds"] == AIBRIX_DEADLINE {
        let what = "progressDeadlineSeconds is 600, AIBrix's default: a rollout that needs longer for one step is reported as stuck";
        let cure = "leave it out, so that the deadline follows the time that groups take, or write 601 if ten minutes are meant";
        findings.push(Rule::AibrixDeadline, (object, "spec.progressDeadlineSeconds"), what, cure);
    }
    let cluster = &spec["template"]["spec"];
    if workload.bridged && cluster["rayVersion"].is_null() && cluster["authOptions"].is_null() {
        let what =
            "without rayVersion Ray's dashboard and API are open to whoever reaches a pod of the group";
        let cure = "write the version of Ray in the image, 2.52 or later";
        findings.push(Rule::NoRayVersion, (object, "spec.template.spec"), what, cure);
    }
    if object.value["metadata"]["annotations"][ROLLBACK].is_string() {
        let field = format!("metadata.annotations[{ROLLBACK}]");
        let cure = "take it out, and roll back by kubectl rayfleet rollout undo --to-revision N";
        findings.push(Rule::RollbackAnnotation, (object, &field), format!("{ROLLBACK} does nothing"), cure);
    }
    strategy(workload, findings);
}

/// With a command that never comes to the engine another rule has said it.
pub(super) fn block(workload: &Workload<'_>, findings: &mut Findings) {
    let object = workload.object;
    if workload.lws || findings.has(object, Rule::RayStartBlocks) {
        return;
    }
    let head = &object.value["spec"]["template"]["spec"]["headGroupSpec"];
    if head["rayStartParams"]["block"]
        .as_str()
        .is_some_and(|block| block.trim_matches(['\'', '"']) == "false")
    {
        let field = "spec.template.spec.headGroupSpec.rayStartParams.block";
        let cure = "take it out, and start Ray in the background: eval \"$KUBERAY_GEN_RAY_START_CMD\" & exec vllm serve ...";
        findings.push(
            Rule::BlockIgnored,
            (object, field),
            "KubeRay starts Ray with --block all the same",
            cure,
        );
    }
}

/// A fleet that only Rayfleet's CRD has room for is no AIBrix's.
fn strategy(workload: &Workload<'_>, findings: &mut Findings) {
    let spec = &workload.object.value["spec"];
    if ["model", "drain", "failurePolicy"].iter().any(|field| !spec[field].is_null()) {
        return;
    }
    let strategy = &spec["strategy"];
    let cure = "write strategy.type: RollingUpdate and rollingUpdate with maxSurge and maxUnavailable";
    let said = strategy["type"].as_str().unwrap_or_default();
    let what = match said {
        "" => {
            "without strategy.type AIBrix's controller does nothing for the fleet, and Rayfleet takes RollingUpdate"
        }
        "RollingUpdate" if strategy["rollingUpdate"].is_null() => {
            "without strategy.rollingUpdate AIBrix's controller fails, and Rayfleet takes 25% for both bounds"
        }
        _ => return,
    };
    findings.push(Rule::StrategyUnset, (workload.object, "spec.strategy"), what, cure);
}

/// Who of Ray listens on a port of a fleet's head.
pub(crate) fn taken_by_ray(value: &Value, port: u16) -> Option<String> {
    kuberay::taken(&value["spec"]["template"]["spec"]["headGroupSpec"], port)
}
