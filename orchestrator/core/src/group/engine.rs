//! The engine in bridge mode: launched once, watched while it is placed, loads and is probed, and
//! then for as long as it serves. A launch is fixed in the ledger before it is asked for.

use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_api::valid::{START_TIMEOUT, after};

use super::context::StepContext;
use super::failure::Failure;
use super::launch::{self, not_started, started};
use super::{fail, ray, readiness, requests};
use crate::effect::Effect;
use crate::observed::{ObservedEngine, ObservedJob, ObservedProbe};
use crate::{text, time};

/// Differences from the plan that are reported; more of them say no more.
const MISPLACED: usize = 8;

pub(super) fn bring_up(ctx: &mut StepContext<'_>) {
    if not_started(&ctx.group) {
        start(ctx);
        return;
    }
    let ray::Ray::Alive(alive) = ray::ray(ctx) else { return };
    match ray::engine(&ctx.group, alive) {
        Some(engine) => watch(ctx, engine),
        // The observer still speaks of the launch before.
        None if ctx.group.phase == Phase::Ready => {}
        None => still(ctx, Phase::Placing, "the engine is being launched".to_owned()),
    }
}

fn start(ctx: &mut StepContext<'_>) {
    ctx.group.launch = ctx.group.launch.max(1);
    // A fleet that has no model any more still starts the engines of groups that had one.
    let limit = ctx.fleet.model.as_ref().map_or(START_TIMEOUT, |model| model.start_timeout);
    ctx.group.start_deadline = Some(time::not_before(after(ctx.now, limit)));
    launch::forming_ends(ctx);
    ctx.gate(false, "Starting");
    ctx.set_phase(Phase::Placing, "the engine is being launched".to_owned());
    request(ctx);
}

fn request(ctx: &mut StepContext<'_>) {
    ctx.wake_at(ctx.group.start_deadline.as_ref().map(|time| time.0));
    ctx.act(Effect::LaunchEngine { launch: ctx.group.launch_id() });
}

fn watch(ctx: &mut StepContext<'_>, engine: &ObservedEngine) {
    if engine.job.is_some() {
        watch_running(ctx, engine);
        return;
    }
    let message = launching(ctx, engine);
    still(ctx, Phase::Placing, message);
    if ctx.group.phase == Phase::Placing {
        request(ctx);
    }
}

/// Why there is no job yet.
fn launching(ctx: &mut StepContext<'_>, engine: &ObservedEngine) -> String {
    let Some(cause) = &engine.launch_error else { return "the engine is being launched".to_owned() };
    let message = format!("the engine could not be launched yet: {cause}");
    if !ctx.is_reported(&message) {
        ctx.event(true, "LaunchFailed", format!("group {}: {message}", ctx.group.name));
    }
    message
}

/// Fails an engine of which Ray knows that it is dead, whatever else is amiss: no wait brings it back. Where a pod is
/// missing, that is the better cause.
pub(super) fn died(ctx: &mut StepContext<'_>) -> bool {
    if !started(ctx) || !ctx.pods.whole() {
        return false;
    }
    let ray::Ray::Alive(alive) = ray::ray(ctx) else { return false };
    let engine = ray::engine(&ctx.group, alive);
    let Some(death) = engine.and_then(|engine| cause_of_death(&ctx.group, engine)) else { return false };
    fail::fail(ctx, &death);
    true
}

fn cause_of_death(group: &GroupStatus, engine: &ObservedEngine) -> Option<Failure> {
    let failure = engine.failure.clone();
    match &engine.job {
        Some(ObservedJob::Ended(cause)) => Some(Failure::JobEnded { first: failure, cause: cause.clone() }),
        Some(ObservedJob::Pending | ObservedJob::Running) => failure.map(Failure::Engine),
        // Ranks are only known of a job that was there, so Ray has lost its memory.
        None => group.ranks.is_some().then_some(Failure::JobForgotten),
    }
}

fn watch_running(ctx: &mut StepContext<'_>, engine: &ObservedEngine) {
    let serving = ctx.group.phase == Phase::Ready;
    // An older engine whose ranks are not known has to be healthy, and where its plan says.
    let ranks = ray::whole(ctx).unwrap_or(engine.ranks_placed);
    let hung = hung(ctx, engine);
    if !engine.differences.is_empty() && (serving || engine.healthy) {
        ctx.group.misplaced = engine.differences.iter().take(MISPLACED).map(text::bounded).collect();
        fail::fail(ctx, &Failure::WrongPlacement(engine.differences.clone()));
    } else if let Some(hung) = hung {
        fail::fail(ctx, &hung);
    } else if !engine.healthy && serving {
        lost_health(ctx, engine);
    } else if engine.ranks_placed < ranks && !serving {
        let note = format!("{} of {ranks} ranks are placed", engine.ranks_placed);
        still(ctx, Phase::Placing, with_note(&note, engine));
    } else if engine.healthy {
        healthy(ctx, engine);
    } else {
        still(ctx, Phase::Loading, with_note("the engine loads the model", engine));
    }
}

/// An engine that answers, owes tokens and makes no step: a rank is stuck, and no time-out of its own will end that.
fn hung(ctx: &mut StepContext<'_>, engine: &ObservedEngine) -> Option<Failure> {
    let load = engine.load.filter(|load| requests::hangs(ctx, *load))?;
    let after = requests::patience(ctx, load);
    Some(Failure::Hung { requests: load.in_flight, deferred: load.deferred, after })
}

fn with_note(text: &str, engine: &ObservedEngine) -> String {
    engine.note.as_ref().map_or_else(|| text.to_owned(), |note| format!("{text}: {note}"))
}

/// A serving engine that says it is ill has failed; one that says nothing gets a few seconds, then no
/// more traffic, and after `hungAfter` it has failed too.
fn lost_health(ctx: &mut StepContext<'_>, engine: &ObservedEngine) {
    if engine.answering {
        fail::fail(ctx, &Failure::Unhealthy);
    } else if ray::silent_too_long(ctx) {
        readiness::fall_back(ctx, Phase::Loading, "the engine does not answer".to_owned());
    }
}

fn healthy(ctx: &mut StepContext<'_>, engine: &ObservedEngine) {
    ctx.group.unreachable_since = None;
    if engine.load.is_some_and(|load| load.draining == Some(true)) {
        ctx.act(Effect::SetDraining { group: ctx.group.name.clone(), draining: false });
    }
    if ctx.group.phase == Phase::Ready {
        let unverified = readiness::unverified(engine, "ranks");
        readiness::ready(ctx, unverified);
        return;
    }
    match &engine.probe {
        ObservedProbe::Passed => readiness::ready(ctx, None),
        ObservedProbe::Unknown if readiness::is_open(ctx) => readiness::ready(ctx, None),
        ObservedProbe::Failed(cause) => fail::fail(ctx, &Failure::ProbeFailed(cause.clone())),
        ObservedProbe::Unknown => {
            still(ctx, Phase::Probing, "the probe prompt is being answered".to_owned());
            if ctx.group.phase == Phase::Probing {
                ctx.act(Effect::Probe { launch: ctx.group.launch_id() });
            }
        }
    }
}

/// Not there yet: wait in a phase, unless the time is over.
fn still(ctx: &mut StepContext<'_>, phase: Phase, message: String) {
    if !readiness::out_of_time(ctx) {
        ctx.gate(false, "Starting");
        ctx.group.unreachable_since = None;
        ctx.set_phase(phase, message);
    }
}
