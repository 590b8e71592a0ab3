//! What influences a plan besides the shape: how stages share nodes, which labels define distance, and which
//! nodes to avoid. Only the settings; the planner is in `plan`.

use std::collections::BTreeSet;

use super::RayNode;

/// How stages share nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The cheapest hops, and among equals the fullest nodes, so that large free blocks remain.
    #[default]
    Pack,
    /// The fewest stages per node, then the cheapest hops, and among equals the emptiest nodes.
    Spread,
}

/// Which GPUs of a node may be planned on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FreeGpus {
    /// Those that Ray reports as free; up to 5 s old, so GPUs of a placement group that has just been removed
    /// may still count as used.
    #[default]
    Reported,
    /// All of them: for a cluster that runs only this engine.
    All,
}

/// Nodes with the same value are near each other, such as those of one rack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Name for people.
    pub name: String,
    /// Labels that name a node's domain on this level. The value of the first one that a node has counts.
    pub labels: Vec<String>,
}

/// What influences a plan besides the shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How stages share nodes.
    pub strategy: Strategy,
    /// Label of the domain that a stage's tensor ranks never leave, such as one `NVLink` fabric over several
    /// nodes; `None` if they never leave a node. A node without the label is a domain by itself.
    ///
    /// The domain replaces the node in all costs of the planner, so its values must be unique in the cluster.
    /// It belongs to the level that has this label, or else to the innermost one.
    pub tensor_domain: Option<String>,
    /// Levels from the inside out. Each is nested in the next one: the same rack name in two zones counts as
    /// two racks.
    pub levels: Vec<Level>,
    /// Which GPUs may be used.
    pub free: FreeGpus,
    /// Nodes to avoid, each by its id, address or name. They get ranks only if the others have no room; see
    /// [`Placement::avoided`](super::Placement::avoided).
    pub avoid: BTreeSet<String>,
    /// Nodes that never get ranks, named in the same way. An excluded head still runs the API server.
    pub exclude: BTreeSet<String>,
}

/// Default levels and labels, from the inside out.
///
/// `ray.io/…` are Ray's own, set with `ray start --labels`. `nvidia.com/gpu.clique` comes from NVIDIA's GPU
/// feature discovery, `….topograph.run/…` from Topograph, `network.topology.nvidia.com/…` from Topograph
/// before 1.0; the rest from GKE, EKS and OKE. Labels of Kubernetes nodes reach a plan if the orchestrator or
/// `ray start` adds them.
const WELL_KNOWN: [(&str, &[&str]); 4] = [
    (
        "fabric",
        &[
            "ray.io/gpu-domain",
            "nvidia.com/gpu.clique",
            "accelerator.topograph.run/sub-domain",
            "accelerator.topograph.run/domain",
            "network.topology.nvidia.com/accelerator",
            "topology.k8s.aws/ultraserver-id",
        ],
    ),
    (
        "rack",
        &[
            "fabric.topograph.run/tier-0",
            "network.topology.nvidia.com/leaf",
            "cloud.google.com/gce-topology-subblock",
            "topology.k8s.aws/network-node-layer-3",
            "oci.oraclecloud.com/host.rack_id",
        ],
    ),
    (
        "block",
        &[
            "fabric.topograph.run/tier-1",
            "network.topology.nvidia.com/spine",
            "cloud.google.com/gce-topology-block",
            "topology.k8s.aws/network-node-layer-2",
            "oci.oraclecloud.com/host.network_block_id",
        ],
    ),
    ("zone", &["topology.kubernetes.io/zone", "ray.io/availability-zone"]),
];

impl Level {
    /// A level of one label, with the label as its name.
    pub fn of(label: &str) -> Self {
        Self { name: label.to_owned(), labels: vec![label.to_owned()] }
    }

    /// Fabric, rack, block and zone, by the labels that clouds and tools set.
    pub fn well_known() -> Vec<Self> {
        let owned = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        WELL_KNOWN
            .iter()
            .map(|(name, labels)| Self { name: (*name).to_owned(), labels: owned(labels) })
            .collect()
    }

    /// The node's domain on this level.
    pub(super) fn value<'n>(&self, node: &'n RayNode) -> Option<&'n str> {
        self.labels
            .iter()
            .find_map(|label| node.labels.get(label))
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            strategy: Strategy::Pack,
            tensor_domain: None,
            levels: Level::well_known(),
            free: FreeGpus::Reported,
            avoid: BTreeSet::new(),
            exclude: BTreeSet::new(),
        }
    }
}

impl Policy {
    /// GPUs of a node that may be planned on, whether it is avoided or not.
    pub(super) fn free_on(&self, node: &RayNode) -> u32 {
        match self.free {
            FreeGpus::Reported => node.gpus_free.min(node.gpus_total),
            FreeGpus::All => node.gpus_total,
        }
    }

    pub(super) fn avoids(&self, node: &RayNode) -> bool {
        names(&self.avoid, node)
    }

    pub(super) fn excludes(&self, node: &RayNode) -> bool {
        names(&self.exclude, node)
    }

    /// Levels outside of the unit, each with its index in `levels`.
    pub(super) fn outer_levels(&self) -> impl DoubleEndedIterator<Item = (usize, &Level)> {
        let inner = match &self.tensor_domain {
            None => 0,
            Some(label) => self.levels.iter().position(|level| level.labels.contains(label)).unwrap_or(0) + 1,
        };
        self.levels.iter().enumerate().skip(inner)
    }
}

fn names(listed: &BTreeSet<String>, node: &RayNode) -> bool {
    !listed.is_empty() && [node.id.as_str(), &node.ip, &node.name].iter().any(|name| listed.contains(*name))
}
