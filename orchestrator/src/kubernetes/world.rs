//! What a decision about one fleet is based on, put together from the index. Pure reading.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use rayfleet_api::{GroupName, PodName, RayClusterFleet, names};
use rayfleet_core::capacity;
use rayfleet_core::heads::{head_of, live_of};
use rayfleet_core::observed::{ObservedGroup, ObservedPod, ObservedRayCluster};

use super::index::Store;
use super::objects::{controller, is_fleet};
use super::owners::{is_orphan, owner_in_words};
use super::pods::Member;
use super::{GroupKey, Key, PodKey, pod_events, rayclusters};

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
    /// Kubernetes holds all of them ready, on nodes that are.
    pub well: bool,
    /// Secret with the Ray token, when authentication is on.
    pub token_secret: Option<String>,
}

/// Every group of a fleet, by name: those of the ledger and those whose RayCluster or pods are there.
///
/// A pod is a group's when the group's RayCluster controls it: the one that is there, or that the ledger has the UID of. Whoever copies
/// labels makes no pod of a group. Pods that are ending count also without either: what they leave is to be waited for, and nobody
/// keeps a pod for long whose owner is gone.
pub(crate) fn groups_of(
    store: &Store,
    fleet: &RayClusterFleet,
) -> BTreeMap<GroupName, (ObservedGroup, GroupPods)> {
    let key = Key::of(fleet);
    let pods_of = |uid: &str| -> Vec<ObservedPod> {
        store.pods_of(&key.namespace, uid).map(|pod| observed(store, &key.namespace, pod)).collect()
    };
    let mut groups: BTreeMap<GroupName, Vec<ObservedPod>> = BTreeMap::new();
    for group in fleet.status.iter().flat_map(|status| &status.groups) {
        let cluster = store
            .clusters
            .get(&GroupKey::new(&key.namespace, group.name.clone()))
            .filter(|cluster| owns(fleet, cluster));
        let there = cluster.and_then(|cluster| cluster.uid());
        let uid = there.as_deref().or(group.uid.as_deref());
        groups.insert(group.name.clone(), uid.map(pods_of).unwrap_or_default());
    }
    for (cluster_key, cluster) in concerning(store, fleet) {
        if taken(fleet, cluster).is_some() {
            groups.entry(cluster_key.name.clone()).or_default();
        } else if owns(fleet, cluster)
            && !groups.contains_key(&cluster_key.name)
            && is_plausible(fleet, cluster)
        {
            groups.insert(cluster_key.name.clone(), pods_of(&cluster.uid().unwrap_or_default()));
        }
    }
    for pod in store.members.labelled(&key).filter_map(|pod| store.member(pod)) {
        let Some(cluster) = pod.cluster.as_ref().filter(|_| pod.observed.deleting) else { continue };
        if store.members.cluster(&key.namespace, &cluster.uid).is_none() {
            let pods = groups.entry(cluster.name.clone()).or_default();
            if !pods.iter().any(|there| there.uid == pod.observed.uid) {
                pods.push(observed(store, &key.namespace, pod));
            }
        }
    }
    groups
        .into_iter()
        .map(|(name, pods)| (name.clone(), group(store, fleet, &key.sibling(name), pods)))
        .collect()
}

/// Pods that carry the labels of one of the fleet's groups and that no RayCluster controls, by name. They count for nothing here; a
/// Service that selects by labels may send them requests all the same.
pub(crate) fn foreign_pods_of(store: &Store, fleet: &RayClusterFleet) -> Vec<PodName> {
    let key = Key::of(fleet);
    let labelled = store.members.labelled(&key).filter_map(|pod| store.member(pod));
    let strays = labelled.filter(|pod| {
        let group = pod.group.clone().map(|group| GroupKey::new(&key.namespace, group));
        pod.cluster.is_none()
            && !pod.observed.deleting
            && group.is_some_and(|group| store.clusters.contains_key(&group))
    });
    strays.map(|pod| pod.observed.name.clone()).collect()
}

/// What is known of a pod of a group, its node included.
fn observed(store: &Store, namespace: &str, pod: &Member) -> ObservedPod {
    let node = pod.observed.node.as_ref().and_then(|node| store.nodes.get(node));
    let reported = || {
        let problem =
            pod_events::of(store, &Key::new(namespace, pod.observed.name.clone()), &pod.observed.uid);
        problem.filter(|_| pod.waits)
    };
    ObservedPod {
        node_lost: node.is_some_and(|node| node.lost),
        node_closing: node.and_then(|node| capacity::closing(&node.room)),
        problem: pod.observed.problem.clone().or_else(reported),
        ..pod.observed.clone()
    }
}

/// Whose a RayCluster is that carries the fleet's name and is another's. What an earlier fleet of the name left is about to go.
fn taken(fleet: &RayClusterFleet, cluster: &DynamicObject) -> Option<String> {
    let name = fleet.name_any();
    let owners = cluster.owner_references();
    let of_the_name = owners.iter().any(|owner| owner.kind == names::KIND && owner.name == name);
    let labelled = cluster.labels().get(names::LABEL_FLEET) == Some(&name);
    (labelled && !owners.is_empty() && !of_the_name && !owns(fleet, cluster)).then(|| owner_in_words(cluster))
}

/// RayClusters that were made for a fleet of this name and are nobody's now, as `kubectl delete --cascade=orphan` leaves them.
pub(crate) fn orphans_of(store: &Store, fleet: &RayClusterFleet) -> Vec<Arc<DynamicObject>> {
    let name = fleet.name_any();
    let orphan =
        |cluster: &DynamicObject| is_orphan(cluster, &name) && cluster.metadata.deletion_timestamp.is_none();
    concerning(store, fleet).map(|(_, cluster)| cluster).filter(|cluster| orphan(cluster)).cloned().collect()
}

