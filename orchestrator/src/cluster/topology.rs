//! Where the pods of a group are, as labels tell it: those of the Kubernetes nodes below them. Pure reading.

use std::collections::BTreeMap;

use super::{Key, Known, pods};

/// Labels of the Kubernetes node below each pod of a group, by the pod's address, which is its Ray node's.
pub(crate) fn labels_by_address(known: &Known, group: &Key) -> BTreeMap<String, BTreeMap<String, String>> {
    let of_group = known.pods.iter().filter(|(key, pod)| {
        key.namespace == group.namespace
            && pods::group_and_fleet(pod).is_some_and(|(name, _)| name == group.name)
    });
    let below = of_group.filter_map(|(_, pod)| {
        let address = pod.status.as_ref()?.pod_ip.clone()?;
        let node = known.nodes.get(&Key::new("", pod.spec.as_ref()?.node_name.clone()?))?;
        Some((address, node.metadata.labels.clone()?))
    });
    below.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rayfleet_api::names;
    use serde_json::{Value, json};

    use super::*;

    fn known(pods: &[Value]) -> Known {
        let mut known = Known::default();
        for pod in pods {
            let pod = serde_json::from_value(pod.clone()).unwrap();
            known.pods.insert(Key::of::<k8s_openapi::api::core::v1::Pod>(&pod), Arc::new(pod));
        }
        for (name, zone) in [("n1", "a"), ("n2", "b")] {
            let node = json!({"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}});
            known.nodes.insert(Key::new("", name), Arc::new(serde_json::from_value(node).unwrap()));
        }
        known
    }

    fn pod(name: &str, group: &str, node: Option<&str>, ip: Option<&str>) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "n", "labels": {names::RAY_LABEL_CLUSTER: group, names::LABEL_FLEET: "f"}},
            "spec": {"containers": [], "nodeName": node},
            "status": {"podIP": ip},
        })
    }

    #[test]
    fn a_ray_node_has_the_labels_of_the_node_below_its_pod() {
        let known = known(&[
            pod("head", "g", Some("n1"), Some("10.0.0.1")),
            pod("worker", "g", Some("n2"), Some("10.0.0.2")),
            pod("other", "h", Some("n1"), Some("10.0.0.3")),
            pod("pending", "g", None, None),
            pod("lost", "g", Some("n3"), Some("10.0.0.4")),
        ]);
        let labels = labels_by_address(&known, &Key::new("n", "g"));
        let zones: Vec<(&str, &str)> =
            labels.iter().map(|(ip, of)| (ip.as_str(), of["topology.kubernetes.io/zone"].as_str())).collect();
        assert_eq!(zones, [("10.0.0.1", "a"), ("10.0.0.2", "b")]);
        assert!(labels_by_address(&known, &Key::new("other", "g")).is_empty());
    }
}
