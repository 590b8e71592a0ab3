//! A request that a head has, counted from its choice to its end, however it ends.

use std::sync::Arc;

use http::StatusCode;
use rayfleet_routing::{Choice, Failure, Prompt, Ticket};

use crate::metrics::{InFlight, Metrics};
use crate::models::Model;

/// A request that was sent to a head. It ends when this is dropped: with its answer, its client, or its failure.
pub(crate) struct Held {
    model: Arc<Model>,
    ticket: Option<Ticket>,
    failure: Option<Failure>,
    metrics: Arc<Metrics>,
    _in_flight: InFlight,
}

impl Held {
    /// Counts a request at a head from now on.
    pub(crate) fn at(model: &Arc<Model>, choice: &Choice, prompt: &Prompt, metrics: &Arc<Metrics>) -> Self {
        let ticket = model.route(|router, _| router.begin(&choice.id, prompt));
        let in_flight = metrics.in_flight(&model.name);
        let (model, metrics) = (model.clone(), metrics.clone());
        Self { model, ticket: Some(ticket), failure: None, metrics, _in_flight: in_flight }
    }

    /// Its head has failed it.
    pub(crate) fn fails(&mut self, failure: Failure) {
        self.failure = Some(failure);
    }

    /// The status of its answer has come.
    pub(crate) fn says(&mut self, status: StatusCode) {
        if counts_as_failure(status) {
            self.fails(Failure::Answered);
        }
    }

    /// The answer itself has begun: the prompt was read.
    pub(crate) fn answered(&mut self) {
        if let Some(ticket) = self.ticket.as_mut().filter(|_| self.failure.is_none()) {
            self.model.route(|router, _| router.answered(ticket));
        }
    }

    /// Its answer has ended before its end.
    pub(crate) fn broke_off(&self) {
        self.metrics.broke_off(&self.model.name);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.model.route(|router, now| router.end(ticket, self.failure, now));
        }
    }
}

/// Whether an answer says that the head is not able to answer.
fn counts_as_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}
