//! The hardware of the simulated cluster, and its delays.

use std::collections::BTreeMap;
use std::time::Duration;

/// A machine.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Name, also its `kubernetes.io/hostname`.
    pub name: String,
    /// Amount of `nvidia.com/gpu`.
    pub gpus: u32,
    /// CPUs.
    pub cpus: u32,
    /// Memory in GiB.
    pub memory_gib: u32,
    /// Further labels, such as `topology.kubernetes.io/zone`.
    pub labels: BTreeMap<String, String>,
}

/// Hardware and delays.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes.
    pub nodes: Vec<NodeSpec>,
    /// From the start of a container to its readiness.
    pub pod_start: Duration,
    /// Pull time of an image that a node does not have yet.
    pub image_pull: Duration,
    /// Images that no registry has.
    pub bad_images: Vec<String>,
    /// How long pods without their own toleration stay on a lost node.
    pub eviction_after: Duration,
    /// Silence of a kubelet after which its node is declared lost.
    pub node_grace: Duration,
    /// From power-on to a kubelet that reports its node ready.
    pub node_boot: Duration,
    /// From a change of an EndpointSlice to kube-proxy's rules.
    pub endpoint_lag: Duration,
    /// From a change to the reaction of KubeRay's operator.
    pub kuberay_lag: Duration,
    /// Whether KubeRay's operator runs with `ENABLE_RAY_HEAD_CLUSTER_IP_SERVICE`.
    pub head_cluster_ip: bool,
    /// Grace period of pods whose template sets none.
    pub grace_period: Duration,
}

impl Default for Options {
    /// Three nodes with two GPUs each, as in the local cluster, and Kubernetes' default periods.
    fn default() -> Self {
        let node = |name: &str, rack: &str| NodeSpec {
            name: name.to_owned(),
            gpus: 2,
            cpus: 8,
            memory_gib: 32,
            labels: BTreeMap::from([("topology.kubernetes.io/rack".to_owned(), rack.to_owned())]),
        };
        Self {
            nodes: vec![node("node-a", "rack-0"), node("node-b", "rack-0"), node("node-c", "rack-1")],
            pod_start: Duration::from_secs(5),
            image_pull: Duration::from_secs(3),
            bad_images: Vec::new(),
            eviction_after: Duration::from_mins(5),
            node_grace: Duration::from_secs(50),
            node_boot: Duration::from_secs(8),
            endpoint_lag: Duration::from_millis(100),
            kuberay_lag: Duration::from_millis(50),
            head_cluster_ip: false,
            grace_period: Duration::from_secs(30),
        }
    }
}
