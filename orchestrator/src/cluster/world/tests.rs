//! Groups as they are put together from the index.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rayfleet_api::names;
use rayfleet_core::seen::RaySeen;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::cluster::Index;
use crate::fixtures::raw_fleet;

fn object<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn cluster(namespace: &str, name: &str, owner: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("{name}-uid"),
            "labels": {names::LABEL_FLEET: "f"},
            "ownerReferences": [{
                "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet",
                "name": "f", "uid": owner
            }]
        },
        "spec": {"authOptions": {"mode": "token"}}
    }))
}

fn pod(name: &str, group: &str, role: &str, ip: &str, deleting: bool) -> Pod {
    object(json!({
        "metadata": {
            "name": name, "namespace": "n",
            "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z"),
            "labels": {
                names::LABEL_FLEET: "f", names::RAY_LABEL_CLUSTER: group, names::RAY_LABEL_NODE_TYPE: role
            }
        },
        "spec": {"containers": []}, "status": {"podIP": ip}
    }))
}

fn slice(name: &str, pod: &str, conditions: &Value) -> EndpointSlice {
    object(json!({
        "metadata": {"name": name, "namespace": "n"}, "addressType": "IPv4",
        "endpoints": [{
            "addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": {"kind": "Pod", "name": pod}
        }]
    }))
}

fn fleet(groups: &[&str]) -> RayClusterFleet {
    let mut fleet = raw_fleet();
    let groups: Vec<Value> = groups
        .iter()
        .map(|name| {
            serde_json::to_value(rayfleet_api::status::GroupStatus {
                name: (*name).to_owned(),
                ..Default::default()
            })
            .unwrap()
        })
        .collect();
    fleet.status = object(json!({ "groups": groups }));
    fleet
}

fn groups(index: &Index, fleet: &RayClusterFleet) -> BTreeMap<String, (GroupSeen, GroupPods)> {
    index.read(|known| groups_of(known, fleet))
}

#[test]
fn every_trace_of_a_group_counts() {
    let index = Index::default();
    index.apply(cluster("n", "bare", "u-1"));
    index.apply(pod("left-head", "leftover", "head", "", true));
    let groups = groups(&index, &fleet(&["planned"]));
    assert_eq!(groups.keys().collect::<Vec<_>>(), ["bare", "leftover", "planned"]);
    assert_eq!(groups["planned"].0, GroupSeen::default());
    let (bare, _) = &groups["bare"];
    assert!(bare.cluster.is_some() && bare.pods.is_empty());
    let (leftover, agent) = &groups["leftover"];
    assert!(leftover.cluster.is_none() && leftover.pods[0].deleting);
    assert_eq!((&agent.head_ip, agent.ips.len()), (&None, 0));
}

#[test]
fn clusters_of_another_owner_or_namespace_are_not_taken() {
    let index = Index::default();
    index.apply(cluster("n", "old", "u-0"));
    index.apply(cluster("m", "elsewhere", "u-1"));
    index.apply(cluster("n", "planned", "u-0"));
    index.apply(pod("old-head", "old", "head", "", false));
    let groups = groups(&index, &fleet(&["planned"]));
    // Pods of the fleet's predecessor are seen, but its RayCluster is never this fleet's.
    assert_eq!(groups.keys().collect::<Vec<_>>(), ["old", "planned"]);
    assert!(groups.values().all(|(seen, agent)| seen.cluster.is_none() && agent.token_secret.is_none()));
}

#[test]
fn a_fleet_without_uid_owns_nothing() {
    let index = Index::default();
    index.apply(cluster("n", "g", ""));
    let mut fleet = fleet(&[]);
    fleet.metadata.uid = None;
    assert!(groups(&index, &fleet).is_empty());
}

#[test]
fn pods_of_another_fleet_are_not_taken() {
    let index = Index::default();
    let mut other = pod("p", "g", "head", "", false);
    other.labels_mut().insert(names::LABEL_FLEET.to_owned(), "f2".to_owned());
    index.apply(other);
    assert!(groups(&index, &fleet(&[])).is_empty());
}

