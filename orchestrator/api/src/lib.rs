//! The `RayClusterFleet` API: types, names, defaults, validation and the generated CRD.
//!
//! Only data and pure functions live here. There is no client, no clock and no decision about
//! what to do with a fleet: those are in `rayfleet-core` and the orchestrator.

pub mod generated;
pub mod kuberay;
pub mod names;
mod normal;
pub mod owned;
pub mod quantity;
mod reference;
pub mod revision;
mod schema;
pub mod spec;
pub mod standalone_model;
pub mod status;
mod tolerant;
pub mod valid;

pub use schema::crd;
pub use spec::RayClusterFleet;
pub use status::RayClusterFleetStatus;
pub use valid::{FieldError, ValidFleet};
