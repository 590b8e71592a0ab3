//! How long a group may take before its engine is launched, or, without `spec.model`, until it serves. What it waits for
//! through no fault of its own does not count. A group that takes longer is recreated.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_api::valid::{START_TIMEOUT, after};

use super::context::StepContext;
use super::fail;
use super::failure::Failure;
use super::launch;
use super::reachability;
use crate::observed::{ObservedPod, PodProblem};
use crate::startup_times;
use crate::time;

/// A pod that is restarted again and again does not recover by that: the kubelet's longest wait between two tries.
const CRASHING: Duration = Duration::from_mins(5);

/// A pull is waited for, so long in one phase. What is slower is given up by its runtime, which says so, or does not come.
const PULLED_WITHIN: Duration = Duration::from_hours(1);

/// Without `spec.model` nobody says how long the first start of an engine may take: not less than this.
const UNKNOWN_START: Duration = Duration::from_hours(1);

/// Gives up a group whose time is over, and says so. `doing` is what it waits for.
pub(super) fn over(ctx: &mut StepContext<'_>, doing: &str) -> bool {
    // An engine that is launched has a deadline of its own.
    if ctx.group.start_deadline.is_some() || waits_for_others(ctx) {
        return false;
    }
    let due = ctx.group.forming_since.get_or_insert_with(|| time::began(ctx.now)).0;
    let limit = limit(ctx);
    let since = ctx.group.phase_since.as_ref().map_or(due, |since| since.0.max(due));
    let again = Some(after(since, reachability::patience(ctx)));
    let late = ctx.reached(Some(after(due, limit)));
    // All its pods run, and Ray has had all of them before.
    let lost = ctx.group.phase == Phase::Forming && launch::has_launched(ctx) && ctx.reached(again);
    if !late && !lost {
        return false;
    }
    let seconds = ctx.now.as_second().saturating_sub(due.as_second());
    let doing = doing.to_owned();
    never_came_up(ctx, &Failure::NotFormed { seconds, phase: ctx.group.phase, doing });
    true
}

/// Its pods or Ray nodes were not up in time: it is recreated. What Ray had whole before speaks for spec and model.
fn never_came_up(ctx: &mut StepContext<'_>, failure: &Failure) {
    let has_launched = launch::has_launched(ctx);
    if has_launched {
        fail::give_up_failed(ctx, failure);
    } else {
        fail::give_up(ctx, failure);
    }
    if let Some(blamed) = &mut ctx.blamed {
        blamed.served |= has_launched;
    }
}

/// Whether the image of a pod is still on its way, and may be: a first start of a large image is no fault of the revision.
pub(crate) fn pulls_its_image(group: &GroupStatus, pods: &[ObservedPod], now: Timestamp) -> bool {
    let live = || pods.iter().filter(|pod| !pod.deleting).filter_map(|pod| pod.problem.as_ref());
    // One image that comes excuses no other that never will.
    let pulling = live().any(PodProblem::pulls) && !live().any(PodProblem::no_image);
    let end = time::end_of(group.phase_since.as_ref(), PULLED_WITHIN);
    pulling && group.failures == 0 && end.is_some_and(|end| now < end)
}

/// The clock stands still while the group waits for room, for an image, for a volume, or for KubeRay to make its pods.
fn waits_for_others(ctx: &mut StepContext<'_>) -> bool {
    let kuberay = ctx.observed.cluster.as_ref().is_some_and(|cluster| cluster.replica_failure.is_some());
    let waits = kuberay
        || !ctx.pods.whole()
        || ctx.pods.live().any(|pod| pod.node.is_none() || pod.problem.as_ref().is_some_and(is_others))
        || pulls_its_image(&ctx.group, &ctx.observed.pods, ctx.now);
    if waits {
        ctx.group.waiting_since.get_or_insert_with(|| time::began(ctx.now));
    } else if let Some(held) = ctx.group.waiting_since.take()
        && let Some(due) = &mut ctx.group.forming_since
    {
        let held = ctx.now.duration_since(held.0).unsigned_abs();
        *due = time::began(after(due.0, held));
    }
    waits
}

/// Another group would fare no better.
fn is_others(problem: &PodProblem) -> bool {
    problem.no_image() || problem.not_attached()
}

fn limit(ctx: &StepContext<'_>) -> Duration {
    let by_size = startup_times::by_size(ctx.fleet);
    let served = ctx.group.not_ready_since.is_some();
    let start = ctx.fleet.model.as_ref().map_or(START_TIMEOUT, |model| model.start_timeout);
    let limit = match (ctx.launched(), served) {
        (true, _) if launch::has_launched(ctx) => start.min(by_size),
        (true, _) => start,
        (false, true) => by_size,
        // Its engine may crash until its workers are there; its containers restart it.
        (false, false) => {
            return by_size.max(UNKNOWN_START).max(ctx.fleet.progress_deadline.unwrap_or_default());
        }
    };
    if ctx.pods.crashing() { limit.min(CRASHING) } else { limit }
}
