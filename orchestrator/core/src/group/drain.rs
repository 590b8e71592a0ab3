//! Draining: the gate closes, the endpoints follow, the requests in flight end; only then may the engine
//! be stopped. The one way out before that is the drain time-out, which counts what it cuts off.

use std::time::Duration;

use rayfleet_api::names;
use rayfleet_api::status::Phase;
use rayfleet_api::valid::after;

use super::context::StepContext;
use super::ray::{self, Ray};
use super::requests::{self, Engine};
use super::{evict, reachability, stop};
use crate::effect::Effect;
use crate::observed::ObservedLoad;
use crate::time;

/// After the EndpointSlice has changed, every node's kube-proxy still has to program it (it batches
/// changes for up to a second), and a client may be between picking an address and connecting.
const SETTLE: Duration = Duration::from_secs(2);

/// For how long endpoints that still list a head are thought to be behind its gate. A slice that somebody else keeps may list it for ever.
const FOLLOW: Duration = Duration::from_secs(5);

/// For how long a head whose gate is closed and that is listed all the same is thought to get new requests. The controller that keeps
/// the slices may be away for a while, as when its lease moves on; after that whoever keeps the slice does not go by gates.
const STALE: Duration = Duration::from_mins(1);

/// An engine without requests for this long has none on the way from its own socket either.
const IDLE_SECONDS: f64 = 1.0;

/// How often a draining group is looked at: the end of the last request is no event of Kubernetes.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) fn start(ctx: &mut StepContext<'_>) {
    ctx.group.left_endpoints_at = None;
    ctx.group.start_deadline = None;
    if let Some(notice) = evict::notice(ctx) {
        let name = ctx.group.name.clone();
        ctx.event(
            true,
            "GroupEvicted",
            format!("group {name}: {notice}: its requests may end for as long as the machine is there; another group takes its place"),
        );
    }
    ctx.set_phase(Phase::Draining, "leaves the endpoints".to_owned());
    drain(ctx);
}

pub(super) fn drain(ctx: &mut StepContext<'_>) {
    let chosen = ctx.cluster_alive() && !evict::ends(ctx);
    ctx.gate(false, if chosen { "Draining" } else { "Evicted" });
    if ctx.pods.head().is_none() || ctx.pods.headless() {
        stop::start(ctx);
        return;
    }
    ctx.wake_at(Some(after(ctx.now, LOOK_AGAIN)));
    let deadline =
        evict::earliest(ctx, time::end_of(ctx.group.phase_since.as_ref(), ctx.fleet.drain_timeout));
    let settled = settled(ctx);
    let engine = requests::engine(ctx);
    // At once: each response from now on has its client go elsewhere for the next one.
    if matches!(&engine, Engine::Load(load) if load.draining == Some(false)) {
        ctx.act(Effect::SetDraining { group: ctx.group.name.clone(), draining: true });
    }
    match engine {
        engine if evict::lost(ctx).is_some() => cut_off(ctx, &engine),
        Engine::Dead => stop::start(ctx),
        Engine::Load(load) if (settled || ungated(ctx).is_some()) && ended(load) => {
            stop::start(ctx);
        }
        Engine::Unknown if settled && !ctx.launched() && !reachability::unknown(ctx.observed) => {
            stop::start(ctx);
        }
        engine if ctx.reached(deadline) => cut_off(ctx, &engine),
        // Requests of an engine that makes no step any more do not end, however long they get.
        Engine::Load(load) if requests::hangs(ctx, load) => cut_off(ctx, &Engine::Load(load)),
        engine => wait(ctx, settled, &engine),
    }
}

/// No new request can come: the endpoint of the head is removed, long enough for all to see.
fn settled(ctx: &mut StepContext<'_>) -> bool {
    let gate_open = ctx.pods.head().is_some_and(|head| head.gate_open);
    if !gate_open && (ctx.observed.endpoint_ready != Some(true) || listed_for(ctx, STALE)) {
        ctx.group.left_endpoints_at.get_or_insert_with(|| time::not_before(ctx.now));
    }
    ctx.reached(time::end_of(ctx.group.left_endpoints_at.as_ref(), SETTLE))
}

/// Endpoints list the head although its gate has been closed for so long.
fn listed_for(ctx: &mut StepContext<'_>, long: Duration) -> bool {
    let closed = ctx.pods.head().filter(|head| !head.gate_open).and_then(|head| head.gate_since);
    let closed = closed.filter(|_| ctx.observed.endpoint_ready == Some(true));
    closed.is_some_and(|closed| ctx.reached(Some(after(closed, long))))
}

/// The head, if its Services do not follow its gate: new requests come until it is stopped. A moment without one is the best there is.
fn ungated<'a>(ctx: &'a StepContext<'_>) -> Option<&'a str> {
    ctx.pods.head().filter(|head| head.ungated).map(|head| head.name.as_str())
}

