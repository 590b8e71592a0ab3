//! A request that was given its endpoints, and what the proxy says of its answer.

use std::sync::Arc;

use http::StatusCode;
use rayfleet_routing::{Choice, Failure, Prompt};

use crate::held::Held;
use crate::metrics::Metrics;
use crate::ranking::Ranked;

/// What the proxy says when an answer begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun<'a> {
    pub(super) status: StatusCode,
    /// The endpoint that gave it.
    pub(super) served: Option<&'a str>,
    /// Why the proxy itself gave it.
    pub(super) own: Option<&'a str>,
}

/// Details of Envoy's own answers for an endpoint that gave none: its connection was refused or broke, or it is none that Envoy knows.
/// All others are of the request, its client, or Envoy's limits.
const UNREACHABLE: [&str; 2] = ["upstream_reset_before_response_started", "no_healthy_upstream"];

/// A request between the choice of its endpoints and the end of its answer.
pub(super) struct Going {
    ranked: Ranked,
    /// Of the choices the first so many were sent.
    sent: usize,
    /// Counted at the first until the proxy names another.
    held: Option<Held>,
    metrics: Arc<Metrics>,
    /// The prompt was read.
    read: bool,
}

impl Going {
    /// Counts a request at the best of its choices; `most` of them are sent.
    pub(super) fn new(ranked: Ranked, most: usize, metrics: &Arc<Metrics>) -> Self {
        let prompt = &ranked.question.request.prompt;
        let first = ranked.choices.first();
        let held = first.map(|best| Held::at(&ranked.model, best, prompt, metrics));
        metrics.expected(prompt.tokens(), first.map_or(0, |best| best.cached));
        Self { sent: most.min(ranked.choices.len()), ranked, held, metrics: metrics.clone(), read: false }
    }

    /// The endpoints, as they are sent.
    pub(super) fn endpoints(&self) -> String {
        let sent = self.sent_choices().iter().map(|choice| choice.address.as_ref());
        sent.collect::<Vec<_>>().join(",")
    }

    fn sent_choices(&self) -> &[Choice] {
        self.ranked.choices.get(..self.sent).unwrap_or_default()
    }

    /// Its answer has begun. Gives who answers, if it is an engine.
    pub(super) fn begins(&mut self, begun: Begun<'_>) -> Option<Arc<str>> {
        let (model, metrics) = (self.ranked.model.clone(), self.metrics.clone());
        if let Some(why) = begun.own {
            metrics.refused(Some(&model.name), begun.status);
            if UNREACHABLE.iter().any(|reason| why.starts_with(reason)) {
                self.fail_all();
            }
            self.held = None;
            return None;
        }
        let by = match begun.served {
            None => self.ranked.choices.first().cloned(),
            Some(address) => self.served(address),
        };
        if let Some(held) = &mut self.held {
            held.says(begun.status);
        }
        metrics.answered(&model.name, begun.status);
        // Nothing is needed of it any more, and the answer may take an hour.
        self.ranked.question.request.prompt = Prompt::default();
        self.ranked.choices = vec![];
        by.map(|choice| choice.id)
    }

    /// Another endpoint than the first has answered: those before it have not.
    fn served(&mut self, address: &str) -> Option<Choice> {
        let at = self.ranked.choices.iter().position(|choice| *choice.address == *address);
        if at == Some(0) {
            return self.ranked.choices.first().cloned();
        }
        self.fail_first(at.unwrap_or(self.sent));
        // One that is none of this model's is the proxy's own choice, and counted nowhere.
        let choice = self.ranked.choices.get(at?)?.clone();
        let prompt = &self.ranked.question.request.prompt;
        self.held = Some(Held::at(&self.ranked.model, &choice, prompt, &self.metrics));
        Some(choice)
    }

    fn fail_all(&mut self) {
        self.fail_first(self.sent);
    }

    /// So many of those that were sent have not answered.
    fn fail_first(&mut self, count: usize) {
        let mut first = self.held.take();
        for choice in self.sent_choices().iter().take(count) {
            let held = || Held::at(&self.ranked.model, choice, &Prompt::default(), &self.metrics);
            let mut held = first.take().unwrap_or_else(held);
            held.fails(Failure::Unreachable);
            self.metrics.failed("connection");
        }
    }

    /// The first piece of its answer has come.
    pub(super) fn read(&mut self) {
        if !std::mem::replace(&mut self.read, true)
            && let Some(held) = &mut self.held
        {
            held.answered();
        }
    }

    /// Its answer has ended.
    pub(super) fn ends(&mut self) {
        self.held = None;
    }
}
