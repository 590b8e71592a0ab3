//! Compatibility mode: the template's own command runs the engine. Rayfleet judges when the group may take
//! traffic; starting and restarting engines is left to the containers.

use rayfleet_api::names;
use rayfleet_api::status::Phase;

use super::ray::{self, Ray};
use super::stage::Stage;
use super::{patience, serve};

pub(super) fn bring_up(stage: &mut Stage<'_>) {
    let Ray::Alive(alive) = ray::ray(stage) else { return };
    // Of an older template what its pods were made with counts: the labels may have changed since.
    let older = stage.fleet.model.is_some() || stage.group.revision != stage.fleet.revision.pod;
    let own = stage.seen.cluster.as_ref().filter(|_| older).and_then(|cluster| cluster.own_port);
    let Some(port) = own.or(stage.fleet.own_engine_port) else {
        serve::ready(stage, None);
        return;
    };
    let engine = &alive.engine;
    if engine.healthy {
        serve::ready(stage, None);
        return;
    }
    // Silence of a few seconds is borne, an answer that says "ill" is not.
    if stage.group.phase == Phase::Ready && !engine.answering && !ray::silent_too_long(stage) {
        return;
    }
    let answer = if engine.answering { "is not healthy" } else { "does not answer" };
    let message = format!(
        "the template's engine {answer} on port {port}: label the head's pods with model.aibrix.ai/port if it has \
         another one, annotate the fleet with {}=none if it has none",
        names::ANNOTATION_ENGINE_PORT
    );
    serve::fall_back(stage, Phase::Loading, message.clone());
    stage.group.unreachable_since = None;
    // How long a first start may take is known to its containers alone.
    if stage.group.wavers_since.is_some() {
        patience::over(stage, &message);
    }
}
