//! The orchestrator's own code on a simulated Kubernetes and Ray, in simulated time. It covers what cannot
//! be provoked on a real cluster, such as a crash before and after every write. Nothing in this crate is
//! part of the product.
//!
//! | module | contents |
//! |---|---|
//! | [`api`] | an in-memory API server: objects, watches, patches, finalizers, garbage collection |
//! | [`kubernetes`] | what acts on it: KubeRay's operator, scheduler, kubelets, EndpointSlices |
//! | [`ray`] | Ray dashboards, engines and their clients, as `ray-bridge` sees them |
//! | [`run`] | one run: a scenario, faults, the trace, and the oracle that judges it |

pub mod api;
pub mod kubernetes;
mod ordered_notify;
pub mod ray;
pub mod run;
