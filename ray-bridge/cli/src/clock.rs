//! The only place that reads the time. Everything else is given it.

use jiff::Timestamp;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
