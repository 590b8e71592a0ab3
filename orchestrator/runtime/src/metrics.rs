//! What every program of controllers counts about itself. No decisions.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Labels of a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    what: &'static str,
    outcome: &'static str,
}

/// The counters. Clones count together.
#[derive(Clone, Default)]
pub struct Metrics {
    writes: Family<Write, Counter>,
    /// 1 while this replica leads.
    pub leading: Gauge,
    /// Events that too many others kept from being written.
    pub events_dropped: Counter<u64, AtomicU64>,
    /// Passes that broke off by a panic.
    pub panics: Counter<u64, AtomicU64>,
}

impl Metrics {
    /// Has them shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("api_writes", "Writes to the API server by what and outcome", self.writes.clone());
        registry.register("leading", "1 while this replica leads", self.leading.clone());
        registry.register(
            "events_dropped",
            "Kubernetes events that were not written because too many waited",
            self.events_dropped.clone(),
        );
        registry.register("panics", "Passes that a bug ended; they are repeated", self.panics.clone());
    }

    /// A write was tried.
    pub fn write(&self, what: &'static str, ok: bool) {
        let outcome = if ok { "ok" } else { "error" };
        self.writes.get_or_create(&Write { what, outcome }).inc();
    }
}
