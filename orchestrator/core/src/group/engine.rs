//! The engine in bridge mode: launched once, watched while it is placed, loads and is probed, and
//! then for as long as it serves. A launch is fixed in the ledger before it is asked for.

use std::time::Duration;

use rayfleet_api::status::{Goal, GroupStatus, Phase};
use rayfleet_api::valid::{START_TIMEOUT, after};

use super::stage::{Stage, submission};
use super::{fail, patience, ray, serve};
use crate::effect::Effect;
use crate::seen::{EngineSeen, JobSeen, LoadSeen, ProbeSeen};
use crate::{text, time};

/// Differences from the plan that are told; more of them say no more.
const MISPLACED: usize = 8;

/// So many times `hungAfter` an engine may stand still all of whose requests are deferred, half an hour by default: longer than clients
/// wait. `ray-bridge watch` has the same.
const DEFERRED_FACTOR: u32 = 30;

/// No engine of the current launch number was ever asked for, or it is known to be over.
pub(crate) fn not_started(group: &GroupStatus) -> bool {
    let ended = matches!(group.phase, Phase::Ready | Phase::Failed | Phase::Draining | Phase::Stopping);
    !ended && group.deadline.is_none()
}

/// An engine that the loss of a pod ends.
pub(super) fn started(stage: &Stage<'_>) -> bool {
    stage.launched() && !not_started(&stage.group)
}

/// The next launch is another one. It starts when the Ray cluster is whole.
pub(super) fn next_launch(group: &mut GroupStatus) {
    group.launch = group.launch.saturating_add(1);
    group.deadline = None;
    group.unreachable_since = None;
    group.wavers_since = None;
    group.retry_after = None;
    group.closed_since = None;
    group.ranks = None;
    group.placement.clear();
    group.misplaced.clear();
}

/// From now on the group is to run the engine revision that the fleet asks for.
pub(super) fn retarget(stage: &mut Stage<'_>) {
    stage.group.engine_revision.clone_from(&stage.fleet.revision.engine);
    stage.group.goal = Goal::Serve;
    stage.group.goal_reason = None;
    stage.group.restarts = 0;
    stage.group.failed_starts = 0;
}

pub(super) fn bring_up(stage: &mut Stage<'_>) {
    if not_started(&stage.group) {
        start(stage);
        return;
    }
    let ray::Ray::Alive(alive) = ray::ray(stage) else { return };
    match ray::engine(&stage.group, alive) {
        Some(engine) => watch(stage, engine),
        // The observer still speaks of the launch before.
        None if stage.group.phase == Phase::Ready => {}
        None => still(stage, Phase::Placing, "the engine is being launched".to_owned()),
    }
}

fn start(stage: &mut Stage<'_>) {
    stage.group.launch = stage.group.launch.max(1);
    // A fleet that has no model any more still starts the engines of groups that had one.
    let limit = stage.fleet.model.as_ref().map_or(START_TIMEOUT, |model| model.start_timeout);
    stage.group.deadline = Some(time::not_before(after(stage.now, limit)));
    patience::end(stage);
    stage.gate(false, "Starting");
    stage.enter(Phase::Placing, "the engine is being launched".to_owned());
    launch(stage);
}

fn launch(stage: &mut Stage<'_>) {
    let (group, submission) = (stage.group.name.clone(), submission(&stage.group));
    stage.wake_at(stage.group.deadline.as_ref().map(|time| time.0));
    stage.act(Effect::LaunchEngine { group, submission });
}

fn watch(stage: &mut Stage<'_>, engine: &EngineSeen) {
    if engine.job.is_some() {
        watch_running(stage, engine);
        return;
    }
    let message = launching(stage, engine);
    still(stage, Phase::Placing, message);
    if stage.group.phase == Phase::Placing {
        launch(stage);
    }
}

/// Why there is no job yet. The words may change with every try; people are told of the first ones.
fn launching(stage: &mut Stage<'_>, engine: &EngineSeen) -> String {
    const NOT_YET: &str = "the engine could not be launched yet";
    let Some(cause) = &engine.launch_error else { return "the engine is being launched".to_owned() };
    let message = format!("{NOT_YET}: {cause}");
    if stage.group.message.as_ref().is_none_or(|known| !known.starts_with(NOT_YET)) {
        stage.tell(true, "LaunchFailed", format!("group {}: {message}", stage.group.name));
    }
    message
}

/// Fails an engine of which Ray knows that it is dead, whatever else is amiss: no wait brings it back. Where a pod is
/// missing, that is the better cause.
pub(super) fn died(stage: &mut Stage<'_>) -> bool {
    if !started(stage) || !stage.pods.whole() {
        return false;
    }
    let ray::Ray::Alive(alive) = ray::ray(stage) else { return false };
    let engine = ray::engine(&stage.group, alive);
    let Some(cause) = engine.and_then(|engine| cause_of_death(&stage.group, engine)) else { return false };
    fail::fail(stage, &cause);
    true
}

