//! Where each rank of an engine goes, and whether it went there. Pure: no clock, no network, no client of Ray
//! belongs here.

mod choose;
mod difference;
mod fill;
mod hops;
mod node;
mod plan;
mod policy;
mod rank;
mod report;
mod shape;
mod topology;
mod unplaceable;
mod verify;

pub use difference::Difference;
pub use hops::{Hop, hops};
pub use node::RayNode;
pub use plan::{Placement, RankSlot, plan};
pub use policy::{FreeGpus, Level, Policy, Strategy};
pub use rank::{RANK_ACTOR_CLASS, RankName};
pub use report::{ForeignActor, GroupState, Life, Reported, ReportedBundle, ReportedRank};
pub use shape::{InvalidShape, Shape};
pub use unplaceable::{FreeOn, Unplaceable};
pub use verify::verify;
