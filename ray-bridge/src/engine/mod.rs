//! Engines: what they are launched with, what their launcher logs, and what their HTTP port answers.

mod args;
mod cause;
mod client;
mod launch_log;
mod phase;
mod probe;
mod progress;
mod record;
mod spec;
mod vllm;
mod watch;

pub use args::{ArgRefused, check_args, check_env, owned_args};
pub use cause::failure_cause;
pub use client::{EngineClient, Health, Load};
pub use launch_log::this_launch;
pub use phase::{Phase, PhaseKind, parse_phases};
pub use probe::{Probe, ProbeError, Tried};
pub use progress::{DEFERRED_FACTOR, Stall, StallDetector};
pub use record::{LaunchRecord, plan_of};
pub use spec::{EngineKind, EngineSpec, LAUNCHER_ENTRYPOINT};
pub use watch::{EngineWatch, Watched};
