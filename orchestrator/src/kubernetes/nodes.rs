//! Nodes, as far as they are looked at. Pure.

use std::sync::Arc;

use rayfleet_core::capacity::{NodeRoom, NodeSpec, NodeStatus};

use super::objects::{Object, Watched};

/// A node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// Version of the object.
    pub(super) version: u64,
    /// Kubernetes has given its kubelet up.
    pub(super) lost: bool,
    /// What it has, and what keeps pods off it.
    pub(super) room: Arc<NodeRoom>,
}

impl Watched for Node {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let Object::<Option<NodeSpec>, NodeStatus> { metadata, spec, status } = serde_json::from_str(text)?;
        let (version, status) = (metadata.version(), status.unwrap_or_default());
        let (labels, deleting) = (metadata.labels.unwrap_or_default(), metadata.deletion_timestamp.is_some());
        let room = NodeRoom::of(metadata.name.into(), labels, spec.unwrap_or_default(), &status);
        let room = Arc::new(NodeRoom { deleting, ..room });
        Ok(Some(Self { version, lost: status.is_lost(), room }))
    }
}