#[test]
fn the_agent_is_told_of_living_pods_only() {
    let index = Index::default();
    index.apply(cluster("n", "g", "u-1"));
    index.apply(pod("a-old-head", "g", "head", "10.0.0.1", true));
    index.apply(pod("b-head", "g", "head", "10.0.0.2", false));
    index.apply(pod("c-worker", "g", "worker", "10.0.0.3", false));
    index.apply(pod("d-worker", "g", "worker", "", false));
    let groups = groups(&index, &fleet(&[]));
    let (seen, agent) = &groups["g"];
    assert_eq!(agent.head_ip.as_deref(), Some("10.0.0.2"));
    assert_eq!(agent.ips, ["10.0.0.2", "10.0.0.3"]);
    assert_eq!(agent.token_secret.as_deref(), Some("g"));
    assert_eq!(seen.pods.len(), 4);
}

#[test]
fn what_its_dashboard_said_belongs_to_the_group() {
    let index = Index::default();
    index.apply(cluster("n", "g", "u-1"));
    let ray = RaySeen { at: jiff::Timestamp::UNIX_EPOCH, state: Err("refused".into()), no_sign: Vec::new() };
    index.ray_seen(&Key::new("n", "f"), &Key::new("n", "g"), ray.clone());
    assert_eq!(groups(&index, &fleet(&[]))["g"].0.ray, Some(ray));
}

fn endpoint(slices: &[EndpointSlice]) -> Option<bool> {
    let index = Index::default();
    index.apply(pod("head", "g", "head", "10.0.0.1", false));
    for slice in slices {
        index.apply(slice.clone());
    }
    groups(&index, &fleet(&[]))["g"].0.endpoint_ready
}

#[test]
fn an_endpoint_is_open_when_any_slice_says_so() {
    let closed = || slice("a", "head", &json!({"ready": false, "serving": false}));
    let open = || slice("b", "head", &json!({"ready": true, "serving": true}));
    assert_eq!(endpoint(&[]), None);
    assert_eq!(endpoint(&[slice("a", "another", &json!({"ready": true}))]), None);
    assert_eq!(endpoint(&[closed()]), Some(false));
    assert_eq!(endpoint(&[closed(), open()]), Some(true));
}

#[test]
fn kuberays_own_head_service_does_not_open_it() {
    let headless = slice("g-head-svc", "head", &json!({"ready": true, "serving": false}));
    assert_eq!(endpoint(&[headless]), Some(false));
}

#[test]
fn an_old_head_that_is_ending_does_not_hide_the_new_one() {
    let index = Index::default();
    index.apply(pod("a-old", "g", "head", "", true));
    index.apply(pod("b-new", "g", "head", "", false));
    index.apply(slice("a", "a-old", &json!({"ready": false, "serving": true, "terminating": true})));
    index.apply(slice("b", "b-new", &json!({"ready": true, "serving": true})));
    assert_eq!(groups(&index, &fleet(&[]))["g"].0.endpoint_ready, Some(true));
}

#[test]
fn a_pod_is_on_a_lost_node_only_if_kubernetes_says_so() {
    let lost = |status: Option<&str>| {
        let index = Index::default();
        index.apply(cluster("n", "f-1-0", "u-1"));
        let mut placed = pod("p", "f-1-0", "head", "10.0.0.1", false);
        placed.spec = Some(object(json!({"nodeName": "node-a", "containers": []})));
        index.apply(placed);
        if let Some(status) = status {
            index.apply(object::<k8s_openapi::api::core::v1::Node>(json!({
                "metadata": {"name": "node-a"},
                "status": {"conditions": [{"type": "Ready", "status": status}]}
            })));
        }
        groups(&index, &fleet(&["f-1-0"]))["f-1-0"].0.pods[0].node_lost
    };
    assert!(lost(Some("Unknown")));
    assert!(!lost(Some("True")) && !lost(Some("False")), "a kubelet that speaks is there");
    assert!(!lost(None), "a node may be known later than its first pod");
}
