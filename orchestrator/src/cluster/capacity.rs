//! The room on the nodes as a decision asks for it, from the index. Pure reading.

use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::ResourceQuota;
use rayfleet_core::capacity::{Capacity, Source, Tally};

use super::Known;
use super::world::within;

/// The room on the nodes, for pods of a namespace, as it was at one moment; put together when somebody asks. To take one costs the same
/// in a cluster of any size.
#[derive(Debug)]
pub(crate) struct Snapshot {
    tally: Arc<Tally>,
    quotas: Vec<Arc<ResourceQuota>>,
    sum: OnceLock<Capacity>,
}

impl Snapshot {
    /// What is known now.
    pub(crate) fn of(known: &Known, namespace: &str) -> Self {
        Self {
            tally: known.tally.clone(),
            quotas: within(&known.quotas, namespace).map(|(_, quota)| quota.clone()).collect(),
            sum: OnceLock::new(),
        }
    }
}

impl Source for Snapshot {
    fn capacity(&self) -> &Capacity {
        self.sum.get_or_init(|| self.tally.capacity(self.quotas.iter().map(|quota| &**quota)))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceQuota;
    use serde_json::json;

    use super::*;
    use crate::cluster::Index;
    use crate::cluster::nodes::Node;
    use crate::cluster::objects::Watched;
    use crate::cluster::pods::Pod;

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

    #[test]
    fn a_snapshot_stays_as_it_was() {
        let index = Index::default();
        let pod = |version: u64, gpus: u64| {
            let pod = json!({
                "metadata": {"name": "p", "namespace": "m", "resourceVersion": version.to_string()},
                "spec": {"nodeName": "a", "containers": [{"resources": {"requests": {"nvidia.com/gpu": gpus}}}]}
            });
            Pod::read(&pod.to_string()).unwrap().unwrap()
        };
        let node = json!({"metadata": {"name": "a"}, "status": {"allocatable": {"nvidia.com/gpu": "8"}}});
        index.apply(Node::read(&node.to_string()).unwrap().unwrap());
        index.apply(pod(1, 1));
        let before = index.read(|known| Snapshot::of(known, "n"));
        index.apply(pod(2, 3));
        let after = index.read(|known| Snapshot::of(known, "n"));
        let free = |snapshot: &Snapshot| snapshot.capacity().nodes[0].free("nvidia.com/gpu");
        assert_eq!((free(&before), free(&after)), (7_000, 5_000));
    }
}
