//! Pure decisions of Rayfleet: what a replica group does next, how a fleet rolls out, what fits.
//!
//! Everything here is a function from plain data to plain data. No client, no async, no clock, no
//! randomness: those are arguments. The entry point is [`decide::decide`].

pub mod capacity;
pub mod decide;
pub mod effect;
pub mod forecast;
pub mod group;
pub mod held;
mod ledger;
mod nodes;
mod pace;
pub mod rollout;
pub mod seen;
#[cfg(test)]
mod testing;
mod text;
mod time;
mod worth;

pub use decide::{Decision, World, decide};
pub use effect::Effect;
pub use held::{FailedWrite, Held};
pub use worth::may_wait;
