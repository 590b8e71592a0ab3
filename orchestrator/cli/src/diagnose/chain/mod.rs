//! The links of the chain, one idea a file. Each reads facts and gives a verdict; none makes a call or knows
//! of another. Words of the orchestrator, KubeRay and Kubernetes are repeated as evidence, never parsed.

pub(super) mod api;
mod clusters;
pub(super) mod control;
mod ended;
mod engine;
mod failure;
mod group;
pub(super) mod groups;
pub(super) mod kuberay;
mod nodes;
pub(super) mod orchestrator;
mod pod_problem;
mod pods;
mod ray;
pub(super) mod rollout;
pub(super) mod spec;
mod traffic;
mod words;
