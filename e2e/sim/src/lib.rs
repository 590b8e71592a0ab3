//! The orchestrator's own code on a simulated Kubernetes and Ray, in simulated time: what a real cluster cannot be made to
//! show, such as a crash before and after every write. Nothing in here is part of the product.
//!
//! | module | lives there |
//! |---|---|
//! | [`api`] | an API server in memory: objects, watches, patches, preconditions, finalizers, garbage collection |
//! | [`kubernetes`] | what acts on it: KubeRay's operator, scheduler, kubelets, EndpointSlices |
//! | [`ray`] | Ray dashboards, engines and their clients, as `ray-bridge` sees them |
//! | [`run`] | one run: a scenario, faults, the trace, and the oracle that judges it |

pub mod api;
pub mod kubernetes;
mod ordered_notify;
pub mod ray;
pub mod run;
