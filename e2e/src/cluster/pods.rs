//! The pods of a fleet, with their group, node and identity.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use rayfleet_api::names;

use super::call;
use super::fleet::Fleet;

const GPU: &str = "nvidia.com/gpu";

/// One pod of a fleet.
#[derive(Clone, Debug)]
pub struct FleetPod {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Group (RayCluster) that it belongs to.
    pub group: String,
    /// Whether it is the head.
    pub head: bool,
    /// Node.
    pub node: String,
    /// IP address.
    pub ip: String,
}

/// The pods of a fleet that are not being deleted.
pub async fn pods(fleet: &Fleet) -> anyhow::Result<Vec<FleetPod>> {
    let api: Api<Pod> = Api::namespaced(fleet.cluster.client.clone(), &fleet.cluster.namespace);
    let params = ListParams::default().labels(&format!("{}={}", names::LABEL_FLEET, fleet.name));
    let list = call("list the fleet's pods", api.list(&params)).await?;
    list.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).map(pod).collect()
}

fn pod(pod: Pod) -> anyhow::Result<FleetPod> {
    let name = pod.metadata.name.context("a pod without a name")?;
    let labels = pod.metadata.labels.unwrap_or_default();
    let label =
        |key: &str| labels.get(key).with_context(|| format!("pod {name} has no label {key}")).cloned();
    Ok(FleetPod {
        uid: pod.metadata.uid.with_context(|| format!("pod {name} has no UID"))?,
        group: label(names::RAY_LABEL_CLUSTER)?,
        head: label(names::RAY_LABEL_NODE_TYPE)? == "head",
        node: pod.spec.and_then(|spec| spec.node_name).unwrap_or_default(),
        ip: pod.status.and_then(|status| status.pod_ip).unwrap_or_default(),
        name,
    })
}

/// GPUs that a pod holds on its node: until its object is gone or its containers have ended for good.
pub(super) fn gpus_held(pod: &Pod) -> u32 {
    let over = |phase: &str| matches!(phase, "Succeeded" | "Failed");
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let spec = pod.spec.as_ref().filter(|spec| spec.node_name.is_some() && !phase.is_some_and(over));
    let limits = spec.into_iter().flat_map(|spec| &spec.containers);
    let limits = limits.filter_map(|container| container.resources.as_ref()?.limits.as_ref()?.get(GPU));
    limits.filter_map(|quantity| quantity.0.parse::<u32>().ok()).sum()
}

/// UIDs of the pods.
pub fn uids(pods: &[FleetPod]) -> BTreeSet<String> {
    pods.iter().map(|pod| pod.uid.clone()).collect()
}

/// The nodes of each group's pods.
pub fn nodes_by_group(pods: &[FleetPod]) -> BTreeMap<String, BTreeSet<String>> {
    let mut nodes = BTreeMap::<String, BTreeSet<String>>::new();
    for pod in pods {
        nodes.entry(pod.group.clone()).or_default().insert(pod.node.clone());
    }
    nodes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_holds_gpus_from_binding_to_its_end() {
        let held = |spec: serde_json::Value, phase: &str| {
            gpus_held(&serde_json::from_value(json!({"spec": spec, "status": {"phase": phase}})).unwrap())
        };
        let container =
            json!({"name": "ray", "resources": {"limits": {"nvidia.com/gpu": "4", "memory": "3Gi"}}});
        let placed = json!({"nodeName": "node-a", "containers": [container]});
        assert_eq!(held(placed.clone(), "Running"), 4);
        assert_eq!(held(placed, "Failed"), 0);
        assert_eq!(held(json!({"containers": [container]}), "Pending"), 0);
        assert_eq!(held(json!({"nodeName": "node-a", "containers": [{"name": "x"}]}), "Running"), 0);
    }
}
