//! What the bridge must know about a kind of engine to launch it, query it and follow it. Draining and
//! requests in flight are the same for all, since the launcher puts its middleware in front of each; an
//! engine is stopped by stopping its job.

use std::fmt;

use super::args::Owned;
use super::spec::EngineSpec;

/// A kind of engine. It has no state of a running engine.
pub(crate) trait Engine: fmt::Debug + Send + Sync {
    /// Launch: options that users may not set, because [`argv`](Self::argv) sets them or the bridge relies on
    /// them.
    fn owned_args(&self) -> &'static [Owned];

    /// Launch: environment variables that users may not set.
    fn owned_env(&self) -> &'static [&'static str];

    /// Launch: the command line after the engine's own name.
    fn argv(&self, spec: &EngineSpec) -> Vec<String>;

    /// Path that answers 200 while the engine serves.
    fn health(&self) -> &'static str;

    /// Path that lists the loaded models.
    fn models(&self) -> &'static str;

    /// Path of its Prometheus metrics.
    fn metrics(&self) -> &'static str;

    /// Gauges whose sum is the number of requests that it has.
    fn in_flight(&self) -> &'static [&'static str];

    /// Progress: series that change with its steps and with nothing else. Without the first of them progress
    /// is unknown.
    fn steps(&self) -> &'static [&'static str];

    /// Gauges of requests that run, that wait, and that wait for something other than a step.
    fn queue(&self) -> Queue;
}

/// Names of the gauges that tell requests which wait for a step from deferred ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue {
    /// Requests that run.
    pub(crate) running: &'static str,
    /// Requests that wait, for whatever reason.
    pub(crate) waiting: &'static str,
    /// Waiting requests, by reason.
    pub(crate) by_reason: &'static str,
    /// The label, as written in the text, of requests that wait for something other than a step.
    pub(crate) deferred: &'static str,
}
