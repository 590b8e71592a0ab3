//! What the nodes have and what their pods ask for, from the index. Pure reading.

use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota};
use rayfleet_core::capacity::{Capacity, Source};

use super::Known;
use super::world::within;

/// The room on the nodes, for pods of a namespace, as it was at one moment; added up when somebody asks.
#[derive(Debug)]
pub(crate) struct Snapshot {
    nodes: Vec<Arc<Node>>,
    pods: Vec<Arc<Pod>>,
    quotas: Vec<Arc<ResourceQuota>>,
    sum: OnceLock<Capacity>,
}

impl Snapshot {
    /// What is known now.
    pub(crate) fn of(known: &Known, namespace: &str) -> Self {
        Self {
            nodes: known.nodes.values().cloned().collect(),
            pods: known.pods.values().cloned().collect(),
            quotas: within(&known.quotas, namespace).map(|(_, quota)| quota.clone()).collect(),
            sum: OnceLock::new(),
        }
    }
}

impl Source for Snapshot {
    fn capacity(&self) -> &Capacity {
        self.sum.get_or_init(|| {
            let (nodes, pods, quotas) = (self.nodes.iter(), self.pods.iter(), self.quotas.iter());
            Capacity::of(nodes.map(|node| &**node), pods.map(|pod| &**pod), quotas.map(|quota| &**quota))
        })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceQuota;
    use serde_json::json;

    use super::*;
    use crate::cluster::Index;

    #[test]
    fn only_quotas_of_the_namespace_count() {
        let index = Index::default();
        for (namespace, gpus) in [("n", "4"), ("other", "1")] {
            let quota: ResourceQuota = serde_json::from_value(json!({
                "metadata": {"name": "q", "namespace": namespace},
                "spec": {"hard": {"requests.nvidia.com/gpu": gpus}}
            }))
            .unwrap();
            index.apply(quota);
        }
        let snapshot = index.read(|known| Snapshot::of(known, "n"));
        let capacity = snapshot.capacity();
        assert_eq!(capacity.quotas.len(), 1);
        assert_eq!(capacity.quotas[0].left["requests.nvidia.com/gpu"], 4_000);
    }
}
