//! One streamed completion, which counts as in flight for as long as its client stays.

use std::sync::Arc;

use super::engine::Progress;
use super::ids::Address;
use super::shared::Shared;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Streamed {
    Whole,
    Refused,
    Cut { tokens: u32, death: bool },
}

/// A request in flight; its end is counted when its client goes, however.
struct InFlight<'a> {
    shared: &'a Shared,
    at: &'a Address,
    engine: u64,
    id: u64,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.shared.change(|world| {
            let now = world.now;
            let engine = world.engines.get_mut(self.at).filter(|engine| engine.life == self.engine);
            if let Some(engine) = engine {
                engine.finish(self.id, now);
            }
        });
    }
}

/// Streams a completion of this many tokens from an engine.
pub(super) async fn stream(shared: &Arc<Shared>, at: &Address, tokens: u32) -> Streamed {
    let started = shared.with(|world| {
        let (now, id) = (world.now, world.ids.number());
        let engine = world.engines.get_mut(at)?;
        engine.begin(id, tokens, now);
        let life = engine.life;
        world.touch();
        Some((id, life))
    });
    let Some((id, engine)) = started else { return Streamed::Refused };
    let request = InFlight { shared, at, engine, id };
    loop {
        let changes = shared.changed.subscribe();
        let progress = shared.with(|world| {
            let now = world.now;
            match world.engines.get(at).filter(|engine| engine.life == request.engine) {
                Some(engine) => engine.progress(id, now),
                None => Progress::Cut { tokens: 0, death: false },
            }
        });
        match progress {
            Progress::Whole => return Streamed::Whole,
            Progress::Cut { tokens, death } => return Streamed::Cut { tokens, death },
            Progress::Wait(until) => shared.next(changes, until).await,
        }
    }
}
