//! An answer on its way to the client, piece by piece.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use rayfleet_routing::Failure;

use crate::held::Held;

/// The body of an answer.
pub(super) struct Answer {
    first: Option<Frame<Bytes>>,
    incoming: Incoming,
    held: Held,
}

impl Answer {
    /// `first` is what was read of it already.
    pub(super) fn new(first: Option<Frame<Bytes>>, incoming: Incoming, mut held: Held) -> Self {
        held.answered();
        Self { first, incoming, held }
    }

    /// Bytes that were read already.
    fn ahead(&self) -> u64 {
        let data = self.first.as_ref().and_then(Frame::data_ref);
        data.map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(context));
        if let Some(Err(_)) = &frame {
            // Nothing can be sent again: the client has a part. A connection that breaks says so.
            self.held.fails(Failure::Unreachable);
            self.held.broke_off();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, ahead) = (self.incoming.size_hint(), self.ahead());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}
