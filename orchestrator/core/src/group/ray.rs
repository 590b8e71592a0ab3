//! What is known of a group's Ray cluster, and how long silence is borne.

use std::time::Duration;

use rayfleet_api::status::GroupStatus;
use rayfleet_api::valid::after;

use super::reach;
use super::stage::{Stage, submission};
use crate::seen::{EngineSeen, JobSeen, PodSeen, RayAlive};
use crate::time;

/// An answer older than this is no answer: the observer asks every few seconds at its slowest, so it
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
    Alive(&'a RayAlive),
}

pub(super) fn ray<'a>(stage: &Stage<'a>) -> Ray<'a> {
    match &stage.seen.ray {
        None => Ray::Unknown,
        Some(seen) if after(seen.at, STALE) < stage.now => {
            Ray::Silent(format!("the last answer is from {}", time::began(seen.at).0))
        }
        Some(_) if reach::unknown(stage.seen) => Ray::Unknown,
        Some(seen) => match &seen.state {
            Ok(alive) => Ray::Alive(alive),
            Err(cause) => Ray::Silent(cause.clone()),
        },
    }
}

/// Pods whose address is among the Ray nodes that are alive, and whose machine gives signs of life.
pub(super) fn joined(stage: &Stage<'_>, alive: &RayAlive) -> usize {
    stage.pods.live().filter(|pod| is_in(stage, alive, pod)).count()
}

/// Whether a pod is a living Ray node. Ray itself takes many seconds to miss a machine that lost its power.
pub(super) fn is_in(stage: &Stage<'_>, alive: &RayAlive, pod: &PodSeen) -> bool {
    pod.ip.as_ref().is_some_and(|ip| alive.nodes.contains(ip)) && !no_sign(stage, pod)
}

/// Whether a pod's machine, or the way to it, is gone.
pub(super) fn no_sign(stage: &Stage<'_>, pod: &PodSeen) -> bool {
    let gone = stage.seen.ray.as_ref().map(|ray| &ray.no_sign);
    gone.is_some_and(|gone| pod.ip.as_ref().is_some_and(|ip| gone.contains(ip)))
}

/// Ranks that a group's engine has when it is whole. Of an older engine only what the ledger has of it is known.
pub(super) fn whole(stage: &Stage<'_>) -> Option<u32> {
    let group = &stage.group;
    if group.engine_revision == stage.fleet.revision.engine {
        return Some(stage.fleet.ranks());
    }
    group.ranks.as_ref()?.split_once('/')?.1.parse().ok()
}

/// The engine, if the answer is about the current launch.
pub(super) fn engine<'a>(group: &GroupStatus, alive: &'a RayAlive) -> Option<&'a EngineSeen> {
    (group.launch > 0 && alive.engine.submission == submission(group)).then_some(&alive.engine)
}

/// Whether the job of the current launch still runs. `None`: not known.
pub(super) fn job_runs(stage: &Stage<'_>) -> Option<bool> {
    match ray(stage) {
        Ray::Alive(alive) => engine(&stage.group, alive)
            .map(|engine| matches!(engine.job, Some(JobSeen::Pending | JobSeen::Running))),
        Ray::Unknown | Ray::Silent(_) => None,
    }
}

/// Silence begins or goes on. Is it too long for a group that serves?
pub(super) fn silent_too_long(stage: &mut Stage<'_>) -> bool {
    let since = stage.group.unreachable_since.get_or_insert_with(|| time::began(stage.now)).clone();
    stage.reached(Some(after(since.0, SILENCE)))
}
