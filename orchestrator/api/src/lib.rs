//! The `RayClusterFleet` API: types, names, defaults, validation and the generated CRD.
//!
//! Only data and pure functions live here. There is no client, no clock and no decision about
//! what to do with a fleet: those are in `rayfleet-core` and the orchestrator. The model block is that of
//! `ray-bridge-model`, which model files share.

pub mod generated;
pub mod kuberay;
mod launch_id;
mod name_types;
mod named;
pub mod names;
mod normal;
pub mod quantity;
mod rank_count;
pub mod revision;
mod schema;
mod shared;
pub mod spec;
pub mod status;
mod tolerant;
pub mod valid;

pub use launch_id::LaunchId;
pub use name_types::{EngineRevision, GroupName, NodeName, PodName, PodRevision};
pub use ray_bridge_model::{FieldError, owned};
pub use schema::crd;
pub use shared::Shared;
pub use spec::RayClusterFleet;
pub use status::RayClusterFleetStatus;
pub use valid::ValidFleet;
