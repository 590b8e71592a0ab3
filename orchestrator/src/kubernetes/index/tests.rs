//! What objects do to the index, and which fleets they mark.

use std::time::Duration;

use rayfleet_api::names;
use serde_json::{Value, json};

use super::*;
use crate::clock;
use crate::fixtures::{object, owner, raw_fleet};
use crate::kubernetes::endpoints::Slice;
use crate::kubernetes::pods::Pod;

impl Store {
    /// Whether a pod of this name is known.
    pub(crate) fn has_pod(&self, pod: &PodKey) -> bool {
        self.pods.contains_key(pod)
    }
}

impl Index {
    /// An object was deleted.
    pub(crate) fn delete<K: Indexed>(&self, object: &K) {
        self.gone::<K>(&object.key());
    }

    /// A whole list at once.
    pub(crate) fn reset<K: Indexed>(&self, objects: Vec<K>) {
        let keys = objects.iter().map(|object| object.key().untyped()).collect();
        self.list(objects);
        self.listed::<K>(&Scope::All, &keys);
    }
}

fn fleet(name: &str, uid: &str, version: &str) -> RayClusterFleet {
    let mut fleet = raw_fleet();
    fleet.metadata.name = Some(name.to_owned());
    fleet.metadata.uid = Some(uid.to_owned());
    fleet.metadata.resource_version = Some(version.to_owned());
    fleet
}

fn labels(fleet: &str, group: &str) -> Value {
    json!({names::LABEL_FLEET: fleet, names::RAY_LABEL_CLUSTER: group, names::RAY_LABEL_NODE_TYPE: "head"})
}

/// What makes the RayCluster of a fleet of this name the owner of its pods.
fn controlled_by_group_of(fleet: &str) -> Value {
    json!([{
        "apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "g", "uid": format!("{fleet}-group"), "controller": true
    }])
}

fn pod(name: &str, fleet: &str, phase: &str) -> Pod {
    object(&json!({
        "metadata": {
            "name": name, "namespace": "n", "uid": name, "labels": labels(fleet, "g"),
            "ownerReferences": controlled_by_group_of(fleet)
        },
        "spec": {"nodeName": "a", "containers": []}, "status": {"phase": phase}
    }))
}

fn cluster(name: &str, fleet: &str) -> DynamicObject {
    object(&json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster",
        "metadata": {
            "name": name, "namespace": "n", "uid": format!("{name}-uid"), "labels": labels(fleet, name),
            "ownerReferences": [owner(fleet, "u-1")]
        }
    }))
}

fn node(gpus: &str, ready: &str, beat: &str) -> Node {
    object(&json!({
        "metadata": {"name": "a", "resourceVersion": beat},
        "status": {
            "allocatable": {"nvidia.com/gpu": gpus},
            "conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]
        }
    }))
}

fn slice(name: &str, pods: &[(&str, bool)]) -> Slice {
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|(pod, ready)| {
            json!({
                "addresses": ["10.0.0.1"], "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "name": pod, "uid": pod}
            })
        })
        .collect();
    object(&json!({
        "metadata": {"name": name, "namespace": "n"}, "addressType": "IPv4", "endpoints": endpoints
    }))
}

/// Takes every marked fleet out of the queue.
async fn marked(index: &Index) -> Vec<String> {
    let mut names = Vec::new();
    while index.fleet_queue.depth() > 0 {
        let next = index.fleet_queue.next(clock::monotonic);
        let key = tokio::time::timeout(Duration::from_secs(1), next).await.unwrap();
        index.fleet_queue.done(&key, rayfleet_runtime::queue::Ended::Done(None));
        names.push(key.name);
    }
    names.sort();
    names
}

async fn with_fleets(names: &[&str]) -> Index {
    let index = Index::default();
    for name in names {
        index.apply(fleet(name, "u-1", "7"));
    }
    marked(&index).await;
    index
}

fn replicas(index: &Index) -> Option<i32> {
    index.read(|store| store.fleets.values().next().and_then(|fleet| fleet.spec.replicas))
}

