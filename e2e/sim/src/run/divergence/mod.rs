//! Fidelity of the simulation: the history of a run, in a form that a real cluster's run has too, and the
//! differences between two.
//!
//! Two rules, the same for all scenarios, define which differences are allowed:
//!
//! * A phase that is over within [`LOOK`] may be missing on the other side: it is written only if the
//!   orchestrator happened to observe it. The same holds for steps of the rollout.
//!
//! * Which of several groups of one revision is removed first depends on their load at that moment, and
//!   their slots with it. So each group is compared with the most similar one of its revision.

mod align;
mod end;
mod history;
mod order;

use std::time::Duration;

pub use self::end::another_end;
pub use self::history::{Entered, History, Life};
pub use self::order::another_order;

/// The orchestrator checks a group every second, and an answer may take as long on a busy machine; what is
/// over within three seconds may be missed.
pub const LOOK: Duration = Duration::from_secs(3);
