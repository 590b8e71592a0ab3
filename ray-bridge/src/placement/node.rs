//! A Ray node as the planner needs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// One Ray node. Ray lists dead nodes too, so check `alive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RayNode {
    /// Ray's id of this incarnation.
    pub id: NodeId,
    /// Address; after a container restart Ray lists a second node with the same one.
    pub ip: String,
    /// Ray's name of the node: its address unless one was given. The caller may replace it before planning,
    /// for example by the pod's name; plans are ordered by it, and errors use it.
    pub name: String,
    /// It is the head.
    pub is_head: bool,
    /// Ray reports it as alive.
    pub alive: bool,
    /// Why it is dead, in Ray's words.
    pub state_message: Option<String>,
    /// Whole GPUs.
    pub gpus_total: u32,
    /// Whole GPUs that are not reserved; a placement group reserves its GPUs. A node that Ray has no report
    /// of yet counts as free. Ray updates this every 5 s.
    pub gpus_free: u32,
    /// Ray's labels of the node.
    pub labels: BTreeMap<String, String>,
}
