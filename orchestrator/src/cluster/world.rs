//! What a decision about one fleet is based on, put together from the index. Pure reading.

use std::collections::BTreeMap;

use kube::ResourceExt;
use rayfleet_api::RayClusterFleet;
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
    /// Secret with the Ray token, when authentication is on.
    pub token_secret: Option<String>,
}

/// Every group of a fleet, by name: those of the ledger and those whose RayCluster or pods are there.
pub(crate) fn groups_of(known: &Known, fleet: &RayClusterFleet) -> BTreeMap<String, (GroupSeen, GroupPods)> {
    let key = Key::of(fleet);
    let ledger = fleet.status.iter().flat_map(|status| &status.groups).map(|group| group.name.clone());
    let mut pods_of: BTreeMap<String, Vec<PodSeen>> = ledger.map(|name| (name, Vec::new())).collect();
    for (cluster_key, cluster) in within(&known.clusters, &key.namespace) {
        let owned =
            cluster.owner_references().iter().any(|owner| Some(&owner.uid) == fleet.metadata.uid.as_ref());
        if owned {
            pods_of.entry(cluster_key.name.clone()).or_default();
        }
    }
    for (_, pod) in within(&known.pods, &key.namespace) {
        if let Some((group, owner)) = pods::group_and_fleet(pod)
            && owner == key.name
        {
            pods_of.entry(group).or_default().push(pods::seen(pod));
        }
    }
    pods_of.into_iter().map(|(name, pods)| group(known, &key, name, pods)).collect()
}

fn group(known: &Known, fleet: &Key, name: String, pods: Vec<PodSeen>) -> (String, (GroupSeen, GroupPods)) {
    let key = fleet.sibling(name.clone());
    let cluster = known.clusters.get(&key);
    let alive = || pods.iter().filter(|pod| !pod.deleting);
    let head = alive().find(|pod| pod.head);
    let agent = GroupPods {
        head_ip: head.and_then(|head| head.ip.clone()),
        ips: alive().filter_map(|pod| pod.ip.clone()).collect(),
        token_secret: cluster.and_then(|cluster| rayclusters::token_secret(cluster)),
    };
    let endpoint_ready =
        pods.iter().find(|pod| pod.head).and_then(|head| endpoint_ready(known, &key, &head.name));
    let seen = GroupSeen {
        cluster: cluster.map(|cluster| rayclusters::seen(cluster, known.warnings.get(&key).cloned())),
        endpoint_ready,
        ray: known.ray.get(&key).cloned(),
        pods,
    };
    (name, (seen, agent))
}

/// Whether any EndpointSlice lists the pod as ready; `None` when none lists it at all.
fn endpoint_ready(known: &Known, group: &Key, pod: &str) -> Option<bool> {
    let listed = within(&known.slices, &group.namespace).filter_map(|(_, slice)| slice.get(pod).copied());
    listed.reduce(|any, ready| any || ready)
}

/// The objects of one namespace.
fn within<'a, T>(
    objects: &'a BTreeMap<Key, T>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a Key, &'a T)> {
    objects.range(Key::new(namespace, "")..).take_while(move |(key, _)| key.namespace == namespace)
}
