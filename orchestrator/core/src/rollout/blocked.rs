//! Why a wanted group is not created, and why nothing can move. Only the reason; when it applies is decided in `create`.

use crate::capacity::NoRoom;

/// RBAC does not allow to read nodes, or pods of other namespaces.
pub(super) const ROOM_UNKNOWN: &str = "the free room on the nodes is not known: bind ClusterRole rayfleet-capacity to the orchestrator's account";

/// Why a wanted group is not created now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Blocked {
    /// No whole group fits.
    NoRoom(NoRoom),
    /// The capacity of the nodes may not be read.
    Unknown,
    /// Groups that are being deleted still count.
    Leaving,
}

/// Why nothing can move, and what would help.
pub(super) type Hold = String;