#[tokio::test]
async fn an_older_state_of_a_fleet_never_replaces_a_newer_one() {
    let index = Index::default();
    let written = |version: &str, replicas: i32| {
        let mut fleet = fleet("f", "u-1", version);
        fleet.spec.replicas = Some(replicas);
        fleet
    };
    index.apply(written("7", 7));
    index.changed(written("10", 10));
    // The watch is behind our own write; a list that was asked for before it may be, too. Versions are numbers, not texts.
    index.apply(written("9", 9));
    assert_eq!(replicas(&index), Some(10));
    index.reset(vec![written("9", 9)]);
    assert_eq!(replicas(&index), Some(10));
    index.apply(written("11", 11));
    assert_eq!(replicas(&index), Some(11));
    // Versions go back when the cluster is restored from a backup: a list that was asked for since then is believed.
    index.listing::<RayClusterFleet>(&Scope::All);
    index.reset(vec![written("6", 6)]);
    assert_eq!(replicas(&index), Some(6));
}

#[tokio::test]
async fn a_fleet_that_was_recreated_replaces_its_predecessor() {
    let index = Index::default();
    index.apply(fleet("f", "u-1", "10"));
    index.apply(fleet("f", "u-2", "9"));
    let uid = index.read(|store| store.fleets[&Key::<String>::new("n", "f")].metadata.uid.clone());
    assert_eq!(uid.as_deref(), Some("u-2"));
}

#[tokio::test]
async fn a_deletion_missed_by_the_watch_is_found_by_the_next_list() {
    let index = with_fleets(&["f", "g", "h"]).await;
    index.apply(pod("p", "f", "Running"));
    index.apply(pod("q", "g", "Running"));
    marked(&index).await;
    index.reset(vec![pod("q", "g", "Running")]);
    assert_eq!(marked(&index).await, ["f", "g"]);
    assert!(index.read(|store| !store.pods.contains_key(&PodKey::new("n", "p"))));

    index.reset(vec![fleet("f", "u-1", "7"), fleet("g", "u-1", "7")]);
    assert!(marked(&index).await.contains(&"h".to_owned()));
    assert_eq!(index.read(|store| store.fleets.len()), 2);
}

#[tokio::test]
async fn a_list_that_was_asked_for_before_a_create_does_not_undo_it() {
    let index = with_fleets(&["f"]).await;
    let there = || index.read(|store| store.clusters.contains_key(&GroupKey::new("n", "f-1")));
    index.listing::<DynamicObject>(&Scope::All);
    index.made(cluster("f-1", "f"));
    index.reset(Vec::<DynamicObject>::new());
    assert!(there());
    // One that was asked for later has the last word.
    index.listing::<DynamicObject>(&Scope::All);
    index.reset(Vec::<DynamicObject>::new());
    assert!(!there());
}

#[tokio::test]
async fn an_own_object_that_was_deleted_is_gone() {
    let index = with_fleets(&["f"]).await;
    index.made(cluster("f-1", "f"));
    index.delete(&cluster("f-1", "f"));
    assert!(index.read(|store| store.clusters.is_empty() && store.made.is_empty()));
    assert_eq!(marked(&index).await, ["f"]);
}

#[tokio::test]
async fn an_object_marks_its_own_fleet_only() {
    let index = with_fleets(&["f", "g"]).await;
    index.apply(pod("p", "f", "Running"));
    assert_eq!(marked(&index).await, ["f"]);
    index.apply(cluster("g-1", "g"));
    assert_eq!(marked(&index).await, ["g"]);
    index.delete(&pod("p", "f", "Running"));
    assert_eq!(marked(&index).await, ["f"]);
    let foreign: Pod = object(&json!({"metadata": {"name": "x", "namespace": "n"}}));
    index.apply(foreign);
    assert_eq!(marked(&index).await, Vec::<String>::new());
}

#[tokio::test]
async fn only_fleets_of_pods_whose_readiness_changed_are_marked() {
    let index = with_fleets(&["f", "g"]).await;
    index.apply(pod("p", "f", "Running"));
    index.apply(pod("q", "g", "Running"));
    marked(&index).await;
    index.apply(slice("s", &[("p", false), ("q", true)]));
    assert_eq!(marked(&index).await, ["f", "g"]);
    index.apply(slice("s", &[("p", true), ("q", true)]));
    assert_eq!(marked(&index).await, ["f"]);
    index.apply(slice("s", &[("p", true), ("q", true)]));
    assert_eq!(marked(&index).await, Vec::<String>::new());
    index.apply(slice("s", &[("p", true)]));
    assert_eq!(marked(&index).await, ["g"]);
    index.delete(&slice("s", &[]));
    assert_eq!(marked(&index).await, ["f"]);
}

