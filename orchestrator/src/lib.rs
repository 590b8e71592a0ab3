//! The controller for RayClusterFleets. The program of this name is a thin shell around [`Orchestrator`]; the rules are in
//! `rayfleet-core`, and nothing in here is meant for other programs but to run the whole.

mod agents;
pub mod clock;
mod cluster;
mod controller;
mod engines;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fixtures;
mod lease;
mod metrics;
mod namespaces;
mod orchestrator;
mod refusal;
mod serve;
mod unwritten;

pub use self::namespaces::{Namespaces, NoNamespaces};
pub use self::orchestrator::{Ended, Orchestrator};
