//! What `ray-bridge` and `kubectl rayfleet` share, so that they speak alike: where output goes and in which format, the error with
//! its cure and exit code, tables, ages, and what is read from the command line. Nothing of Ray or Kubernetes belongs here.

pub mod age;
pub mod clean;
pub mod clock;
mod error;
pub mod input;
pub mod ranges;
pub mod table;
pub mod terminal;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::{CliError, Kind};
pub use terminal::{Format, Terminal};
