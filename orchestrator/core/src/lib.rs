//! Pure decisions of Rayfleet: what a replica group does next, how a fleet rolls out, what fits.
//!
//! Everything here is a function from plain data to plain data. No client, no async, no clock, no
//! randomness: those are arguments. The entry point is [`decide::decide`].

pub mod capacity;
pub mod decide;
pub mod effect;
mod ending_times;
pub mod forecast;
pub mod group;
pub mod heads;
pub mod held;
mod ledger;
mod nodes;
pub mod observed;
pub mod rollout;
mod startup_times;
#[cfg(test)]
mod testing;
mod text;
mod time;
mod write_delay;

pub use decide::{Decision, ReconcileInput, decide};
pub use effect::Effect;
pub use held::{FailedWrite, HoldReason};
pub use write_delay::max_write_delay;