#[tokio::test]
async fn a_heartbeat_of_a_node_marks_nothing_and_another_capacity_everything() {
    let index = with_fleets(&["f", "g"]).await;
    index.apply(node("4", "True", "1"));
    assert_eq!(marked(&index).await, ["f", "g"]);
    index.apply(node("4", "True", "2"));
    assert_eq!(marked(&index).await, Vec::<String>::new());
    index.apply(node("8", "True", "3"));
    assert_eq!(marked(&index).await, ["f", "g"]);
    index.apply(node("8", "Unknown", "4"));
    assert_eq!(marked(&index).await, ["f", "g"]);
    index.delete(&node("8", "Unknown", "4"));
    assert_eq!(marked(&index).await, ["f", "g"]);
}

#[tokio::test]
async fn a_heartbeat_of_a_node_keeps_no_second_copy_of_it() {
    let index = with_fleets(&[]).await;
    let room = || index.read(|store| store.nodes["a"].room.clone());
    index.apply(node("4", "True", "1"));
    let before = room();
    index.apply(node("4", "True", "2"));
    assert!(Arc::ptr_eq(&before, &room()));
    index.apply(node("8", "True", "3"));
    assert!(!Arc::ptr_eq(&before, &room()));
}

#[tokio::test]
async fn room_that_another_pod_leaves_marks_the_fleets_that_wait_for_it() {
    let index = with_fleets(&["f"]).await;
    let mut waiting = fleet("w", "u-1", "7");
    let stalled = json!({
        "conditions": [{"type": "Stalled", "status": "True", "reason": "NoRoom", "message": "m"}]
    });
    waiting.status = serde_json::from_value(stalled).unwrap();
    index.apply(waiting);
    index.apply(pod("p", "other", "Running"));
    index.apply(pod("q", "other", "Running"));
    marked(&index).await;
    index.apply(pod("p", "other", "Succeeded"));
    assert_eq!(marked(&index).await, ["other", "w"]);
    // It gave its room back already.
    index.delete(&pod("p", "other", "Succeeded"));
    assert_eq!(marked(&index).await, ["other"]);
    index.delete(&pod("q", "other", "Running"));
    assert_eq!(marked(&index).await, ["other", "w"]);
}

fn list_all_but_clusters(index: &Index) {
    index.reset(vec![fleet("f", "u-1", "7")]);
    index.reset(Vec::<Pod>::new());
    index.reset(Vec::<Node>::new());
    index.reset(Vec::<ResourceQuota>::new());
    index.reset(Vec::<Slice>::new());
    index.reset(Vec::<Service>::new());
    index.reset(Vec::<ControllerRevision>::new());
    index.reset(Vec::<Warning>::new());
}

#[tokio::test]
async fn nothing_is_decided_before_everything_was_listed() {
    let index = Index::default();
    list_all_but_clusters(&index);
    assert!(!index.read(|store| store.is_synced("n")));
    marked(&index).await;
    index.reset(Vec::<DynamicObject>::new());
    assert!(index.read(|store| store.is_synced("n")));
    assert_eq!(marked(&index).await, ["f"], "what was put off is looked at now");
}

/// RayClusters cannot be listed, for long enough.
fn missing(index: &Index) {
    let now = crate::clock::monotonic();
    for second in [0, 20, 40] {
        index.kuberay_missing("no CRD", now + Duration::from_secs(second));
    }
}

#[tokio::test]
async fn a_crd_that_is_not_known_for_a_moment_is_not_missing() {
    let index = Index::default();
    list_all_but_clusters(&index);
    index.reset(Vec::<DynamicObject>::new());
    marked(&index).await;
    let now = crate::clock::monotonic();
    let after = |seconds: &[u64]| {
        index.reset(Vec::<DynamicObject>::new());
        for second in seconds {
            index.kuberay_missing("no CRD", now + Duration::from_secs(*second));
        }
        matches!(index.read(|store| store.kuberay.clone()), KubeRay::Missing(_))
    };
    for (seconds, is_missing) in [
        (&[0][..], false),
        (&[0, 60], false),
        (&[0, 1, 2, 3, 4, 29], false),
        (&[0, 1, 30], true),
        (&[0, 40, 80], true),
    ] {
        assert_eq!(after(seconds), is_missing, "{seconds:?}");
    }
}