/// RayClusters that the fleet controls or whose label names it: of no other one is anything to be said here.
fn concerning<'a>(
    store: &'a Store,
    fleet: &RayClusterFleet,
) -> impl Iterator<Item = (&'a GroupKey, &'a Arc<DynamicObject>)> + use<'a> {
    store.clusters.concerning(&Key::of(fleet), fleet.metadata.uid.as_deref().unwrap_or_default())
}

/// A fleet of the same name may have been there before, and its RayClusters not yet be gone. Only who controls a RayCluster owns it.
fn owns(fleet: &RayClusterFleet, cluster: &DynamicObject) -> bool {
    let owner = controller(cluster.owner_references());
    fleet
        .metadata
        .uid
        .as_ref()
        .is_some_and(|uid| owner.is_some_and(|owner| owner.uid == *uid && is_fleet(owner)))
}

/// Whether a RayCluster that the ledger does not have looks like one that was made here: somebody may have given one of his own the
/// fleet as its owner.
fn is_plausible(fleet: &RayClusterFleet, cluster: &DynamicObject) -> bool {
    let label = |name: &str| cluster.labels().get(name).map(String::as_str).unwrap_or_default();
    label(names::LABEL_FLEET) == fleet.name_any()
        && label(names::LABEL_GROUP) == cluster.name_any()
        && label(names::LABEL_SLOT).parse::<u32>().is_ok()
        && !label(names::LABEL_POD_REVISION).is_empty()
}

/// When the RayClusters were created that a fleet owns, one for each.
pub(crate) fn owned_clusters(store: &Store, fleet: &RayClusterFleet) -> Vec<Option<Timestamp>> {
    let created = |cluster: &DynamicObject| cluster.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let owned = concerning(store, fleet).filter(|(_, cluster)| owns(fleet, cluster));
    owned.map(|(_, cluster)| created(cluster)).collect()
}

fn group(
    store: &Store,
    fleet: &RayClusterFleet,
    key: &GroupKey,
    pods: Vec<ObservedPod>,
) -> (ObservedGroup, GroupPods) {
    let there = store.clusters.get(key);
    let cluster = there.filter(|cluster| owns(fleet, cluster));
    let taken = there.and_then(|cluster| taken(fleet, cluster));
    // Pods of another's RayCluster are none of this group.
    let pods = if taken.is_some() { Vec::new() } else { pods };
    // A head that was told to go is asked for as long as its containers run: its engine is drained.
    let head = head_of(&pods);
    let member = head.and_then(|head| store.member(&PodKey::new(&key.namespace, head.name.clone())));
    // What the head runs with is there also while RayClusters cannot be listed.
    let own_port = match cluster {
        Some(cluster) => rayclusters::own_port(cluster),
        None => member.and_then(|head| head.own_port),
    };
    let agent = GroupPods {
        head_ip: head.and_then(|head| head.ip.clone()),
        ips: live_of(&pods).filter_map(|pod| pod.ip.clone()).collect(),
        dashboard_port: rayclusters::dashboard_port(
            cluster.map_or(&fleet.spec.template.spec, |cluster| &cluster.data["spec"]),
        ),
        own_port,
        well: false,
        token_secret: member.and_then(|head| head.token_secret.clone()),
    };
    // KubeRay may make a new head while the old one is still ending.
    let heads = pods.iter().filter(|pod| pod.head);
    let endpoint_ready = heads
        .filter_map(|head| store.endpoint_ready(&key.namespace, &head.uid))
        .reduce(|any, ready| any || ready);
    let warning = store.warnings.get(key).zip(cluster.and_then(|cluster| cluster.uid()));
    let warning = warning.filter(|(warning, uid)| warning.uid.is_empty() || warning.uid == *uid);
    let warning = warning.map(|(warning, _)| warning.text.clone());
    let cluster = cluster.map(|cluster| rayclusters::observed(cluster, warning));
    let observed = ObservedGroup {
        cluster: cluster.or_else(|| unlisted(store, fleet, key, own_port)),
        endpoint_ready,
        ray: store.ray.get(key).cloned(),
        pods,
        taken,
        refused: None,
    };
    let agent = GroupPods { well: observed.pods_are_well(), ..agent };
    (observed, agent)
}

/// While RayClusters cannot be listed, one that the ledger has is taken for being there: nobody has observed it go.
fn unlisted(
    store: &Store,
    fleet: &RayClusterFleet,
    key: &GroupKey,
    own_port: Option<u16>,
) -> Option<ObservedRayCluster> {
    let groups = fleet.status.as_ref().map(|status| status.groups.as_slice()).unwrap_or_default();
    let entry = groups.iter().find(|group| group.name == key.name)?;
    let uid = entry.uid.clone().filter(|_| !store.lists_clusters(&key.namespace))?;
    Some(ObservedRayCluster {
        uid,
        slot: Some(entry.slot),
        attempt: entry.attempt,
        pod_revision: entry.revision.clone(),
        own_port,
        ..ObservedRayCluster::default()
    })
}

/// The objects of one namespace.
pub(super) fn within<'a, N: Default + Ord, T>(
    objects: &'a BTreeMap<Key<N>, T>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a Key<N>, &'a T)> {
    objects
        .range(Key::<N>::new(namespace, N::default())..)
        .take_while(move |(key, _)| key.namespace == namespace)
}

#[cfg(test)]
mod tests;
