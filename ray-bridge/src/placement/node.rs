//! A Ray node as placement sees it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// One Ray node. Ray keeps dead nodes listed, so `alive` must be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RayNode {
    /// Ray's id of this incarnation.
    pub id: NodeId,
    /// Address; a restarted container comes back as a second node with the same one.
    pub ip: String,
    /// Ray's name of the node: its address unless one was given. A caller that knows a better one, such as the pod's,
    /// may put it here before planning; plans are ordered by it and refusals speak of it.
    pub name: String,
    /// Runs the dashboard.
    pub is_head: bool,
    /// Ray counts it in.
    pub alive: bool,
    /// Why it is dead, in Ray's words.
    pub state_message: Option<String>,
    /// Whole GPUs it has.
    pub gpus_total: u32,
    /// Whole GPUs that nothing has reserved; placement groups count as reserved. A node that Ray has not reported on
    /// yet counts as free. Ray refreshes this every 5 s.
    pub gpus_free: u32,
    /// Ray's labels of the node.
    pub labels: BTreeMap<String, String>,
}
