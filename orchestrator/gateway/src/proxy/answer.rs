//! An answer on its way to the client, piece by piece, and the request that is counted until it has ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use rayfleet_routing::{Failure, Ticket};

use crate::metrics::{InFlight, Metrics};
use crate::models::Model;

/// A request that was sent to a head. It ends when this is dropped: with its answer, its client, or its failure.
pub(super) struct Held {
    model: Arc<Model>,
    ticket: Option<Ticket>,
    failure: Option<Failure>,
    metrics: Arc<Metrics>,
    _in_flight: InFlight,
}

impl Held {
    pub(super) fn new(model: Arc<Model>, ticket: Ticket, metrics: Arc<Metrics>) -> Self {
        let in_flight = metrics.in_flight(&model.name);
        Self { model, ticket: Some(ticket), failure: None, metrics, _in_flight: in_flight }
    }

    /// Its head has failed it.
    pub(super) fn fails(&mut self, failure: Failure) {
        self.failure = Some(failure);
    }

    fn answered(&mut self) {
        if let Some(ticket) = self.ticket.as_mut().filter(|_| self.failure.is_none()) {
            self.model.route(|router, _| router.answered(ticket));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.model.route(|router, now| router.end(ticket, self.failure, now));
        }
    }
}

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
            self.held.metrics.broke_off(&self.held.model.name);
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
