//! The only module that reads the time.

use std::time::Instant;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
