//! Bodies of requests, read whole and within bounds: of each, of all together, and of time. A body's room is taken as its bytes arrive, so
//! one that is only announced keeps nobody out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refusal;

/// Bytes that one permit stands for.
const PAGE: usize = 4096;

/// Reads bodies. Clones share the room.
#[derive(Clone, Debug)]
pub(super) struct Uploads {
    largest: usize,
    room: Arc<Semaphore>,
    time: Duration,
}

/// The bytes of a body, with the room that they take for as long as anybody holds them.
struct Held {
    bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Uploads {
    pub(super) fn new(largest: usize, all: usize, time: Duration) -> Self {
        let pages = all.div_ceil(PAGE).min(Semaphore::MAX_PERMITS);
        Self { largest, room: Arc::new(Semaphore::new(pages)), time }
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.room.available_permits() * PAGE
    }

    pub(super) async fn read(&self, body: Incoming) -> Result<Bytes, Refusal> {
        let limit = u64::try_from(self.largest).unwrap_or(u64::MAX);
        if hyper::body::Body::size_hint(&body).lower() > limit {
            return Err(Refusal::TooLarge(self.largest));
        }
        let whole = tokio::time::timeout(self.time, self.collect(body)).await;
        whole.map_err(|_| Refusal::Slow(self.time.as_secs()))?
    }

    async fn collect(&self, mut body: Incoming) -> Result<Bytes, Refusal> {
        let (mut bytes, mut room) = (Vec::new(), None::<OwnedSemaphorePermit>);
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|_| Refusal::BrokeOff)?.into_data() else { continue };
            let needed = bytes.len().saturating_add(piece.len());
            if needed > self.largest {
                return Err(Refusal::TooLarge(self.largest));
            }
            if needed > bytes.capacity() {
                // By a quarter, and not twofold: what is taken from the room is what is taken of memory.
                let capacity =
                    needed.max(bytes.capacity().saturating_add(bytes.capacity() / 4)).min(self.largest);
                let pages = capacity.div_ceil(PAGE) - bytes.capacity().div_ceil(PAGE);
                let pages = u32::try_from(pages).map_err(|_| Refusal::Full)?;
                let more = self.room.clone().try_acquire_many_owned(pages).map_err(|_| Refusal::Full)?;
                match &mut room {
                    Some(room) => room.merge(more),
                    none => *none = Some(more),
                }
                bytes.reserve_exact(capacity - bytes.len());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Bytes::from_owner(Held { bytes, _room: room }))
    }
}
