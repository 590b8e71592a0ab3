//! The goal Serve: how far has the group come, and what is the next thing it needs? The answer is taken
//! from what is seen, not from the phase of before, so a restarted controller lands where it was.

use std::time::Duration;

use rayfleet_api::status::Phase;
use rayfleet_api::valid::after;

use super::stage::{Stage, submission};
use super::{bring_up, drain, engine, evict, fail, patience, plain, reach, suspend};
use crate::seen::EngineSeen;
use crate::time;

/// A group that has served this long has left its earlier failures behind.
const STABLE: Duration = Duration::from_mins(10);

pub(super) fn serve(stage: &mut Stage<'_>) {
    if suspend::waits(stage) || evict::evicted(stage) {
        return;
    }
    reach::bear(stage);
    if stage.group.phase == Phase::Failed && !fail::recover(stage) {
        return;
    }
    if stage.group.phase == Phase::Draining && !drain::cancel(stage) {
        return;
    }
    if opened(stage) {
        stage.enter(Phase::Ready, None);
        stage.group.deadline = None;
    }
    // The planner spares a group that wavers for this long.
    let spared = time::end_of(stage.group.wavers_since.as_ref(), stage.fleet.failure.hung_after);
    stage.reached(spared);
    if !bring_up::on_living_nodes(stage)
        || !bring_up::cluster(stage)
        || engine::died(stage)
        || !bring_up::pods(stage)
        || !bring_up::ray_nodes(stage)
    {
        return;
    }
    if stage.launched() {
        engine::bring_up(stage);
    } else {
        plain::bring_up(stage);
    }
}

/// The group was ready, and the ledger does not know: gates open before it is told, and whoever led then may have ended in between. A
/// group that wavers is known to have served.
fn opened(stage: &Stage<'_>) -> bool {
    is_open(stage) && stage.group.phase < Phase::Ready && stage.group.wavers_since.is_none()
}

/// The gate is open for the present launch: it was ready, and its probe prompt answered.
pub(super) fn is_open(stage: &Stage<'_>) -> bool {
    let launch = submission(&stage.group);
    stage.pods.head().is_some_and(|head| head.opened_for.as_ref() == Some(&launch))
}

/// What a group that serves has to say while its Ray dashboard does not answer. The cause's words change with every try; the first
/// ones stay.
pub(super) fn unverified(stage: &Stage<'_>, engine: &EngineSeen, of: &str) -> Option<String> {
    let cause = engine.unverified.as_ref()?;
    let begins = format!("it serves, but its {of} cannot be looked at: ");
    let known = stage.group.message.clone().filter(|message| message.starts_with(&begins));
    Some(known.unwrap_or_else(|| format!("{begins}{cause}")))
}

/// The group can serve: open the gate, and count it as ready once the endpoints follow.
pub(super) fn ready(stage: &mut Stage<'_>, unverified: Option<String>) {
    if stage.group.phase != Phase::Ready && drain::leaves(stage) {
        stage.enter(Phase::Probing, "waits until the endpoints have let go of it".to_owned());
        return;
    }
    if stage.group.phase != Phase::Ready {
        stage.tell(false, "GroupReady", format!("group {} is ready", stage.group.name));
    }
    if let Some(cause) = &unverified
        && stage.group.message.as_ref() != Some(cause)
    {
        stage.tell(true, "DashboardUnreachable", format!("group {}: {cause}", stage.group.name));
    }
    stage.enter(Phase::Ready, unverified);
    stage.group.deadline = None;
    stage.group.unreachable_since = None;
    stage.group.wavers_since = None;
    patience::end(stage);
    stage.group.retry_after = None;
    stage.group.goal_reason = None;
    stage.gate(true, "Ready");
    let open = stage.pods.head().is_some_and(|head| head.gate_open);
    if open && stage.seen.endpoint_ready != Some(false) {
        stage.group.ready_since.get_or_insert_with(|| time::began(stage.now));
        if stage.reached(time::end_of(stage.group.ready_since.as_ref(), stage.fleet.min_ready)) {
            stage.group.failed_starts = 0;
        }
        forget_failures(stage);
    } else {
        stage.group.ready_since = None;
    }
}

fn forget_failures(stage: &mut Stage<'_>) {
    if stage.group.restarts == 0 && stage.group.failures == 0 {
        return;
    }
    if stage.reached(time::end_of(stage.group.ready_since.as_ref(), STABLE)) {
        stage.group.restarts = 0;
        stage.group.failures = 0;
    }
}

/// A group that served, or was starting, lost something that may come back by itself. Traffic stops
/// now; if it was serving it gets a while before that counts as a failure.
pub(super) fn fall_back(stage: &mut Stage<'_>, phase: Phase, message: String) {
    stage.gate(false, "NotReady");
    if stage.group.phase == Phase::Ready {
        stage.tell(true, "GroupNotReady", format!("group {}: {message}", stage.group.name));
        stage.group.wavers_since = Some(time::began(stage.now));
        let patience = after(stage.now, stage.fleet.failure.hung_after);
        stage.group.deadline = stage.launched().then(|| time::not_before(patience));
    }
    stage.enter(phase, message);
}

/// Whether the time to become ready (again) is over; then the launch has failed.
pub(super) fn out_of_time(stage: &mut Stage<'_>) -> bool {
    let deadline = stage.group.deadline.as_ref().map(|time| time.0);
    // Where silence is all there is against it, a group that served stays closed for longer before that costs its engine.
    let borne = stage.group.wavers_since.as_ref().filter(|_| reach::silence_alone(stage));
    let borne = borne.map(|since| after(since.0, reach::patience(stage)));
    let deadline = deadline.map(|deadline| borne.map_or(deadline, |borne| borne.max(deadline)));
    if !stage.reached(deadline) {
        return false;
    }
    let phase = stage.group.phase.as_str();
    let doing = stage.group.message.clone().unwrap_or_default();
    fail::fail(stage, &format!("not ready in time, still {phase}: {doing}"));
    true
}
