//! What the nodes have and what their pods ask for, from the index. Pure reading.

use rayfleet_core::capacity::Capacity;

use super::Known;

/// The room on the nodes.
pub(crate) fn capacity_of(_known: &Known) -> Capacity {
    Capacity::default()
}
