//! What a decision about one fleet is based on, put together from the index. Pure reading.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::DynamicObject;
use rayfleet_api::{RayClusterFleet, names};
use rayfleet_core::capacity;
use rayfleet_core::seen::{ClusterSeen, GroupSeen, PodSeen};

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
        if owns(fleet, cluster) || taken(fleet, cluster).is_some() {
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

/// Whose a RayCluster is that carries the fleet's name and is another's. What an earlier fleet of the name left is about to go.
fn taken(fleet: &RayClusterFleet, cluster: &DynamicObject) -> Option<String> {
    let name = fleet.name_any();
    let owners = cluster.owner_references();
    let of_the_name = owners.iter().any(|owner| owner.kind == names::KIND && owner.name == name);
    let labelled = cluster.labels().get(names::LABEL_FLEET) == Some(&name);
    let owner = owners.iter().find(|owner| owner.controller == Some(true)).or(owners.first())?;
    (labelled && !of_the_name && !owns(fleet, cluster)).then(|| format!("of {} {}", owner.kind, owner.name))
}

/// RayClusters that were made for a fleet of this name and are nobody's now, as `kubectl delete --cascade=orphan` leaves them: key, UID
/// and resource version.
pub(crate) fn orphans_of(known: &Known, fleet: &RayClusterFleet) -> Vec<(Key, String, String)> {
    let (key, name) = (Key::of(fleet), fleet.name_any());
    let orphan = |cluster: &DynamicObject| {
        cluster.owner_references().is_empty()
            && cluster.metadata.deletion_timestamp.is_none()
            && cluster.labels().get(names::LABEL_FLEET) == Some(&name)
            && cluster.labels().get(names::LABEL_MANAGED_BY).is_some_and(|by| by == names::MANAGED_BY)
    };
    within(&known.clusters, &key.namespace)
        .filter(|(_, cluster)| orphan(cluster))
        .map(|(key, cluster)| {
            (key.clone(), cluster.uid().unwrap_or_default(), cluster.resource_version().unwrap_or_default())
        })
        .collect()
}

/// A fleet of the same name may have been there before, and its RayClusters not yet be gone.
fn owns(fleet: &RayClusterFleet, cluster: &DynamicObject) -> bool {
    let uid = fleet.metadata.uid.as_ref();
    uid.is_some_and(|uid| cluster.owner_references().iter().any(|owner| owner.uid == *uid))
}

/// When the RayClusters were created that a fleet owns, one for each.
pub(crate) fn owned_clusters(known: &Known, fleet: &RayClusterFleet) -> Vec<Option<Timestamp>> {
    let all = within(&known.clusters, fleet.metadata.namespace.as_deref().unwrap_or_default());
    all.filter(|(_, cluster)| owns(fleet, cluster)).map(|(_, cluster)| pods::created(&**cluster)).collect()
}

fn group(known: &Known, fleet: &RayClusterFleet, key: &Key, pods: Vec<PodSeen>) -> (GroupSeen, GroupPods) {
    let there = known.clusters.get(key);
    let cluster = there.filter(|cluster| owns(fleet, cluster));
    let taken = there.and_then(|cluster| taken(fleet, cluster));
    // Pods of another's RayCluster are none of this group.
    let pods = if taken.is_some() { Vec::new() } else { pods };
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
    let cluster = cluster.map(|cluster| rayclusters::seen(cluster, known.warnings.get(key).cloned()));
    let seen = GroupSeen {
        cluster: cluster.or_else(|| unlisted(known, fleet, key)),
        endpoint_ready,
        ray: known.ray.get(key).cloned(),
        pods,
        taken,
        refused: None,
    };
    (seen, agent)
}

/// While RayClusters cannot be listed, one that the ledger has is taken for being there: nobody has seen it go.
fn unlisted(known: &Known, fleet: &RayClusterFleet, key: &Key) -> Option<ClusterSeen> {
    let groups = fleet.status.as_ref().map(|status| status.groups.as_slice()).unwrap_or_default();
    let entry = groups.iter().find(|group| group.name == key.name)?;
    let uid = entry.uid.clone().filter(|_| !known.lists_clusters())?;
    Some(ClusterSeen {
        uid,
        slot: Some(entry.slot),
        attempt: entry.attempt,
        pod_revision: entry.revision.clone(),
        ..ClusterSeen::default()
    })
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
