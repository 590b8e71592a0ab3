//! When a group takes traffic and when it no longer does, and how long it may take to do so (again).

use std::time::Duration;

use rayfleet_api::PodName;
use rayfleet_api::status::{FailureKind, Phase};
use rayfleet_api::valid::after;

use super::context::StepContext;
use super::failure::{Failure, several_heads};
use super::{drain, fail, launch, ray, reachability};
use crate::observed::ObservedEngine;
use crate::time;

/// A group that has served this long has left its earlier failures behind.
const STABLE: Duration = Duration::from_mins(10);

/// The gate is open for the present launch: it was ready, and its probe prompt answered.
pub(super) fn is_open(ctx: &StepContext<'_>) -> bool {
    let launch = ctx.group.launch_id();
    ctx.pods.head().is_some_and(|head| head.opened_for.as_ref() == Some(&launch))
}

/// What a group that serves has to say while its Ray dashboard does not answer.
pub(super) fn unverified(engine: &ObservedEngine, of: &str) -> Option<String> {
    let cause = engine.unverified.as_ref()?;
    Some(format!("it serves, but its {of} cannot be read: {cause}"))
}

/// The group can serve: open the gate, and count it as ready once the endpoints follow.
pub(super) fn ready(ctx: &mut StepContext<'_>, unverified: Option<String>) {
    if ctx.group.phase != Phase::Ready && drain::leaves(ctx) {
        ctx.set_phase(Phase::Probing, "waits until its endpoint is removed".to_owned());
        return;
    }
    if ctx.group.phase != Phase::Ready {
        ctx.event(false, "GroupReady", format!("group {} is ready", ctx.group.name));
    }
    if let Some(cause) = &unverified
        && !ctx.is_reported(cause)
    {
        ctx.event(true, "DashboardUnreachable", format!("group {}: {cause}", ctx.group.name));
    }
    let heads = ctx.pods.too_many_heads().map(|heads| beside(&heads));
    if let Some(heads) = heads.as_ref().filter(|heads| unverified.is_none() && !ctx.is_reported(heads)) {
        ctx.event(true, "SeveralHeads", format!("group {}: {heads}", ctx.group.name));
    }
    ctx.set_phase(Phase::Ready, unverified.or(heads));
    ctx.group.start_deadline = None;
    ctx.group.unreachable_since = None;
    ctx.group.not_ready_since = None;
    launch::forming_ends(ctx);
    ctx.group.retry_after = None;
    ctx.group.goal_reason = None;
    ctx.gate(true, "Ready");
    let open = ctx.pods.head().is_some_and(|head| head.gate_open);
    if open && ctx.observed.endpoint_ready != Some(false) {
        ctx.group.ready_since.get_or_insert_with(|| time::began(ctx.now));
        if ctx.reached(time::end_of(ctx.group.ready_since.as_ref(), ctx.fleet.min_ready)) {
            ctx.group.failed_starts = 0;
        }
        forget_failures(ctx);
    } else {
        ctx.group.ready_since = None;
    }
}

/// What a group that serves has to say of heads beside its own, which comes first.
fn beside(heads: &[&PodName]) -> String {
    let cure = "delete the others, so that KubeRay looks after it again";
    format!("{}; {} serves: {cure}", several_heads(heads), heads.first().map_or("", |head| head))
}

fn forget_failures(ctx: &mut StepContext<'_>) {
    if ctx.group.restarts == 0 && ctx.group.failures == 0 {
        return;
    }
    if ctx.reached(time::end_of(ctx.group.ready_since.as_ref(), STABLE)) {
        ctx.group.restarts = 0;
        ctx.group.failures = 0;
    }
}

/// A group that served, or was starting, lost something that may come back by itself. Traffic stops
/// now; if it was serving it gets a while before that counts as a failure.
pub(super) fn fall_back(ctx: &mut StepContext<'_>, phase: Phase, message: String) {
    ctx.gate(false, "NotReady");
    if ctx.group.phase == Phase::Ready {
        ctx.event(true, "GroupNotReady", format!("group {}: {message}", ctx.group.name));
        ctx.group.not_ready_since = Some(time::began(ctx.now));
        let patience = after(ctx.now, ctx.fleet.failure.hung_after);
        ctx.group.start_deadline = ctx.launched().then(|| time::not_before(patience));
    }
    ctx.set_phase(phase, message);
}

/// Whether the time to become ready (again) is over; then the launch has failed.
pub(super) fn out_of_time(ctx: &mut StepContext<'_>) -> bool {
    let deadline = ctx.group.start_deadline.as_ref().map(|time| time.0);
    // Where silence is all there is against it, a group that served stays closed for longer before that costs its engine.
    let borne = ctx.group.not_ready_since.as_ref().filter(|_| reachability::silence_alone(ctx));
    let borne = borne.map(|since| after(since.0, reachability::patience(ctx)));
    let deadline = deadline.map(|deadline| borne.map_or(deadline, |borne| borne.max(deadline)));
    if !ctx.reached(deadline) {
        return false;
    }
    let doing = ctx.group.message.clone().unwrap_or_default();
    fail::fail(ctx, &Failure::Late { kind: lateness(ctx), phase: ctx.group.phase, doing });
    true
}

fn lateness(ctx: &StepContext<'_>) -> FailureKind {
    let refused = match ray::ray(ctx) {
        ray::Ray::Alive(alive) => ray::engine(&ctx.group, alive).is_some_and(|it| it.launch_error.is_some()),
        ray::Ray::Silent(_) | ray::Ray::Unknown => false,
    };
    match ctx.group.not_ready_since {
        Some(_) => FailureKind::NotReady,
        None if refused => FailureKind::LaunchRefused,
        None => FailureKind::StartTimedOut,
    }
}