/// Whether all requests have ended, and none can be on its way: its response would close a connection of an engine that drains, so
/// one that is still open had none since, and the server closes it.
fn ended(load: ObservedLoad) -> bool {
    let quiet = load.idle_seconds.is_none_or(|idle| idle >= IDLE_SECONDS);
    load.draining != Some(false) && load.in_flight == 0 && load.kept_connections == 0 && quiet
}

fn wait(ctx: &mut StepContext<'_>, settled: bool, engine: &Engine) {
    let stays = ungated(ctx).map(|head| {
        format!(
            "pod {head} has no readiness gate and stays in its endpoints; waits for a moment without requests, or until it is taken out: \
             kubectl label pod {head} {}-",
            names::LABEL_MODEL_NAME
        )
    });
    let message = match engine {
        _ if !settled && stays.is_some() => stays.unwrap_or_default(),
        _ if !settled && listed_for(ctx, FOLLOW) => {
            let head = ctx.pods.head().map(|head| head.name.as_str()).unwrap_or_default();
            format!(
                "an EndpointSlice lists pod {head} as ready although its gate is closed; goes on without it {} s after that: look for the \
                 slice that nobody updates with `kubectl get endpointslices`",
                STALE.as_secs()
            )
        }
        _ if !settled => "leaves the endpoints".to_owned(),
        Engine::Load(load) if load.in_flight == 0 && load.kept_connections > 0 => {
            format!(
                "0 requests in flight; {} connections of clients are open for some seconds",
                load.kept_connections
            )
        }
        Engine::Load(load) => format!("{} requests in flight", load.in_flight),
        _ => "the engine does not tell its requests in flight; waits for the drain time-out".to_owned(),
    };
    ctx.set_phase(Phase::Draining, message);
}

fn cut_off(ctx: &mut StepContext<'_>, engine: &Engine) {
    let name = ctx.group.name.clone();
    let lost = evict::lost(ctx);
    let when = match (lost, evict::overdue(ctx)) {
        (Some(pod), _) => {
            format!("when pod {} ended with its node {}", pod.name, pod.node.as_deref().unwrap_or_default())
        }
        (None, Some(pod)) => format!("when the grace period of pod {} ended", pod.name),
        (None, None) => format!("after {} s", ctx.fleet.drain_timeout.as_secs()),
    };
    let cure = match lost {
        Some(_) => "",
        None if evict::ends(ctx) => ": raise the template's terminationGracePeriodSeconds",
        None => ": raise drain.timeout",
    };
    let (left, hangs) = match engine {
        // The last that was known of it.
        Engine::Dead | Engine::Unknown if lost.is_some() => (ctx.group.in_flight, false),
        Engine::Dead => (Some(0), false),
        Engine::Load(load) => (Some(load.in_flight), load.stalled_since.is_some() && !load.deferred),
        Engine::Unknown => (None, false),
    };
    let text = match left {
        Some(0) => None,
        Some(left) if hangs => Some(format!("{left} requests were cut off: the engine hangs")),
        Some(left) => Some(format!("{left} requests were cut off {when}{cure}")),
        None => Some(format!("an unknown number of requests was cut off {when}")),
    };
    ctx.lost_requests = left.unwrap_or_default();
    if let Some(text) = text {
        ctx.event(true, "DrainTimeout", format!("group {name}: {text}"));
    }
    stop::start(ctx);
}

/// The gate has closed and the endpoints do not follow yet: what they tell is of before. Opened now, the group would count as one that
/// takes traffic while it leaves them.
pub(super) fn leaves(ctx: &mut StepContext<'_>) -> bool {
    let closed = ctx.pods.head().is_some_and(|head| !head.gate_open && head.gate_since.is_some());
    closed && ctx.observed.endpoint_ready == Some(true) && !listed_for(ctx, FOLLOW)
}

/// The group may serve again: take the drain back. Says whether the group can be judged as serving.
pub(super) fn cancel(ctx: &mut StepContext<'_>) -> bool {
    ctx.group.left_endpoints_at = None;
    match ray::ray(ctx) {
        Ray::Alive(alive) if alive.engine.load.is_some_and(|load| load.draining == Some(true)) => {
            ctx.act(Effect::SetDraining { group: ctx.group.name.clone(), draining: false });
            ctx.wake_at(Some(after(ctx.now, LOOK_AGAIN)));
            ctx.set_phase(Phase::Draining, "the drain is taken back".to_owned());
            false
        }
        Ray::Alive(_) if leaves(ctx) => {
            ctx.set_phase(Phase::Draining, "the drain is taken back once its endpoint is removed".to_owned());
            false
        }
        Ray::Alive(_) | Ray::Silent(_) => {
            // It was ready when the drain began, so the rules of a ready group judge it now.
            ctx.set_phase(Phase::Ready, None);
            true
        }
        Ray::Unknown => false,
    }
}
