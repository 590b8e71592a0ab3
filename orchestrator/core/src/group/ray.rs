//! What is known of a group's Ray cluster, and how long silence is borne.

use std::time::Duration;

use rayfleet_api::status::GroupStatus;
use rayfleet_api::valid::after;

use super::context::StepContext;
use super::reachability;
use crate::observed::{ObservedEngine, ObservedJob, ObservedPod, RayReport};
use crate::time;

/// An answer older than this is no answer: the observer reports every ten seconds at its slowest, so it
/// is stuck or gone.
const STALE: Duration = Duration::from_secs(30);

/// Silence that a serving group is allowed, as long as a kubelet's readiness probe by default would take. A
/// node that swaps or an engine that compiles may miss questions; what has died says so at once: its pod,
/// its job or a 503.
const SILENCE: Duration = Duration::from_secs(30);

/// What is known of a Ray cluster at this moment.
pub(super) enum Ray<'a> {
    /// Nobody has asked yet, as the controller has just started, or nobody is heard.
    Unknown,
    /// It does not answer, and why.
    Silent(String),
    /// It answers.
    Alive(&'a RayReport),
}

pub(super) fn ray<'a>(ctx: &StepContext<'a>) -> Ray<'a> {
    match &ctx.observed.ray {
        None => Ray::Unknown,
        Some(observed) if after(observed.at, STALE) < ctx.now => {
            Ray::Silent(format!("the last answer is from {}", time::began(observed.at).0))
        }
        Some(_) if reachability::unknown(ctx.observed) => Ray::Unknown,
        Some(observed) => match &observed.state {
            Ok(alive) => Ray::Alive(alive),
            Err(cause) => Ray::Silent(cause.clone()),
        },
    }
}

/// Pods whose address is among the Ray nodes that are alive, and whose machine gives signs of life.
pub(super) fn joined(ctx: &StepContext<'_>, alive: &RayReport) -> usize {
    ctx.pods.live().filter(|pod| is_in(ctx, alive, pod)).count()
}

/// Whether a pod is a living Ray node. Ray itself takes many seconds to miss a machine that lost its power.
pub(super) fn is_in(ctx: &StepContext<'_>, alive: &RayReport, pod: &ObservedPod) -> bool {
    pod.ip.as_ref().is_some_and(|ip| alive.nodes.contains(ip)) && !no_sign(ctx, pod)
}

/// Whether a pod's machine, or the way to it, is gone.
pub(super) fn no_sign(ctx: &StepContext<'_>, pod: &ObservedPod) -> bool {
    let gone = ctx.observed.ray.as_ref().map(|ray| &ray.unreachable_ips);
    gone.is_some_and(|gone| pod.ip.as_ref().is_some_and(|ip| gone.contains(ip)))
}

/// Ranks that a group's engine has when it is whole. Of an older engine only what the ledger has of it is known.
pub(super) fn whole(ctx: &StepContext<'_>) -> Option<u32> {
    let group = &ctx.group;
    if group.engine_revision == ctx.fleet.revision.engine {
        return Some(ctx.fleet.ranks());
    }
    group.ranks.map(|ranks| ranks.total)
}

/// The engine, if the answer is about the current launch.
pub(super) fn engine<'a>(group: &GroupStatus, alive: &'a RayReport) -> Option<&'a ObservedEngine> {
    (group.launch > 0 && alive.engine.launch == Some(group.launch_id())).then_some(&alive.engine)
}

/// Whether the job of the current launch still runs. `None`: not known.
pub(super) fn job_runs(ctx: &StepContext<'_>) -> Option<bool> {
    match ray(ctx) {
        Ray::Alive(alive) => engine(&ctx.group, alive)
            .map(|engine| matches!(engine.job, Some(ObservedJob::Pending | ObservedJob::Running))),
        Ray::Unknown | Ray::Silent(_) => None,
    }
}

/// Silence begins or goes on. Is it too long for a group that serves?
pub(super) fn silent_too_long(ctx: &mut StepContext<'_>) -> bool {
    let since = ctx.group.unreachable_since.get_or_insert_with(|| time::began(ctx.now)).clone();
    ctx.reached(Some(after(since.0, SILENCE)))
}
