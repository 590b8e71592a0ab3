//! Failure and what is tried next: the engine again on the same Ray cluster, after that the whole group
//! again. Waits grow, and every failure says its cause and the next try.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rayfleet_api::status::{Goal, GroupFailure, Phase};
use rayfleet_api::valid::{ValidFailurePolicy, after};

use super::context::StepContext;
use super::failure::Failure;
use super::{blame, launch, ray, reachability};
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

/// What the reason of a goal begins with when a failure is that reason.
const FAILED: &str = "failed: ";

/// Whether the reason of a goal is a failure, of the group itself or of the one that it stands in for.
pub(crate) fn is_failure(goal_reason: &str) -> bool {
    goal_reason.contains(FAILED)
}

/// The engine has failed: no more traffic, and the next try is fixed.
pub(super) fn fail(ctx: &mut StepContext<'_>, failure: &Failure) {
    let cause = &record(ctx, failure);
    let served = served(ctx);
    // A lost pod says nothing about the revision; neither does the end of a group that did serve.
    if ctx.pods.whole() && !served {
        ctx.group.failed_starts = ctx.group.failed_starts.saturating_add(1);
    }
    let allowed = ctx.fleet.failure.engine_restarts;
    if ctx.group.restarts >= allowed {
        recreate(ctx, &format!("{cause} (after {allowed} engine restarts)"));
        return;
    }
    ctx.group.restarts = ctx.group.restarts.saturating_add(1);
    let restarts = ctx.group.restarts;
    let retry = next_try(ctx, served);
    let next = format!("the engine is started again at {} (restart {restarts} of {allowed})", retry.0);
    ctx.group.retry_after = Some(retry.clone());
    ctx.group.goal_reason = Some(text::bounded(format!("{FAILED}{cause}")));
    enter_failed(ctx, cause, &next);
    ctx.wake_at(Some(retry.0));
}

/// When the next try may begin at the earliest. What served, and has no failure that it has not left behind, is tried
/// again without a wait, so in the next second; whatever fails again waits.
fn next_try(ctx: &StepContext<'_>, served: bool) -> Time {
    let first = ctx.group.restarts == 1 && ctx.group.failures == 0;
    if served && first {
        return Time(after(time::began(ctx.now).0, Duration::from_secs(1)));
    }
    time::not_before(after(ctx.now, backoff(&ctx.fleet.failure, ctx.group.restarts)))
}

/// It was available, or is until this moment.
fn served(ctx: &StepContext<'_>) -> bool {
    let available = time::end_of(ctx.group.ready_since.as_ref(), ctx.fleet.min_ready);
    ctx.group.not_ready_since.is_some() || available.is_some_and(|moment| moment <= ctx.now)
}

/// The group has failed as a whole: it is recreated under the next attempt number.
pub(super) fn give_up(ctx: &mut StepContext<'_>, failure: &Failure) {
    let cause = record(ctx, failure);
    recreate(ctx, &cause);
}

/// Keeps what failed and where, and gives its words.
fn record(ctx: &mut StepContext<'_>, failure: &Failure) -> String {
    let (kind, cause) = (failure.kind(), failure.to_string());
    ctx.failure = Some(kind);
    ctx.group.last_failure = Some(GroupFailure { kind, time: time::began(ctx.now) });
    // Whose pods are one too many says nothing about the nodes that they are on.
    if !matches!(failure, Failure::SeveralHeads(_)) {
        blame::blame(ctx, &cause);
    }
    cause
}

fn recreate(ctx: &mut StepContext<'_>, cause: &str) {
    ctx.group.failures = ctx.group.failures.saturating_add(1);
    ctx.group.goal = Goal::Retire;
    ctx.group.goal_reason = Some(text::bounded(format!("{FAILED}{cause}")));
    enter_failed(ctx, cause, "the whole group is recreated");
}

fn enter_failed(ctx: &mut StepContext<'_>, cause: &str, next: &str) {
    ctx.gate(false, "Failed");
    ctx.group.start_deadline = None;
    ctx.group.unreachable_since = None;
    ctx.group.not_ready_since = None;
    launch::forming_ends(ctx);
    ctx.set_phase(Phase::Failed, format!("{cause}; {next}"));
    let kind = ctx.failure.map_or_else(String::new, |kind| format!("{kind}: "));
    ctx.event(true, "GroupFailed", format!("group {}: {kind}{cause}; {next}", ctx.group.name));
}

/// A failed group: end what is left of its engine, wait meanwhile, then go on with the next launch. Says
/// whether it may go on now.
pub(super) fn recover(ctx: &mut StepContext<'_>) -> bool {
    ctx.gate(false, "Failed");
    let retry = ctx.group.retry_after.as_ref().map(|time| time.0);
    let waited = retry.is_none() || ctx.reached(retry);
    if !old_engine_over(ctx) || !waited {
        return false;
    }
    launch::next_launch(&mut ctx.group);
    ctx.set_phase(Phase::Provisioning, None);
    true
}

/// The engine of the failed launch holds no GPU any more: its job is over, or its head is gone.
fn old_engine_over(ctx: &mut StepContext<'_>) -> bool {
    if !ctx.pods.head().is_some_and(|head| head.containers_ready) {
        return true;
    }
    let since = ctx.group.phase_since.clone();
    let runs = ray::job_runs(ctx);
    if runs.is_some() || reachability::unknown(ctx.observed) {
        ctx.group.unreachable_since = None;
    }
    match runs {
        Some(false) => true,
        Some(true) => {
            ctx.act(Effect::StopEngine { launch: ctx.group.launch_id() });
            if ctx.reached(time::end_of(since.as_ref(), STOP_LIMIT)) {
                give_up(ctx, &Failure::DoesNotStop);
            }
            false
        }
        None if reachability::unknown(ctx.observed) => false,
        None => {
            let since = ctx.group.unreachable_since.get_or_insert_with(|| time::began(ctx.now)).clone();
            let patience = reachability::patience(ctx);
            if ctx.reached(time::end_of(Some(&since), patience)) {
                give_up(ctx, &Failure::DashboardUnreachable);
            }
            false
        }
    }
}
