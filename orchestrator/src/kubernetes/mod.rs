//! The Kubernetes side: watches fill an in-memory index, the executor performs effects. What is to
//! be done is decided elsewhere.

mod aibrix;
mod backoff;
mod budgets;
mod build;
mod capacity;
mod endpoints;
mod event_queue;
mod events;
mod executor;
mod gate;
mod history;
mod index;
mod key;
mod nodes;
mod objects;
mod owners;
mod pod_events;
mod pods;
mod queue;
mod rayclusters;
mod route;
mod size;
mod topology;
mod watches;
mod world;
mod write_error;

pub(crate) use budgets::{Budgets, wanted as wanted_budgets};
pub(crate) use capacity::Snapshot;
pub(crate) use executor::{Executor, Made};
pub(crate) use gate::Gate;
pub(crate) use history::{History, HistoryChange, Model, Records};
#[cfg(test)]
pub(crate) use index::Warning;
pub(crate) use index::{Index, KubeRay, Store};
pub(crate) use key::Key;
pub(crate) use queue::Queue;
pub(crate) use rayclusters::own_port;
pub(crate) use route::{Listener, name_to_share};
pub(crate) use topology::labels_by_address;
pub(crate) use watches::watch_all;
pub(crate) use world::{GroupPods, Orphan, groups_of, orphans_of, owned_clusters, strays_of};
pub(crate) use write_error::WriteError;
#[cfg(test)]
pub(crate) use {endpoints::Slice, nodes::Node, objects::Watched, pods::Pod};
