//! Where each rank of an engine goes, and whether it went there. Pure: no clock, no network, no Ray.

mod node;
mod plan;
mod rank;
mod shape;
mod verify;

pub use node::RayNode;
pub use plan::{FreeGpus, FreeOn, Placement, Policy, RankSlot, Unplaceable, plan};
pub use rank::{RANK_ACTOR_CLASS, RankName};
pub use shape::{InvalidShape, Shape};
pub use verify::{Difference, GroupState, Life, Reported, ReportedBundle, ReportedRank, verify};
