//! Room for bodies of requests, bounded: of each, and of all together, whichever front they come to. A body's room is taken as its bytes
//! arrive, so one that is only announced keeps nobody out.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::refusal::Refusal;

/// Bytes that one permit stands for.
const PAGE: usize = 4096;

/// Room for bodies. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    largest: usize,
    pages: Arc<Semaphore>,
}

/// A body that is arriving.
#[derive(Debug)]
pub(crate) struct Arriving {
    room: Room,
    bytes: Vec<u8>,
    taken: Option<OwnedSemaphorePermit>,
}

/// The bytes of a body, with the room that they take for as long as anybody holds them.
struct Whole {
    bytes: Vec<u8>,
    _taken: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    /// Room for bodies of `largest` bytes each, and `all` together.
    pub(crate) fn new(largest: usize, all: usize) -> Self {
        let pages = all.div_ceil(PAGE).min(Semaphore::MAX_PERMITS);
        Self { largest, pages: Arc::new(Semaphore::new(pages)) }
    }

    /// Bytes that there is room for now.
    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.pages.available_permits() * PAGE
    }

    /// Largest body, in bytes.
    pub(crate) fn largest(&self) -> usize {
        self.largest
    }

    /// Refuses a body by the length that is announced.
    pub(crate) fn admit(&self, announced: u64) -> Result<(), Refusal> {
        if announced > u64::try_from(self.largest).unwrap_or(u64::MAX) {
            return Err(Refusal::TooLarge(self.largest));
        }
        Ok(())
    }

    /// A body of which nothing has arrived.
    pub(crate) fn arriving(&self) -> Arriving {
        Arriving { room: self.clone(), bytes: vec![], taken: None }
    }
}

impl Arriving {
    /// Takes what comes next.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let largest = self.room.largest;
        let needed = self.bytes.len().saturating_add(piece.len());
        if needed > largest {
            return Err(Refusal::TooLarge(largest));
        }
        let bytes = &mut self.bytes;
        if needed > bytes.capacity() {
            // By a quarter, and not twofold: what is taken from the room is what is taken of memory.
            let capacity = needed.max(bytes.capacity().saturating_add(bytes.capacity() / 4)).min(largest);
            let pages = capacity.div_ceil(PAGE) - bytes.capacity().div_ceil(PAGE);
            let pages = u32::try_from(pages).map_err(|_| Refusal::Full)?;
            let more = self.room.pages.clone().try_acquire_many_owned(pages).map_err(|_| Refusal::Full)?;
            match &mut self.taken {
                Some(taken) => taken.merge(more),
                none => *none = Some(more),
            }
            bytes.reserve_exact(capacity - bytes.len());
        }
        bytes.extend_from_slice(piece);
        Ok(())
    }

    /// The body, which keeps its room until it is dropped.
    pub(crate) fn whole(self) -> Bytes {
        Bytes::from_owner(Whole { bytes: self.bytes, _taken: self.taken })
    }
}
