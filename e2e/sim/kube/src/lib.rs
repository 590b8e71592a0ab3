//! A Kubernetes cluster in memory, in simulated time, for tests of whatever speaks to one. It knows the fleet's CRD, its names
//! and KubeRay's objects, and nothing of the orchestrator.
//!
//! | module | lives there |
//! |---|---|
//! | [`api`] | an API server in memory: objects, watches, patches, preconditions, finalizers, garbage collection |
//! | [`kubernetes`] | what acts on it: KubeRay's operator, scheduler, kubelets, EndpointSlices |

pub mod api;
pub mod kubernetes;
