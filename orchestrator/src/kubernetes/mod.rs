//! The Kubernetes side: watches fill an in-memory index, the executor performs effects. What is to
//! be done is decided elsewhere.

mod aibrix;
mod build;
mod capacity;
mod endpoints;
mod executor;
mod gate;
mod history;
mod index;
mod nodes;
mod objects;
mod owners;
mod pod_events;
mod pod_status;
mod pods;
mod rayclusters;
mod route;
mod size;
mod topology;
mod watches;
mod world;

use rayfleet_api::{GroupName, PodName};

pub(crate) use build::metadata;
pub(crate) use capacity::Snapshot;
pub(crate) use executor::{Executor, Made, Trial};
pub(crate) use gate::Gate;
pub(crate) use history::{History, HistoryChange, Model, Records};
pub(crate) use index::{Index, KubeRay, Protected, Store};
#[cfg(test)]
pub(crate) use index::{Owned, Warning};
pub(crate) use owners::{controls, is_orphan};
pub(crate) use rayclusters::own_port;
pub(crate) use rayfleet_runtime::{Key, WriteError};
pub(crate) use route::{Listener, name_to_share};
pub(crate) use topology::labels_by_address;
pub(crate) use watches::watch_all;
pub(crate) use world::{GroupPods, foreign_pods_of, groups_of, orphans_of, owned_clusters};
#[cfg(test)]
pub(crate) use {endpoints::Slice, nodes::Node, objects::Watched, pods::Pod};

/// Key of a group, which is that of its RayCluster.
pub(crate) type GroupKey = Key<GroupName>;
/// Key of a pod.
pub(crate) type PodKey = Key<PodName>;
