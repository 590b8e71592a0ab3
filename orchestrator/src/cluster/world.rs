//! What a decision about one fleet is based on, put together from the index. Pure reading.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::DynamicObject;
use rayfleet_api::RayClusterFleet;
use rayfleet_core::capacity;
use rayfleet_core::seen::{GroupSeen, PodSeen};

use super::index::Known;
use super::{Key, pods, rayclusters};

/// What the agent of a group must know to ask its dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupPods {
    /// Address of the head, once it has one.
    pub head_ip: Option<String>,
    /// Addresses of all pods that are to be Ray nodes.
    pub ips: Vec<String>,
    /// Port of the head's dashboard.
    pub dashboard_port: u16,
    /// Port of the engine that its pods start themselves, as their labels name it.
    pub own_port: Option<u16>,
    /// Secret with the Ray token, when authentication is on.
    pub token_secret: Option<String>,
}

/// Every group of a fleet, by name: those of the ledger and those whose RayCluster or pods are there.
pub(crate) fn groups_of(known: &Known, fleet: &RayClusterFleet) -> BTreeMap<String, (GroupSeen, GroupPods)> {
    let key = Key::of(fleet);
    let ledger = fleet.status.iter().flat_map(|status| &status.groups).map(|group| group.name.clone());
    let mut pods_of: BTreeMap<String, Vec<PodSeen>> = ledger.map(|name| (name, Vec::new())).collect();
    for (cluster_key, cluster) in within(&known.clusters, &key.namespace) {
        if owns(fleet, cluster) {
            pods_of.entry(cluster_key.name.clone()).or_default();
        }
    }
    for (_, pod) in within(&known.pods, &key.namespace) {
        if let Some((group, owner)) = pods::group_and_fleet(pod)
            && owner == key.name
        {
            pods_of.entry(group).or_default().push(on_its_node(known, pod));
        }
    }
    pods_of
        .into_iter()
        .map(|(name, pods)| (name.clone(), group(known, fleet, &key.sibling(name), pods)))
        .collect()
}

/// A pod, with what there is to know of its node.
fn on_its_node(known: &Known, pod: &Pod) -> PodSeen {
    let name = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let node = name.and_then(|name| known.nodes.get(&Key::new("", name)));
    PodSeen {
        node_lost: node.is_some_and(|node| capacity::is_lost(node)),
        node_closing: node.and_then(|node| capacity::closing(node)),
        ..pods::seen(pod)
    }
}

/// A fleet of the same name may have been there before, and its RayClusters not yet be gone.
fn owns(fleet: &RayClusterFleet, cluster: &DynamicObject) -> bool {
    let uid = fleet.metadata.uid.as_ref();
    uid.is_some_and(|uid| cluster.owner_references().iter().any(|owner| owner.uid == *uid))
}

fn group(known: &Known, fleet: &RayClusterFleet, key: &Key, pods: Vec<PodSeen>) -> (GroupSeen, GroupPods) {
    let cluster = known.clusters.get(key).filter(|cluster| owns(fleet, cluster));
    let alive = || pods.iter().filter(|pod| !pod.deleting);
    // A head that was told to go is asked for as long as its containers run: its engine is drained.
    let ending = || pods.iter().find(|pod| pod.head && pod.containers_ready && !pod.node_lost);
    let head = alive().find(|pod| pod.head).or_else(ending);
    let agent = GroupPods {
        head_ip: head.and_then(|head| head.ip.clone()),
        ips: alive().filter_map(|pod| pod.ip.clone()).collect(),
        dashboard_port: cluster
            .map_or(rayclusters::DASHBOARD, |cluster| rayclusters::dashboard_port(cluster)),
        own_port: cluster.and_then(|cluster| rayclusters::own_port(cluster)),
        token_secret: cluster.and_then(|cluster| rayclusters::token_secret(cluster)),
    };
    // KubeRay may make a new head while the old one is still ending.
    let heads = pods.iter().filter(|pod| pod.head);
    let endpoint_ready =
        heads.filter_map(|head| endpoint_ready(known, key, &head.name)).reduce(|any, ready| any || ready);
    let seen = GroupSeen {
        cluster: cluster.map(|cluster| rayclusters::seen(cluster, known.warnings.get(key).cloned())),
        endpoint_ready,
        ray: known.ray.get(key).cloned(),
        pods,
    };
    (seen, agent)
}

/// Whether any EndpointSlice lists the pod as ready; `None` when none lists it at all.
fn endpoint_ready(known: &Known, group: &Key, pod: &str) -> Option<bool> {
    let listed = within(&known.slices, &group.namespace).filter_map(|(_, slice)| slice.get(pod).copied());
    listed.reduce(|any, ready| any || ready)
}

/// The objects of one namespace.
pub(super) fn within<'a, T>(
    objects: &'a BTreeMap<Key, T>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a Key, &'a T)> {
    objects.range(Key::new(namespace, "")..).take_while(move |(key, _)| key.namespace == namespace)
}

#[cfg(test)]
mod tests;