#[tokio::test]
async fn no_kind_may_be_missing() {
    let index = Index::default();
    missing(&index);
    index.reset(Vec::<Pod>::new());
    index.reset(Vec::<Node>::new());
    assert!(!index.read(|store| store.is_synced("n")));
}

#[tokio::test]
async fn kuberay_that_is_missing_or_back_marks_all_fleets() {
    let index = Index::default();
    list_all_but_clusters(&index);
    index.reset(Vec::<DynamicObject>::new());
    marked(&index).await;
    missing(&index);
    assert_eq!(marked(&index).await, ["f"]);
    missing(&index);
    assert_eq!(marked(&index).await, Vec::<String>::new(), "once is enough");
    assert!(index.read(|store| store.is_synced("n")));
    index.reset(Vec::<DynamicObject>::new());
    assert_eq!(marked(&index).await, ["f"]);
    assert_eq!(index.read(|store| store.kuberay.clone()), KubeRay::Installed);
}

#[tokio::test]
async fn a_dashboard_that_says_the_same_marks_nothing() {
    let index = with_fleets(&["f"]).await;
    let (fleet, group) = (Key::new("n", "f"), GroupKey::new("n", "f-1"));
    let say = |second: i64, state: Result<_, String>| {
        let at = jiff::Timestamp::from_second(second).unwrap();
        index.ray_seen(
            &fleet,
            &group,
            ObservedRay {
                at,
                state,
                unreachable_ips: Vec::new(),
                reach: rayfleet_core::observed::Reach::Reachable,
            },
        );
    };
    say(1, Err("refused".into()));
    assert_eq!(marked(&index).await, ["f"]);
    say(2, Err("refused".into()));
    assert_eq!(marked(&index).await, Vec::<String>::new());
    assert_eq!(index.read(|store| store.ray[&group].at.as_second()), 2, "but it was asked later");
    say(3, Ok(rayfleet_core::observed::RayReport::default()));
    assert_eq!(marked(&index).await, ["f"]);
}

#[tokio::test]
async fn a_warning_of_kuberay_reaches_the_fleet_and_goes_with_the_cluster() {
    let index = with_fleets(&["f"]).await;
    index.apply(cluster("f-1", "f"));
    marked(&index).await;
    index.apply(Warning {
        cluster: Key::new("n", "f-1"),
        uid: String::new(),
        text: "headGroupSpec is bad".into(),
    });
    assert_eq!(marked(&index).await, ["f"]);
    let words = index.read(|store| store.warnings[&GroupKey::new("n", "f-1")].text.clone());
    assert_eq!(words, "headGroupSpec is bad");
    index.delete(&cluster("f-1", "f"));
    assert!(index.read(|store| store.warnings.is_empty()));
}

/// Every kind with versions: what is known already concerns nobody.
#[tokio::test]
async fn an_own_write_that_comes_back_marks_nothing() {
    let index = with_fleets(&["f"]).await;
    let with_version = |object: Value, version: &str| {
        let mut object = object;
        object["metadata"]["resourceVersion"] = json!(version);
        object
    };
    let written = json!({
        "metadata": {
            "name": "p", "namespace": "n", "uid": "p", "labels": labels("f", "g"),
            "ownerReferences": controlled_by_group_of("f")
        },
        "spec": {}
    });
    let made = json!({"metadata": {"name": "f-1", "namespace": "n", "uid": "c", "ownerReferences": [owner("f", "u-1")]}});
    index.made(object::<DynamicObject>(&with_version(made.clone(), "20")));
    index.made(object::<Pod>(&with_version(written.clone(), "21")));
    index.changed(fleet("f", "u-1", "22"));
    assert_eq!(marked(&index).await, ["f"]);
    index.apply(object::<DynamicObject>(&with_version(made.clone(), "20")));
    index.apply(object::<Pod>(&with_version(written.clone(), "21")));
    index.apply(fleet("f", "u-1", "22"));
    assert_eq!(marked(&index).await, Vec::<String>::new(), "the watch tells of what was written here");
    // What is older than the own write is no state to go back to.
    index.apply(object::<Pod>(&with_version(written.clone(), "19")));
    assert_eq!(marked(&index).await, Vec::<String>::new());
    index.reset(vec![object::<Pod>(&with_version(written.clone(), "21"))]);
    marked(&index).await;
    index.reset(vec![object::<Pod>(&with_version(written.clone(), "21"))]);
    assert_eq!(marked(&index).await, Vec::<String>::new(), "a list that says what is known");
    index.apply(object::<Pod>(&with_version(written, "23")));
    assert_eq!(marked(&index).await, ["f"]);
}

