//! Bodies of requests, read whole, within the room that there is and in time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::refusal::Refusal;
use crate::room::Room;

/// Reads bodies. Clones share the room.
#[derive(Clone, Debug)]
pub(super) struct Uploads {
    room: Room,
    time: Duration,
}

impl Uploads {
    pub(super) fn new(room: Room, time: Duration) -> Self {
        Self { room, time }
    }

    pub(super) async fn read(&self, body: Incoming) -> Result<Bytes, Refusal> {
        self.room.admit(hyper::body::Body::size_hint(&body).lower())?;
        let whole = tokio::time::timeout(self.time, self.collect(body)).await;
        whole.map_err(|_| Refusal::Slow(self.time.as_secs()))?
    }

    async fn collect(&self, mut body: Incoming) -> Result<Bytes, Refusal> {
        let mut arriving = self.room.arriving();
        while let Some(frame) = body.frame().await {
            if let Ok(piece) = frame.map_err(|_| Refusal::BrokeOff)?.into_data() {
                arriving.push(&piece)?;
            }
        }
        Ok(arriving.whole())
    }
}
