//! The model block, which fleets (`spec.model`) and model files share: its types, its rules, and what the bridge is asked for by it.
//!
//! Only data and pure functions live here: no client, no clock, nothing of a fleet or of the template that an engine runs in. The
//! types' schemas become part of the CRD, and their docstrings its reference.

mod block;
pub mod duration;
mod engine_spec;
pub mod field_error;
pub mod owned;
pub mod schema;
pub mod standalone;
mod valid;

pub use block::{Engine, EngineType, EnvVar, Model, Parallelism, PlacementPolicy, PlacementStrategy, Probe};
pub use field_error::FieldError;
pub use valid::{DEFAULT_PORT, START_TIMEOUT, ValidModel, ValidPlacement, ValidProbe, valid_model};
