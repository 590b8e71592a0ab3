//! The fleet as a whole: what holds it although its groups are well, and, if nothing is wrong, what is under way.

use rayfleet_api::names::KIND;
use rayfleet_api::status::{FleetCondition, RolloutStep};
use rayfleet_cli_kit::age;

use super::words::{ago, odd_status, quoted, said};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Finding, Subject, Verdict};

/// Conditions that hold a fleet or a part of it, the cause before its consequence: type, status, reason (any if
/// empty), what that means, and what helps.
const HOLDS: [(&str, &str, &str, &str, &str); 12] = [
    (
        "Stalled",
        "True",
        "NoRoom",
        "there is no room for the next group, and none of the older ones may be given up",
        "add nodes or quota for what is missing; or set strategy.rollingUpdate.maxUnavailable: 1 (with whenNoRoom: \
         Replace), or with a node autoscaler strategy.whenNoRoom: Pend",
    ),
    (
        "Stalled",
        "True",
        "HeldByFinalizer",
        "a RayCluster that is to go is held by a finalizer, and its pods keep their GPUs",
        "whoever set that finalizer has to remove it; the message names it",
    ),
    (
        "Suspended",
        "True",
        "",
        "a group's RayCluster is suspended, by Kueue or by hand",
        "the message says who resumes it",
    ),
    (
        "Progressing",
        "False",
        "RolledBack",
        "the revision that the spec asks for has failed, and the fleet serves the last complete one",
        "change the spec to one that works, or revert it: kubectl rayfleet rollout undo {fleet}",
    ),
    (
        "Progressing",
        "Unknown",
        "Paused",
        "spec.paused holds the rollout",
        "continue it: kubectl rayfleet rollout resume {fleet}",
    ),
    (
        "ServiceFailed",
        "True",
        "",
        "the fleet's Service cannot be written",
        "the message names who refuses it, or whose it is",
    ),
    (
        "HistoryFailed",
        "True",
        "",
        "the ControllerRevision of the revision cannot be written, and new groups wait for it",
        "the message names who refuses it",
    ),
    (
        "Stalled",
        "True",
        "ProgressDeadlineExceeded",
        "nothing has moved within the progress deadline",
        "the message names the obstacle; if it only needs longer, raise spec.progressDeadlineSeconds",
    ),
    (
        "ReplicaFailure",
        "True",
        "RayClusterFailed",
        "KubeRay cannot make a group's pods or refuses its RayCluster",
        "KubeRay's words name what is missing: a quota, a right, a field of the template",
    ),
    (
        "ReplicaFailure",
        "True",
        "CreateRefused",
        "the API server refuses a RayCluster",
        "its words name who refuses: a quota, a policy, a webhook or a right; it is tried again within a minute",
    ),
    ("Stalled", "True", "", "it is stalled", "the message names the obstacle and the cure"),
    (
        "PlacementVerified",
        "False",
        "",
        "ranks of a group are missing or not on their planned nodes",
        "the engine is launched again by itself; if that repeats, see that nobody else uses these GPUs in Ray",
    ),
];

/// Nothing holds the fleet.
pub(crate) fn moves(case: &Case<'_>) -> Verdict {
    let held = HOLDS.iter().find_map(|(kind, status, reason, what, cure)| {
        let condition = case.condition(kind, status)?;
        (reason.is_empty() || condition.reason == *reason).then_some((condition, *what, *cure))
    });
    if let Some((condition, what, cure)) = held {
        return Verdict::Wrong(finding(case, condition, what, cure));
    }
    if let Some(odd) = odd_status(case) {
        return Verdict::Unknown(odd);
    }
    let Some(rollout) = case.rollout() else {
        return Verdict::Waits("not observed yet".to_owned());
    };
    let step = match &rollout.reason {
        Some(reason) => quoted(&format!("{}: {reason}", rollout.step)),
        None => rollout.step.to_string(),
    };
    if rollout.step == RolloutStep::Complete { Verdict::Ok(step) } else { Verdict::Waits(step) }
}

fn finding(case: &Case<'_>, condition: &FleetCondition, what: &str, cure: &str) -> Finding {
    let (name, namespace, now) = (case.name(), case.namespace(), case.facts.now);
    let mut evidence = vec![said(condition)];
    let since = condition.last_transition_time.as_ref().map(|time| time.0);
    evidence.extend(since.map(|since| format!("so since {since} ({})", ago(Some(since), now))));
    let rollout = case.rollout();
    let rollback = rollout.and_then(|rollout| rollout.rollback.as_ref());
    evidence.extend(rollback.map(|it| quoted(&format!("revision {} failed: {}", it.failed, it.cause))));
    let step = rollout.and_then(|it| Some((it.step, it.reason.as_deref()?)));
    // Where the condition has the reason of the step, it says nothing more.
    let step = step.filter(|(_, reason)| !condition.message.contains(reason));
    evidence.extend(step.map(|(step, reason)| quoted(&format!("rollout: {step}: {reason}"))));
    Finding {
        subject: Subject::new(KIND, &namespace, &name),
        about: Some(format!("{}/{}", condition.type_, condition.reason)),
        what: format!("fleet {namespace}/{name}: {what}"),
        evidence,
        cure: cure.replace("{fleet}", &format!("{name} -n {namespace}")),
    }
}

/// Nothing is found wrong: what is the case, and since when. `whole`: whether everything could be read.
pub(crate) fn now(case: &Case<'_>, whole: bool) -> Verdict {
    let now = case.facts.now;
    let status = case.of.fleet.status.clone().unwrap_or_default();
    let wanted = case.of.fleet.spec.replicas.unwrap_or(1);
    let groups = format!("{} of {wanted} groups take traffic", status.ready_replicas);
    let Some(rollout) = case.rollout() else {
        return Verdict::Waits(format!("{groups}; the orchestrator is about to observe the fleet"));
    };
    if !case.of.is_observed() {
        return Verdict::Waits(format!("{groups}; the orchestrator is about to observe the newest spec"));
    }
    let moved = rollout.last_progress.as_ref().map(|time| age::since(Some(time.0), now));
    let moved = moved.map_or_else(String::new, |moved| format!("; last progress {moved} ago"));
    let avoided: Vec<&str> =
        status.node_failures.iter().filter(|it| it.avoided).map(|it| it.node.as_str()).collect();
    let avoided = if avoided.is_empty() {
        String::new()
    } else {
        format!("; new groups avoid {}, on which groups failed", avoided.join(", "))
    };
    if !whole {
        return Verdict::Unknown(format!(
            "nothing is found wrong, and not all could be checked: {groups}; {}{moved}{avoided}",
            rollout.step
        ));
    }
    if rollout.step == RolloutStep::Complete && status.ready_replicas >= wanted {
        return Verdict::Ok(format!("all is well: {groups}{moved}{avoided}"));
    }
    Verdict::Waits(format!("under way, nothing is wrong: {groups}; {}{moved}{avoided}", rollout.step))
}
