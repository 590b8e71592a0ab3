//! The controllers of RayClusterFleets. The program of this name is a thin shell around [`Orchestrator`]; what is to be done is decided
//! in `rayfleet-core`, what every controller stands on is `rayfleet-runtime`, and nothing in here is meant for other programs but to run
//! the whole.

mod agents;
mod controllers;
#[cfg(test)]
mod fixtures;
mod kubernetes;
mod metrics;
mod orchestrator;
mod pages;
mod pending_status;
mod refusal;

pub use rayfleet_runtime::{Namespaces, NoNamespaces, clock};

pub use self::orchestrator::{Ended, Orchestrator};
