//! Failure and what is tried next: the engine again on the same Ray cluster, after that the whole group
//! anew. Waits grow, and every failure says its cause and the next try.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rayfleet_api::status::{Goal, Phase};
use rayfleet_api::valid::{ValidFailurePolicy, after};

use super::stage::{Stage, submission};
use super::{blame, engine, patience, ray, reach};
use crate::effect::Effect;
use crate::{text, time};

/// Time that Ray gets to end a job. Ray kills it by force after its own few seconds; what is left then
/// only goes with its pods.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Wait before the try that follows so many failures: doubles from the policy's initial wait up to its
/// longest.
pub fn backoff(policy: &ValidFailurePolicy, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    policy.backoff_initial.saturating_mul(1 << doublings).min(policy.backoff_max)
}

/// The engine has failed: no more traffic, and the next try is fixed.
pub(super) fn fail(stage: &mut Stage<'_>, cause: &str) {
    blame::blame(stage, cause);
    let served = served(stage);
    // A lost pod says nothing about the revision; neither does the end of a group that did serve.
    if stage.pods.whole() && !served {
        stage.group.failed_starts = stage.group.failed_starts.saturating_add(1);
    }
    let allowed = stage.fleet.failure.engine_restarts;
    if stage.group.restarts >= allowed {
        recreate(stage, &format!("{cause} (after {allowed} engine restarts)"));
        return;
    }
    stage.group.restarts = stage.group.restarts.saturating_add(1);
    let restarts = stage.group.restarts;
    let retry = next_try(stage, served);
    let next = format!("the engine is started again at {} (restart {restarts} of {allowed})", retry.0);
    stage.group.retry_after = Some(retry.clone());
    stage.group.goal_reason = Some(text::bounded(format!("failed: {cause}")));
    enter_failed(stage, cause, &next);
    stage.wake_at(Some(retry.0));
}

/// When the next try may begin at the earliest. What served, and has no failure that it has not left behind, is tried
/// again without a wait, so in the next second; whatever fails again waits.
fn next_try(stage: &Stage<'_>, served: bool) -> Time {
    let first = stage.group.restarts == 1 && stage.group.failures == 0;
    if served && first {
        return Time(after(time::began(stage.now).0, Duration::from_secs(1)));
    }
    time::not_before(after(stage.now, backoff(&stage.fleet.failure, stage.group.restarts)))
}

/// It was available, or is until this moment.
fn served(stage: &Stage<'_>) -> bool {
    let available = time::end_of(stage.group.ready_since.as_ref(), stage.fleet.min_ready);
    stage.group.wavers_since.is_some() || available.is_some_and(|moment| moment <= stage.now)
}

/// The group has failed as a whole: it is recreated under the next attempt number.
pub(super) fn give_up(stage: &mut Stage<'_>, cause: &str) {
    blame::blame(stage, cause);
    recreate(stage, cause);
}

/// Its pods or Ray nodes were not up in time: it is recreated. What Ray had whole before speaks for spec and model.
pub(super) fn never_came_up(stage: &mut Stage<'_>, cause: &str) {
    let formed = patience::formed(stage);
    give_up(stage, cause);
    if let Some(blamed) = &mut stage.blamed {
        blamed.served |= formed;
    }
}

fn recreate(stage: &mut Stage<'_>, cause: &str) {
    stage.group.failures = stage.group.failures.saturating_add(1);
    stage.group.goal = Goal::Retire;
    stage.group.goal_reason = Some(text::bounded(format!("failed: {cause}")));
    enter_failed(stage, cause, "the whole group is recreated");
}

fn enter_failed(stage: &mut Stage<'_>, cause: &str, next: &str) {
    stage.gate(false, "Failed");
    stage.group.deadline = None;
    stage.group.unreachable_since = None;
    stage.group.wavers_since = None;
    patience::end(stage);
    stage.enter(Phase::Failed, format!("{cause}; {next}"));
    stage.tell(true, "GroupFailed", format!("group {}: {cause}; {next}", stage.group.name));
}

/// A failed group: end what is left of its engine, wait meanwhile, then go on with the next launch. Says
/// whether it may go on now.
pub(super) fn recover(stage: &mut Stage<'_>) -> bool {
    stage.gate(false, "Failed");
    let retry = stage.group.retry_after.as_ref().map(|time| time.0);
    let waited = retry.is_none() || stage.reached(retry);
    if !old_engine_over(stage) || !waited {
        return false;
    }
    engine::next_launch(&mut stage.group);
    stage.enter(Phase::Provisioning, None);
    true
}

/// The engine of the failed launch holds no GPU any more: its job is over, or its head is gone.
fn old_engine_over(stage: &mut Stage<'_>) -> bool {
    if !stage.pods.head().is_some_and(|head| head.containers_ready) {
        return true;
    }
    let since = stage.group.since.clone();
    let runs = ray::job_runs(stage);
    if runs.is_some() || reach::unknown(stage.seen) {
        stage.group.unreachable_since = None;
    }
    match runs {
        Some(false) => true,
        Some(true) => {
            let (group, submission) = (stage.group.name.clone(), submission(&stage.group));
            stage.act(Effect::StopEngine { group, submission });
            if stage.reached(time::end_of(since.as_ref(), STOP_LIMIT)) {
                give_up(stage, "the failed engine does not stop");
            }
            false
        }
        None if reach::unknown(stage.seen) => false,
        None => {
            let since = stage.group.unreachable_since.get_or_insert_with(|| time::began(stage.now)).clone();
            let patience = reach::patience(stage);
            if stage.reached(time::end_of(Some(&since), patience)) {
                give_up(stage, "the Ray dashboard does not answer");
            }
            false
        }
    }
}
