//! One run: a scenario, faults, the trace, and the oracle that judges it.
//!
//! [`simulated`] is the entry point: it builds a world, plays a scenario in it under a plan of faults, and
//! returns a [`Report`]. The same arguments give the same report, to the last line of its trace.

pub mod divergence;
pub mod environment;
pub mod faults;
pub mod grid;
pub mod oracle;
mod panics;
pub mod planned;
pub mod report;
pub mod rights;
pub mod scenario;
pub mod shrink;
pub mod trace;
pub mod walk;
pub mod world;

pub use self::faults::{Fault, Plan};
pub use self::report::Report;
pub use self::rights::Install;
pub use self::scenario::Scenario;
pub use self::world::{installed, planned, simulated};
