//! The orchestrator's own code on a simulated Kubernetes and Ray, in simulated time: what a real cluster cannot be made to
//! show, such as a crash before and after every write. Nothing in here is part of the product.
//!
//! | module | lives there |
//! |---|---|
//! | [`run`] | one run: a scenario, faults, the trace, and the oracle that judges it |
//!
//! What is simulated are crates of their own, [`rayfleet_sim_kube`] and [`rayfleet_sim_ray`], which know nothing of the
//! orchestrator.

pub mod run;
