//! The watch of an engine: a stream of lines that the launcher's middleware writes when something changes, so that an
//! engine that serves need not be asked. Who watches decides how long silence may last.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::Method;
use tokio::time::{Sleep, sleep};

use super::client::{EngineClient, Health, Load, State};
use crate::http::{CallError, CallErrorKind, Endpoint, Unreached, unreachable};

const WATCH: &str = "/rayfleet/v1/watch";
/// Longest line, and the most that is held of several, in bytes.
const LONGEST: usize = 4 << 10;
/// Least time between two reads: whatever a server sends, it is read a few times a second.
const PAUSE: Duration = Duration::from_millis(50);

/// What the last line of a watch said.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// What the engine answers to `GET /health` inside its own process.
    pub health: Health,
    /// Its load; `progress` and `deferred` are not in it (see [`EngineClient::with_progress`]).
    pub load: Load,
    /// Increases when the launcher wants ranks and nodes to be read, because others are alive than before.
    pub rank_changes: u64,
}

/// A watch that is open. The engine ends it at the latest after a minute, and when it is not healthy; dropping it closes
/// the connection.
pub struct EngineWatch {
    endpoint: Endpoint,
    chunks: BoxStream<'static, Result<bytes::Bytes, Unreached>>,
    held: BytesMut,
    /// The end of the pause after the last read.
    pause: Option<Pin<Box<Sleep>>>,
    last: Option<Watched>,
}

impl EngineClient {
    /// Opens a watch. [`CallErrorKind::NotFound`] from an engine without the middleware, or with one that has no watch.
    pub async fn watch(&self) -> Result<EngineWatch, CallError> {
        let endpoint = self.0.clone();
        let chunks = endpoint.open(WATCH).await?;
        Ok(EngineWatch { endpoint, chunks, held: BytesMut::new(), pause: None, last: None })
    }
}

impl EngineWatch {
    /// What the engine said last, once it says something: also that nothing has changed. `None` when the engine has
    /// ended the watch. Waits without a limit; nothing is lost if the future is dropped. An error ends the watch.
    pub async fn next(&mut self) -> Result<Option<Watched>, CallError> {
        loop {
            if let Some(said) = self.newest()? {
                return Ok(Some(said));
            }
            if let Some(pause) = &mut self.pause {
                pause.await;
            }
            let chunk = self.chunks.next().await;
            self.pause = Some(Box::pin(sleep(PAUSE)));
            match chunk {
                None => return Ok(None),
                Some(Err(why)) => return Err(self.failed(unreachable(why))),
                Some(Ok(chunk)) if self.held.len().saturating_add(chunk.len()) > LONGEST => {
                    return Err(self.failed(CallErrorKind::TooLarge { limit: LONGEST }));
                }
                Some(Ok(chunk)) => self.held.extend_from_slice(&chunk),
            }
        }
    }

    /// Takes all whole lines. The newest that is not empty counts; an empty one repeats the last.
    fn newest(&mut self) -> Result<Option<Watched>, CallError> {
        let Some(end) = self.held.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
        let lines = self.held.split_to(end.saturating_add(1));
        let mut each = <[u8]>::split(&lines, |byte| *byte == b'\n');
        let newest = each.rfind(|line| !line.trim_ascii().is_empty());
        if let Some(line) = newest {
            let state: State =
                serde_json::from_slice(line).map_err(|error| self.malformed(error.to_string()))?;
            self.last = Some(Watched::from(state));
        }
        match &self.last {
            Some(said) => Ok(Some(said.clone())),
            None => Err(self.malformed("its first line is empty".to_owned())),
        }
    }

    fn malformed(&self, what: String) -> CallError {
        self.failed(CallErrorKind::Malformed { what })
    }

    fn failed(&self, kind: CallErrorKind) -> CallError {
        self.endpoint.fail(&Method::GET, WATCH, kind)
    }
}

impl From<State> for Watched {
    fn from(state: State) -> Self {
        let health = match state.health {
            Some(200) => Health::Serving,
            Some(status) => Health::Unhealthy(status),
            None => Health::Unreachable("no answer within its own process".to_owned()),
        };
        Self { health, rank_changes: state.rank_changes.unwrap_or_default(), load: Load::from(state) }
    }
}

impl fmt::Debug for EngineWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineWatch").field("last", &self.last).finish_non_exhaustive()
    }
}
