//! What the bridge has to know of an engine to launch it, ask it and follow it. Draining and requests in flight are the
//! same for all, since the launcher puts its middleware in front of each; stopping an engine is ending its job.

use std::fmt;

use super::args::Owned;
use super::spec::EngineSpec;

/// A kind of engine. One value knows nothing of any engine that runs.
pub(crate) trait Engine: fmt::Debug + Send + Sync {
    /// Launch: options that users may not set, as [`argv`](Self::argv) sets them or the bridge relies on them.
    fn owned_args(&self) -> &'static [Owned];

    /// Launch: environment variables that users may not set.
    fn owned_env(&self) -> &'static [&'static str];

    /// Launch: the command line after the engine's own name.
    fn argv(&self, spec: &EngineSpec) -> Vec<String>;

    /// Path that answers 200 while it serves.
    fn health(&self) -> &'static str;

    /// Path that names the loaded models.
    fn models(&self) -> &'static str;

    /// Path of its Prometheus metrics.
    fn metrics(&self) -> &'static str;

    /// Gauges that add up to the requests which it has.
    fn in_flight(&self) -> &'static [&'static str];

    /// Progress: series that change with its steps and with nothing else. Without the first of them there is no telling.
    fn steps(&self) -> &'static [&'static str];

    /// Gauges of requests that its steps work on, that wait, and that wait for something else than a step.
    fn queue(&self) -> Queue;
}

/// Names of gauges by which requests that wait for a step are distinguished from those that a step would pass over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue {
    /// Requests that the steps work on.
    pub(crate) running: &'static str,
    /// Requests that wait, for whatever reason.
    pub(crate) waiting: &'static str,
    /// Those that wait, by reason.
    pub(crate) by_reason: &'static str,
    /// The label, as it stands in the text, of those that wait for something else than a step.
    pub(crate) deferred: &'static str,
}
