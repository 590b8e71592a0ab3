//! Whether one more whole group fits on the nodes, and where. Plain data and pure functions; the orchestrator
//! supplies the data.

mod beside;
mod budget;
mod closing;
mod domains;
mod eligible;
mod kind;
mod neighbours;
mod no_room;
mod node_room;
mod nodes;
mod pods;
mod quantity;
mod quota;
mod requests;
mod room;
mod rules;
mod search;
mod settle;
mod source;
mod tally;
mod unclaimed;

#[cfg(test)]
mod tests;

use rayfleet_api::NodeName;
use rayfleet_api::valid::GroupShape;

pub(crate) use budget::Budget;
pub use closing::{Closing, Leaving, closing};
pub use neighbours::{Crowd, Labels, Neighbour};
pub use no_room::NoRoom;
pub use node_room::{NodeRoom, Share, Taint};
pub use nodes::{NodeSpec, NodeStatus};
pub use pods::{About, Alike, Asked, Claim, PodSpec, Waiting};
pub use quota::Quota;
pub use rayfleet_api::quantity::quantity;
pub use requests::{Resources, requests};
pub(crate) use requests::{in_words, scarce};
pub(crate) use room::Room;
pub use source::{Capacity, PendingPod, Source};
pub use tally::{Tally, Viewer};

/// Whether one more whole group fits beside everything that runs or waits, and the node of each pod of the
/// shape.
///
/// # Errors
/// [`NoRoom`] with what the group needs and what is free.
pub fn fits(shape: &GroupShape, capacity: &Capacity) -> Result<Vec<NodeName>, NoRoom> {
    Room::of(capacity).place(shape)
}
