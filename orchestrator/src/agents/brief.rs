//! Texts that agents hand to decisions.

use rayfleet_text::cut;

/// Longest text that is handed to decisions, in bytes: they end up in the status.
const LONGEST: usize = 500;

/// As much of a text as somebody reads in a status.
pub(super) fn brief(text: &str) -> String {
    cut(text, LONGEST)
}
