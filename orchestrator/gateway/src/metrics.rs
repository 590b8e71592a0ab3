//! What the gateway counts. Labels are names of models that are served, never what a client wrote.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    model: String,
    code: u16,
    by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

type Count = Counter<u64, AtomicU64>;

/// The counters.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Family<Outcome, Count>,
    in_flight: Family<OfModel, Gauge>,
    broken: Family<OfModel, Count>,
    failed: Family<Reason, Count>,
    prompt: Count,
    cached: Count,
}

/// One request more, until it is dropped.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// An engine's answer has begun.
    pub(crate) fn answered(&self, model: &str, status: StatusCode) {
        self.count(model, status, "engine");
    }

    /// The gateway itself has answered.
    pub(crate) fn refused(&self, model: Option<&str>, status: StatusCode) {
        self.count(model.unwrap_or_default(), status, "gateway");
    }

    fn count(&self, model: &str, status: StatusCode, by: &'static str) {
        self.requests.get_or_create(&Outcome { model: model.to_owned(), code: status.as_u16(), by }).inc();
    }

    /// A request is being sent.
    pub(crate) fn in_flight(&self, model: &str) -> InFlight {
        let gauge = self.in_flight.get_or_create(&OfModel { model: model.to_owned() }).clone();
        gauge.inc();
        InFlight(gauge)
    }

    /// An answer ended before its end.
    pub(crate) fn broke_off(&self, model: &str) {
        self.broken.get_or_create(&OfModel { model: model.to_owned() }).inc();
    }

    /// A head did not answer a request: `connection`, `no_answer`, `late`, or `status` where another was asked instead.
    pub(crate) fn failed(&self, reason: &'static str) {
        self.failed.get_or_create(&Reason { reason }).inc();
    }

    /// Tokens of a prompt, and of them those that were expected in the cache of its head.
    pub(crate) fn expected(&self, prompt: u64, cached: u64) {
        self.prompt.inc_by(prompt);
        self.cached.inc_by(cached);
    }

    /// All of them as text.
    pub(crate) fn text(self: &Arc<Self>) -> String {
        let mut registry = Registry::with_prefix("rayfleet_gateway");
        registry.register(
            "requests",
            "Requests by model, status code, and whether the engine or the gateway answered",
            self.requests.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests that were sent to a group and have not ended",
            self.in_flight.clone(),
        );
        registry.register(
            "answers_broken",
            "Answers that ended before their end because a group broke off",
            self.broken.clone(),
        );
        registry.register("tries_failed", "Groups that did not answer: connection, no_answer, late, or status, after which another was asked",
            self.failed.clone());
        registry.register(
            "prompt_tokens",
            "Tokens of prompts that were sent, estimated",
            self.prompt.clone(),
        );
        registry.register(
            "prompt_tokens_expected_cached",
            "Of these, tokens that were expected in the prefix cache of their group",
            self.cached.clone(),
        );
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}
