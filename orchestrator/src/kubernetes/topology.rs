//! Where the pods of a group are, as labels tell it: those of the Kubernetes nodes below them. Pure reading.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{GroupKey, Store};

/// Labels of the Kubernetes node below each pod of a group, by the pod's address, which is its Ray node's.
pub(crate) fn labels_by_address(
    store: &Store,
    group: &GroupKey,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let uid = store.clusters.get(group).and_then(|cluster| cluster.uid()).unwrap_or_default();
    let below = store.pods_of(&group.namespace, &uid).filter_map(|pod| {
        let address = pod.observed.ip.clone()?;
        let node = store.nodes.get(pod.observed.node.as_ref()?)?;
        Some((address, node.room.labels.clone()))
    });
    below.collect()
}

#[cfg(test)]
mod tests {
    use rayfleet_api::names;
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::object;
    use crate::kubernetes::Index;

    fn pod(name: &str, group: &str, node: Option<&str>, ip: Option<&str>) -> Value {
        json!({
            "metadata": {
                "name": name, "namespace": "n", "uid": name, "labels": {names::LABEL_FLEET: "f"},
                "ownerReferences": [{
                    "apiVersion": "ray.io/v1", "kind": "RayCluster", "name": group, "uid": format!("{group}-uid"),
                    "controller": true
                }]
            },
            "spec": {"containers": [], "nodeName": node},
            "status": {"podIP": ip},
        })
    }

    #[test]
    fn a_ray_node_has_the_labels_of_the_node_below_its_pod() {
        let index = Index::default();
        for pod in [
            pod("head", "g", Some("n1"), Some("10.0.0.1")),
            pod("worker", "g", Some("n2"), Some("10.0.0.2")),
            pod("other", "h", Some("n1"), Some("10.0.0.3")),
            pod("pending", "g", None, None),
            pod("lost", "g", Some("n3"), Some("10.0.0.4")),
        ] {
            index.apply(object::<crate::kubernetes::pods::Pod>(&pod));
        }
        for (name, zone) in [("n1", "a"), ("n2", "b")] {
            let node = json!({"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}});
            index.apply(object::<crate::kubernetes::nodes::Node>(&node));
        }
        let cluster = json!({
            "metadata": {"name": "g", "namespace": "n", "uid": "g-uid", "ownerReferences": [crate::fixtures::owner("f", "u-1")]}
        });
        index.apply(object::<kube::core::DynamicObject>(&cluster));
        let of = |group: &str| index.read(|store| labels_by_address(store, &GroupKey::new("n", group)));
        let labels = of("g");
        let zones: Vec<(&str, &str)> =
            labels.iter().map(|(ip, of)| (ip.as_str(), of["topology.kubernetes.io/zone"].as_str())).collect();
        assert_eq!(zones, [("10.0.0.1", "a"), ("10.0.0.2", "b")]);
        assert!(of("other").is_empty());
    }
}