#[tokio::test]
async fn a_pod_marks_the_fleet_of_the_cluster_that_controls_it_whatever_its_labels_say() {
    let index = with_fleets(&["f", "g"]).await;
    index.apply(object::<DynamicObject>(&json!({
        "metadata": {"name": "f-1", "namespace": "n", "uid": "g-group", "ownerReferences": [owner("f", "u-1")]}
    })));
    marked(&index).await;
    index.apply(pod("p", "g", "Running"));
    assert_eq!(marked(&index).await, ["f"]);
}

#[tokio::test]
async fn nothing_is_left_of_what_is_gone() {
    let index = with_fleets(&[]).await;
    index.apply(cluster("f-1", "f"));
    index.apply(pod("p", "f", "Running"));
    index.apply(node("4", "True", "1"));
    index.apply(slice("s", &[("p", true)]));
    index.reset(Vec::<Slice>::new());
    index.reset(Vec::<Pod>::new());
    index.reset(Vec::<DynamicObject>::new());
    index.reset(Vec::<Node>::new());
    index.read(|store| {
        assert!(store.pods.is_empty() && store.clusters.is_empty() && store.nodes.is_empty());
        assert!(store.slices.is_empty() && store.endpoints.is_empty());
        assert_eq!(format!("{:?}", store.members), format!("{:?}", Members::default()));
        assert_eq!(format!("{:?}", store.tally), format!("{:?}", Tally::default()));
    });
}

#[tokio::test]
async fn a_list_of_one_namespace_says_nothing_about_another() {
    let index = Index::of(&"n,m".parse().unwrap());
    let pod = |namespace: &str, name: &str| {
        object::<Pod>(
            &json!({"metadata": {"name": name, "namespace": namespace, "resourceVersion": "1"}, "spec": {"containers": []}}),
        )
    };
    for (namespace, name) in [("n", "a"), ("m", "b"), ("other", "c")] {
        index.apply(pod(namespace, name));
    }
    index.made(pod("m", "made"));
    let there = |index: &Index| {
        let keys = [("n", "a"), ("m", "b"), ("m", "made"), ("other", "c")];
        keys.map(|(namespace, name)| index.read(|store| store.has_pod(&Key::new(namespace, name))))
    };
    let within = |namespace: &str| Scope::In(namespace.to_owned());
    let outside = Scope::Outside(["m".to_owned(), "n".to_owned()].into());
    index.listing::<Pod>(&within("n"));
    index.listed::<Pod>(&within("n"), &BTreeSet::new());
    assert_eq!(there(&index), [false, true, true, true]);
    index.listed::<Pod>(&outside, &BTreeSet::new());
    assert_eq!(there(&index), [false, true, true, false]);
    index.listed::<Pod>(&within("m"), &BTreeSet::new());
    assert_eq!(there(&index), [false, false, true, false], "it was made since the list was asked for");
    index.listing::<Pod>(&within("m"));
    index.listed::<Pod>(&within("m"), &BTreeSet::new());
    assert_eq!(there(&index), [false; 4]);
}

#[tokio::test]
async fn rights_that_come_back_are_used_again() {
    let index = Index::of(&"n".parse().unwrap());
    let now = crate::clock::monotonic();
    let refuse = || {
        [0, 20, 40].map(|second| index.refused(Kind::Node, &Scope::All, now + Duration::from_secs(second)))
    };
    assert_eq!(refuse(), [false, false, true], "only for long enough");
    assert_eq!(refuse(), [false; 3], "it is said once");
    assert!(!index.read(Store::knows_room));
    index.listed::<Node>(&Scope::All, &BTreeSet::new());
    assert!(index.read(Store::knows_room));
    assert_eq!(refuse(), [false, false, true]);
}
