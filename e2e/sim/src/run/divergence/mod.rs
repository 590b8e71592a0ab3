//! Is the simulation honest? What a run was like, in a form that a real cluster's run has too, and in what the two differ.
//!
//! Two rules say what may differ, for all scenarios alike:
//! * A phase that is over within [`LOOK`] may be missing on the other side: it is written only if the orchestrator happened to
//!   look meanwhile. The same holds for steps of the rollout.
//! * Of several groups of one revision it is a matter of the load of the moment which goes first, and with it the slots. So
//!   groups of a revision are compared with those that they are most like.

mod align;
mod end;
mod history;
mod order;

use std::time::Duration;

pub use self::end::another_end;
pub use self::history::{Entered, History, Life};
pub use self::order::another_order;

/// The orchestrator looks at a group every second, and an answer may take as long on a busy machine; what is over sooner than
/// in three may go unseen.
pub const LOOK: Duration = Duration::from_secs(3);
