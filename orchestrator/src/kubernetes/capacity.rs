//! The room on the nodes as a decision asks for it, from the index. Pure reading.

use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::ResourceQuota;
use rayfleet_api::ValidFleet;
use rayfleet_core::capacity::{Capacity, Source, Tally, Viewer};

use super::Store;
use super::world::within;

/// The room on the nodes, for pods of a fleet, as it was at one moment; put together when somebody asks, and once. To take one costs the
/// same in a cluster of any size.
#[derive(Debug)]
pub(crate) struct Snapshot {
    tally: Arc<Tally>,
    viewer: Viewer,
    quotas: Vec<Arc<ResourceQuota>>,
    sum: OnceLock<Capacity>,
}

impl Snapshot {
    /// What is known now. `None`: nodes, or the pods of other namespaces, may not be read.
    pub(crate) fn of(store: &Store, fleet: &ValidFleet) -> Option<Self> {
        store.knows_room().then(|| Self {
            tally: store.tally.clone(),
            viewer: Viewer::of(fleet),
            quotas: within(&store.quotas, &fleet.namespace).map(|(_, quota)| quota.clone()).collect(),
            sum: OnceLock::new(),
        })
    }
}

impl Source for Snapshot {
    fn capacity(&self) -> &Capacity {
        self.sum.get_or_init(|| {
            let quotas = self.quotas.iter().map(|quota| &**quota);
            self.tally.capacity(&self.viewer, quotas).settled()
        })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceQuota;
    use serde_json::json;

    use super::*;
    use crate::fixtures;
    use crate::kubernetes::Index;
    use crate::kubernetes::nodes::Node;
    use crate::kubernetes::objects::Watched;
    use crate::kubernetes::pods::Pod;

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
        let snapshot = index.read(|store| Snapshot::of(store, &fixtures::fleet())).unwrap();
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
        let before = index.read(|store| Snapshot::of(store, &fixtures::fleet())).unwrap();
        index.apply(pod(2, 3));
        let after = index.read(|store| Snapshot::of(store, &fixtures::fleet())).unwrap();
        let free = |snapshot: &Snapshot| snapshot.capacity().nodes[0].free("nvidia.com/gpu");
        assert_eq!((free(&before), free(&after)), (7_000, 5_000));
    }

    #[test]
    fn pending_pods_have_a_place_first_and_anti_affinity_is_known() {
        let index = Index::default();
        for number in 0..2 {
            let node = json!({
                "metadata": {"name": format!("node-{number}")},
                "status": {
                    "allocatable": {"nvidia.com/gpu": "1", "pods": "9"},
                    "conditions": [{"type": "Ready", "status": "True"}]
                }
            });
            index.apply(Node::read(&node.to_string()).unwrap().unwrap());
        }
        let pod = |name: &str, spec: serde_json::Value, deleted: serde_json::Value| {
            let metadata = json!({"name": name, "namespace": "m", "labels": {"app": name}, "deletionTimestamp": deleted});
            let pod = json!({"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}});
            index.apply(Pod::read(&pod.to_string()).unwrap().unwrap());
        };
        let gpu = json!([{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]);
        pod("gated", json!({"containers": gpu, "schedulingGates": [{"name": "g"}]}), json!(null));
        pod("ending", json!({"containers": gpu}), json!("2026-11-29T09:00:00Z"));
        pod("waits", json!({"containers": gpu}), json!(null));
        let rule =
            json!([{"topologyKey": "kubernetes.io/hostname", "namespaceSelector": {}, "labelSelector": {}}]);
        let alone = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": rule}});
        pod("alone", json!({"nodeName": "node-0", "containers": [], "affinity": alone}), json!(null));
        let snapshot = index.read(|store| Snapshot::of(store, &fixtures::fleet())).unwrap();
        let capacity = snapshot.capacity();
        assert!(capacity.pending.is_empty(), "all later questions find the answer");
        let free: Vec<i128> = capacity.nodes.iter().map(|node| node.free("nvidia.com/gpu")).collect();
        assert_eq!(free, [1_000, 0], "the one that waits, not where somebody wants to be alone");
    }
}