fn cause_of_death(group: &GroupStatus, engine: &EngineSeen) -> Option<String> {
    match &engine.job {
        Some(JobSeen::Ended(cause)) => Some(ended(engine, cause)),
        Some(JobSeen::Pending | JobSeen::Running) => engine.broken.clone(),
        // Ranks are only known of a job that was there, so Ray has lost its memory.
        None => group
            .ranks
            .is_some()
            .then(|| "Ray does not know the engine's job any more: its head was restarted".to_owned()),
    }
}

/// Ray's cause names what came last; what came first, where that is known, goes before it.
fn ended(engine: &EngineSeen, cause: &str) -> String {
    let first = engine.broken.as_ref().filter(|_| !engine.blamed.is_empty());
    first.map_or_else(
        || format!("the engine ended: {cause}"),
        |first| format!("{first}; the engine ended: {cause}"),
    )
}

fn watch_running(stage: &mut Stage<'_>, engine: &EngineSeen) {
    let serving = stage.group.phase == Phase::Ready;
    // An older engine whose ranks are not known has to be healthy, and where its plan says.
    let ranks = ray::whole(stage).unwrap_or(engine.ranks_placed);
    let hung = hung(stage, engine);
    if !engine.differences.is_empty() && (serving || engine.healthy) {
        stage.group.misplaced = engine.differences.iter().take(MISPLACED).map(text::bounded).collect();
        fail::fail(stage, &format!("ranks are not where they should be: {}", engine.differences.join("; ")));
    } else if let Some(cause) = hung {
        fail::fail(stage, &cause);
    } else if !engine.healthy && serving {
        lost_health(stage, engine);
    } else if engine.ranks_placed < ranks && !serving {
        let note = format!("{} of {ranks} ranks are placed", engine.ranks_placed);
        still(stage, Phase::Placing, with_note(&note, engine));
    } else if engine.healthy {
        healthy(stage, engine);
    } else {
        still(stage, Phase::Loading, with_note("the engine loads the model", engine));
    }
}

/// An engine that answers, owes tokens and makes no step: a rank is stuck, and no time-out of its own will end that.
fn hung(stage: &mut Stage<'_>, engine: &EngineSeen) -> Option<String> {
    let load = engine.load.filter(|load| hangs(stage, *load))?;
    Some(format!(
        "the engine hangs: {} requests {} and it has made no step for {} s",
        load.in_flight,
        if load.deferred { "are deferred" } else { "wait" },
        patience(stage, load).as_secs()
    ))
}

/// It has stood still for longer than an engine does that is well.
pub(super) fn hangs(stage: &mut Stage<'_>, load: LoadSeen) -> bool {
    let end = load.stalled_since.map(|since| after(since, patience(stage, load)));
    stage.reached(end)
}

fn patience(stage: &Stage<'_>, load: LoadSeen) -> Duration {
    let factor = if load.deferred { DEFERRED_FACTOR } else { 1 };
    stage.fleet.failure.hung_after.saturating_mul(factor)
}

fn with_note(text: &str, engine: &EngineSeen) -> String {
    engine.note.as_ref().map_or_else(|| text.to_owned(), |note| format!("{text}: {note}"))
}

/// A serving engine that says it is ill has failed; one that says nothing gets a few seconds, then no
/// more traffic, and after `hungAfter` it has failed too.
fn lost_health(stage: &mut Stage<'_>, engine: &EngineSeen) {
    if engine.answering {
        fail::fail(stage, "the engine reports that it is not healthy");
    } else if ray::silent_too_long(stage) {
        serve::fall_back(stage, Phase::Loading, "the engine does not answer".to_owned());
    }
}

fn healthy(stage: &mut Stage<'_>, engine: &EngineSeen) {
    stage.group.unreachable_since = None;
    if engine.load.is_some_and(|load| load.draining == Some(true)) {
        let group = stage.group.name.clone();
        stage.act(Effect::SetDraining { group, draining: false });
    }
    if stage.group.phase == Phase::Ready {
        let unverified = serve::unverified(stage, engine, "ranks");
        serve::ready(stage, unverified);
        return;
    }
    match &engine.probe {
        ProbeSeen::Passed => serve::ready(stage, None),
        ProbeSeen::Unknown if serve::is_open(stage) => serve::ready(stage, None),
        ProbeSeen::Failed(cause) => fail::fail(stage, &format!("the probe prompt failed: {cause}")),
        ProbeSeen::Unknown => {
            still(stage, Phase::Probing, "the probe prompt is being answered".to_owned());
            if stage.group.phase == Phase::Probing {
                let (group, submission) = (stage.group.name.clone(), submission(&stage.group));
                stage.act(Effect::Probe { group, submission });
            }
        }
    }
}

/// Not there yet: wait in a phase, unless the time is over.
fn still(stage: &mut Stage<'_>, phase: Phase, message: String) {
    if !serve::out_of_time(stage) {
        stage.gate(false, "Starting");
        stage.group.unreachable_since = None;
        stage.enter(phase, message);
    }
}
