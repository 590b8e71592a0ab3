//! The watch of an engine: lines as the launcher's middleware writes them, in simulated time. What the launcher sees of
//! Ray is in them too.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::unfold;
use ray_bridge::Unreached;
use reqwest::{Body, Response};
use serde_json::Value;

use super::engine::Port;
use super::ids::Address;
use super::port;
use super::reach::Reached;
use super::shared::Shared;
use super::world::World;

/// Until a change is in a line: the middleware asks for the health and compares as often or more often.
const TICK: Duration = Duration::from_millis(500);
/// Least time between two lines that differ in counts alone, and longest time without a line.
const COUNTS: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_secs(2);
/// Between two looks of the launcher at ranks and nodes.
const LAUNCHER: Duration = Duration::from_secs(2);
/// Life of one watch.
const LONGEST: Duration = Duration::from_mins(1);

/// One watch.
struct Watch {
    shared: Arc<Shared>,
    at: Address,
    engine: u64,
    began: Duration,
    written: Option<Value>,
    wrote: Duration,
    /// Ranks and nodes that were alive when the launcher last looked, when that was, and how often they have changed.
    alive: (usize, usize),
    looked: Duration,
    rank_changes: u64,
    ended: bool,
}

/// What a connection finds at one moment.
enum Found {
    Line(Bytes),
    Nothing,
    Broken,
}

/// The answer to a call that may watch.
pub(super) fn stream(shared: Arc<Shared>, at: Address) -> Result<Response, Unreached> {
    let found = shared.with(|world| {
        let engine = world.engines.get(&at)?;
        Some((engine.life, world.now, alive(world, &engine.cluster)))
    });
    let broken = |cause: String| Unreached { refused: false, cause };
    let (engine, began, alive) = found.ok_or_else(|| broken("connection closed".to_owned()))?;
    let watch = Watch {
        shared,
        at,
        engine,
        began,
        written: None,
        wrote: began,
        alive,
        looked: began,
        rank_changes: 0,
        ended: false,
    };
    let body = Body::wrap_stream(unfold(watch, Watch::next));
    http::Response::builder().body(body).map(Response::from).map_err(|error| broken(error.to_string()))
}

/// Living ranks and nodes of a cluster.
fn alive(world: &World, cluster: &str) -> (usize, usize) {
    let Some(gcs) = world.heads.get(cluster) else { return (0, 0) };
    let nodes = gcs.nodes.values().filter(|node| node.dead.is_none()).count();
    (gcs.actors.iter().filter(|actor| actor.alive()).count(), nodes)
}

impl Watch {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        while !self.ended {
            let shared = self.shared.clone();
            match shared.with(|world| self.find(world)) {
                Found::Line(line) => return Some((Ok(line), self)),
                Found::Nothing => tokio::time::sleep(TICK).await,
                Found::Broken => {
                    self.ended = true;
                    return Some((Err(io::ErrorKind::ConnectionReset.into()), self));
                }
            }
        }
        None
    }

    fn find(&mut self, world: &World) -> Found {
        match world.reach(&self.at.0, self.at.1) {
            Reached::Engine => {}
            Reached::Silent => return Found::Nothing,
            _ => return Found::Broken,
        }
        let engine = world.engines.get(&self.at).filter(|engine| engine.life == self.engine);
        let Some(engine) = engine else { return Found::Broken };
        let now = world.now;
        if now >= self.looked + LAUNCHER {
            let alive = alive(world, &engine.cluster);
            self.rank_changes += u64::from(alive != self.alive);
            (self.alive, self.looked) = (alive, now);
        }
        let serves = engine.port == Port::Serving;
        let mut state = port::state(engine, now);
        state["rankChanges"] = self.rank_changes.into();
        state["health"] = if serves { 200 } else { 503 }.into();
        self.ended = !serves || now >= self.began + LONGEST;
        self.due(&state, now)
    }

    fn due(&mut self, state: &Value, now: Duration) -> Found {
        let mut counts = state.clone();
        counts["idleSeconds"] = Value::Null;
        let at_once = ["health", "draining", "rankChanges"];
        let differs = |written: &Value| at_once.iter().any(|key| written[key] != counts[key]);
        let age = now.saturating_sub(self.wrote);
        let changed = self
            .written
            .as_ref()
            .is_none_or(|written| differs(written) || (*written != counts && age >= COUNTS));
        if changed {
            (self.written, self.wrote) = (Some(counts), now);
            Found::Line(Bytes::from(format!("{state}\n")))
        } else if age >= BEAT {
            self.wrote = now;
            Found::Line(Bytes::from_static(b"\n"))
        } else {
            Found::Nothing
        }
    }
}
