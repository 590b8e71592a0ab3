//! What the nodes have and what their pods ask for, from the index. Pure reading.

use rayfleet_core::capacity::Capacity;

use super::Known;
use super::world::within;

/// The room on the nodes, for pods of a namespace.
pub(crate) fn capacity_of(known: &Known, namespace: &str) -> Capacity {
    let quotas = within(&known.quotas, namespace).map(|(_, quota)| &**quota);
    Capacity::of(known.nodes.values().map(|node| &**node), known.pods.values().map(|pod| &**pod), quotas)
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
        let capacity = index.read(|known| capacity_of(known, "n"));
        assert_eq!(capacity.quotas.len(), 1);
        assert_eq!(capacity.quotas[0].left["requests.nvidia.com/gpu"], 4_000);
    }
}
