//! What is the same for all fleets of a site, as data. Reading it is `profile`'s, judging it `site_check`'s.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A site. What is not said has a default in the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Site {
    /// Image of head and workers: vLLM with `ray[default]`.
    pub(super) image: Option<String>,
    /// Registry of the default image, if no image is named.
    pub(super) registry: Option<String>,
    pub(super) image_pull_secrets: Vec<String>,
    /// The Ray of the image.
    pub(super) ray_version: Option<String>,
    /// Claim with the weights; default: one for each fleet.
    pub(super) claim: Option<String>,
    /// With it a claim of that class is part of the manifest.
    pub(super) storage_class: Option<String>,
    /// What a node reads in a second, as `500MB`.
    pub(super) storage_bandwidth: Option<String>,
    /// Where the weights are mounted.
    pub(super) model_path: Option<String>,
    /// Network interface of pods, for NCCL and Gloo.
    pub(super) network_interface: Option<String>,
    /// Extended resource of RDMA devices, as `rdma/ib`.
    pub(super) rdma_resource: Option<String>,
    /// How many of them a pod gets.
    pub(super) rdma_count: Option<u32>,
    /// CPUs that a pod asks for each of its GPUs, as `4` or `500m`.
    pub(super) cpu_per_gpu: Option<String>,
    /// Memory that is kept for each GPU, as `32Gi`.
    pub(super) memory_per_gpu: Option<String>,
    /// Environment of head and workers, which the engine inherits. Over what the manifest has of its own.
    pub(super) env: BTreeMap<String, String>,
    pub(super) service_account: Option<String>,
    /// Beside the one for the GPU's own taint.
    pub(super) tolerations: Vec<Toleration>,
    pub(super) node_selector: BTreeMap<String, String>,
    /// Labels of fleet, RayClusters and pods.
    pub(super) labels: BTreeMap<String, String>,
    /// Label of nodes; pods of a group are brought into one of its domains if possible.
    pub(super) topology_key: Option<String>,
}

/// A toleration of pods, as Kubernetes has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Toleration {
    pub(super) key: Option<String>,
    pub(super) operator: Option<String>,
    pub(super) value: Option<String>,
    pub(super) effect: Option<String>,
    #[serde(rename = "tolerationSeconds")]
    pub(super) seconds: Option<u32>,
}
