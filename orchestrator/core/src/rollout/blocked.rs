//! Why a group that is wanted is not created. Only the reason; when it applies is decided in `create`.

use crate::capacity::NoRoom;

/// Nodes, or pods of other namespaces, may not be read.
pub(super) const ROOM_UNKNOWN: &str = "what the nodes have room for is not known: bind ClusterRole rayfleet-capacity to the orchestrator's account";

/// Why a group that is wanted is not created now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Blocked {
    /// No whole group fits.
    NoRoom(NoRoom),
    /// What the nodes have may not be read.
    Unknown,
    /// Groups on their way out still count.
    Leaving,
}
