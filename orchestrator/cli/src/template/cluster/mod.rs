//! `--from-cluster`: GPU, GPUs of a node and number of nodes, from the nodes of a cluster.
//!
//! `read` lists nodes, `open` judges which of them would take the pods, `pick` lists the GPUs to choose from, and `show`
//! says what there is. What a label means stands in `rayfleet-templates`.

mod open;
mod pick;
mod read;
mod show;

pub(super) use open::{NodeKind, Pool, pools};
pub(super) use pick::{Picked, candidates};
pub(super) use read::nodes;
pub(super) use show::{chosen, table};
