//! The controller for RayClusterFleets. The program of this name is a thin shell around [`Orchestrator`]; the rules are in
//! `rayfleet-core`, and nothing in here is meant for other programs but to run the whole.

mod agents;
pub mod clock;
mod controller;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fixtures;
mod kubernetes;
mod lease;
mod metrics;
mod namespaces;
mod orchestrator;
mod pending_status;
mod refusal;
mod serve;

pub use self::namespaces::{Namespaces, NoNamespaces};
pub use self::orchestrator::{Ended, Orchestrator};
