//! What is known of the requests that a group's engine has: how many, and whether they get on.

use std::time::Duration;

use rayfleet_api::valid::after;

use super::context::StepContext;
use super::ray::{self, Ray};
use crate::observed::{ObservedEngine, ObservedJob, ObservedLoad};

/// So many times `hungAfter` an engine may stand still all of whose requests are deferred, half an hour by default: longer than clients
/// wait. `ray-bridge watch` has the same.
const DEFERRED_FACTOR: u32 = 30;

/// How far the engine is with its requests.
pub(super) enum Engine {
    Dead,
    Load(ObservedLoad),
    /// It runs but does not tell its load, now or never.
    Unknown,
}

/// The engine tells how many requests it has.
pub(super) fn answers(ctx: &StepContext<'_>) -> bool {
    matches!(engine(ctx), Engine::Load(_))
}

pub(super) fn engine(ctx: &StepContext<'_>) -> Engine {
    let Ray::Alive(alive) = ray::ray(ctx) else { return Engine::Unknown };
    if !ctx.launched() {
        return alive.engine.load.map_or(Engine::Unknown, Engine::Load);
    }
    ray::engine(&ctx.group, alive).map_or(Engine::Unknown, of_job)
}

fn of_job(engine: &ObservedEngine) -> Engine {
    match engine.job {
        None | Some(ObservedJob::Ended(_)) => Engine::Dead,
        Some(_) => engine.load.map_or(Engine::Unknown, Engine::Load),
    }
}

/// It has stood still for longer than an engine does that is well.
pub(super) fn hangs(ctx: &mut StepContext<'_>, load: ObservedLoad) -> bool {
    let end = load.stalled_since.map(|since| after(since, patience(ctx, load)));
    ctx.reached(end)
}

/// How long an engine that is well may make no step.
pub(super) fn patience(ctx: &StepContext<'_>, load: ObservedLoad) -> Duration {
    let factor = if load.deferred { DEFERRED_FACTOR } else { 1 };
    ctx.fleet.failure.hung_after.saturating_mul(factor)
}
