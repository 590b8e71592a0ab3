//! The orchestrator's own code on a simulated Kubernetes and Ray, in simulated time. It covers what cannot
//! be provoked on a real cluster, such as a crash before and after every write. Nothing in this crate is
//! part of the product.
//!
//! | module | contents |
//! |---|---|
//! | [`run`] | one run: a scenario, faults, the trace, and the oracle that judges it |
//!
//! What is simulated are crates of their own, [`rayfleet_sim_kube`] and [`rayfleet_sim_ray`], which know nothing of the
//! orchestrator.

pub mod run;
