//! Groups as they are put together from the index.

use rayfleet_api::{GroupName, names};
use rayfleet_core::observed::{ObservedRay, Reach};
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{object, owner, raw_fleet};
use crate::kubernetes::Index;
use crate::kubernetes::endpoints::Slice;
use crate::kubernetes::index::Warning;
use crate::kubernetes::nodes::Node;
use crate::kubernetes::objects::Watched as _;
use crate::kubernetes::pod_events::PodEvent;
use crate::kubernetes::pods::Pod;

/// A RayCluster as it is made here; its UID is its name and `-uid`.
fn cluster(namespace: &str, name: &str, fleet_uid: &str) -> DynamicObject {
    object(&cluster_object(namespace, name, fleet_uid))
}

fn cluster_object(namespace: &str, name: &str, fleet_uid: &str) -> Value {
    let (revision, slot) = name.strip_prefix("f-").and_then(|rest| rest.split_once('-')).unwrap_or_default();
    json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("{name}-uid"),
            "labels": {
                names::LABEL_FLEET: "f", names::LABEL_GROUP: name, names::LABEL_POD_REVISION: revision,
                names::LABEL_SLOT: slot
            },
            "ownerReferences": [owner("f", fleet_uid)]
        },
        "spec": {}
    })
}

/// A pod of a group; its UID is its name.
fn pod(name: &str, group: &str, role: &str, ip: &str, deleting: bool) -> Pod {
    object(&pod_object(name, group, role, ip, deleting))
}

fn pod_object(name: &str, group: &str, role: &str, ip: &str, deleting: bool) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "n", "uid": name,
            "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z"),
            "labels": {
                names::LABEL_FLEET: "f", names::RAY_LABEL_CLUSTER: group, names::RAY_LABEL_NODE_TYPE: role
            },
            "ownerReferences": [{
                "apiVersion": "ray.io/v1", "kind": "RayCluster", "name": group, "uid": format!("{group}-uid"),
                "controller": true
            }]
        },
        "spec": {"containers": [{"name": "ray", "env": [
            {"name": "RAY_AUTH_MODE", "value": "token"},
            {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"name": format!("{group}-token"), "key": "auth_token"}}}
        ]}]},
        "status": {"podIP": ip}
    })
}

/// The same with the labels alone.
fn stray(name: &str, group: &str, role: &str) -> Pod {
    let mut stray = pod_object(name, group, role, "10.6.6.6", false);
    stray["metadata"]["ownerReferences"] = Value::Null;
    object(&stray)
}

fn slice(name: &str, pod: &str, conditions: &Value) -> Slice {
    object(&json!({
        "metadata": {"name": name, "namespace": "n"}, "addressType": "IPv4",
        "endpoints": [{
            "addresses": ["10.0.0.1"], "conditions": conditions,
            "targetRef": {"kind": "Pod", "name": pod, "uid": pod}
        }]
    }))
}

fn fleet(groups: &[&str]) -> RayClusterFleet {
    let mut fleet = raw_fleet();
    let groups: Vec<Value> = groups
        .iter()
        .map(|name| {
            serde_json::to_value(rayfleet_api::status::GroupStatus {
                name: (*name).into(),
                ..Default::default()
            })
            .unwrap()
        })
        .collect();
    fleet.status = serde_json::from_value(json!({ "groups": groups })).unwrap();
    fleet
}

fn groups(index: &Index, fleet: &RayClusterFleet) -> BTreeMap<GroupName, (ObservedGroup, GroupPods)> {
    index.read(|store| groups_of(store, fleet))
}

#[test]
fn every_trace_of_a_group_counts() {
    let index = Index::default();
    index.apply(cluster("n", "f-abc-0", "u-1"));
    index.apply(pod("left-head", "leftover", "head", "", true));
    let groups = groups(&index, &fleet(&["planned"]));
    assert_eq!(groups.keys().collect::<Vec<_>>(), ["f-abc-0", "leftover", "planned"]);
    assert_eq!(groups["planned"].0, ObservedGroup::default());
    let (bare, _) = &groups["f-abc-0"];
    assert!(bare.cluster.is_some() && bare.pods.is_empty());
    let (leftover, agent) = &groups["leftover"];
    assert!(leftover.cluster.is_none() && leftover.pods[0].deleting);
    assert_eq!((&agent.head_ip, agent.ips.len()), (&None, 0));
}

#[test]
fn clusters_of_another_owner_or_namespace_are_not_taken() {
    let index = Index::default();
    index.apply(cluster("n", "f-abc-0", "u-0"));
    index.apply(cluster("m", "f-abc-1", "u-1"));
    index.apply(cluster("n", "planned", "u-0"));
    index.apply(pod("old-head", "f-abc-0", "head", "", false));
    let groups = groups(&index, &fleet(&["planned"]));
    assert_eq!(groups.keys().collect::<Vec<_>>(), ["planned"], "its predecessor's are not this fleet's");
    assert!(groups["planned"].0.cluster.is_none() && groups["planned"].1.token_secret.is_none());
}

#[test]
fn pods_count_for_the_cluster_that_the_ledger_has_also_when_it_is_gone() {
    let index = Index::default();
    index.apply(pod("head", "f-abc-0", "head", "", false));
    let observed = |uid: Option<&str>| {
        let mut fleet = fleet(&["f-abc-0"]);
        fleet.status.as_mut().unwrap().groups[0].uid = uid.map(str::to_owned);
        groups(&index, &fleet)["f-abc-0"].0.pods.len()
    };
    assert_eq!(observed(Some("f-abc-0-uid")), 1);
    assert_eq!(observed(None), 0, "a RayCluster that was never observed has no pods");
    assert_eq!(observed(Some("another")), 0);
}

#[test]
fn a_stray_pod_with_copied_labels_is_no_pod_of_the_group() {
    let index = Index::default();
    index.apply(cluster("n", "f-abc-0", "u-1"));
    index.apply(pod("b-head", "f-abc-0", "head", "10.0.0.2", false));
    index.apply(stray("a-forged-head", "f-abc-0", "head"));
    index.apply(stray("a-worker", "f-abc-0", "worker"));
    index.apply(stray("another", "no-such-group", "worker"));
    let fleet = fleet(&["f-abc-0"]);
    let groups = groups(&index, &fleet);
    assert_eq!(groups.len(), 1, "no group is made of a stray pod, so a Recreate waits for none");
    let (observed, agent) = &groups["f-abc-0"];
    assert_eq!(observed.pods.iter().map(|pod| &*pod.name).collect::<Vec<_>>(), ["b-head"]);
    assert_eq!((agent.head_ip.as_deref(), agent.ips.len()), (Some("10.0.0.2"), 1), "it never gets the token");
    assert_eq!(index.read(|store| foreign_pods_of(store, &fleet)), ["a-forged-head", "a-worker"]);
}

#[test]
fn a_pod_whose_controller_is_another_object_of_the_clusters_name_is_none_of_its() {
    let index = Index::default();
    index.apply(cluster("n", "f-abc-0", "u-1"));
    let owned = |kind: &str, uid: &str, controls: bool| -> Pod {
        let mut pod = pod_object(&format!("{kind}-{uid}-{controls}"), "f-abc-0", "head", "10.6.6.6", false);
        let owner = &mut pod["metadata"]["ownerReferences"][0];
        (owner["kind"], owner["uid"], owner["controller"]) = (json!(kind), json!(uid), json!(controls));
        object(&pod)
    };
    // KubeRay's own clean-up of Redis is a Job with the head's labels.
    index.apply(owned("Job", "job-uid", true));
    index.apply(owned("RayCluster", "of-before", true));
    index.apply(owned("RayCluster", "f-abc-0-uid", false));
    assert!(groups(&index, &fleet(&["f-abc-0"]))["f-abc-0"].0.pods.is_empty());
}

#[test]
fn a_pod_of_another_namespace_is_none_of_the_group_whatever_it_says_of_its_controller() {
    let index = Index::default();
    index.apply(cluster("n", "f-abc-0", "u-1"));
    index.apply(pod("head", "f-abc-0", "head", "10.0.0.2", false));
    let mut forged = pod_object("a-head", "f-abc-0", "head", "10.6.6.6", false);
    forged["metadata"]["namespace"] = json!("a");
    index.apply(object::<Pod>(&forged));
    let groups = groups(&index, &fleet(&["f-abc-0"]));
    let (observed, agent) = &groups["f-abc-0"];
    assert_eq!(observed.pods.iter().map(|pod| &*pod.name).collect::<Vec<_>>(), ["head"]);
    assert_eq!(agent.head_ip.as_deref(), Some("10.0.0.2"), "another's pod never gets the token");
    index.read(|store| assert_eq!(store.pods_of("n", "f-abc-0-uid").count(), 1));
}

#[test]
fn an_endpoint_slice_of_another_namespace_says_nothing_of_a_head() {
    let mut foreign = json!({
        "metadata": {"name": "s", "namespace": "a"}, "addressType": "IPv4",
        "endpoints": [{"conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "h", "uid": "h"}}]
    });
    let open = |slice: &Value| {
        let index = Index::default();
        index.apply(cluster("n", "f-abc-0", "u-1"));
        index.apply(pod("h", "f-abc-0", "head", "10.0.0.2", false));
        index.apply(object::<Slice>(slice));
        groups(&index, &fleet(&["f-abc-0"]))["f-abc-0"].0.endpoint_ready
    };
    assert_eq!(open(&foreign), None);
    foreign["metadata"]["namespace"] = json!("n");
    assert_eq!(open(&foreign), Some(true));
}

#[test]
fn a_cluster_that_only_names_the_fleet_as_an_owner_is_not_adopted() {
    let with = |change: fn(&mut Value)| {
        let index = Index::default();
        let mut cluster = cluster_object("n", "f-abc-0", "u-1");
        change(&mut cluster["metadata"]);
        if let Some(cluster) = DynamicObject::read(&cluster.to_string()).unwrap() {
            index.apply(cluster);
        }
        groups(&index, &fleet(&[])).values().filter(|(observed, _)| observed.cluster.is_some()).count()
    };
    assert_eq!(with(|_| {}), 1);
    assert_eq!(with(|metadata| metadata["ownerReferences"][0]["controller"] = json!(false)), 0);
    assert_eq!(with(|metadata| metadata["ownerReferences"][0]["kind"] = json!("Deployment")), 0);
    assert_eq!(with(|metadata| metadata["labels"][names::LABEL_GROUP] = json!("another")), 0);
    assert_eq!(with(|metadata| metadata["labels"][names::LABEL_SLOT] = json!("-7")), 0);
    assert_eq!(with(|metadata| metadata["labels"] = Value::Null), 0);
}

#[test]
fn a_cluster_of_the_ledger_is_seen_whatever_became_of_its_labels() {
    let index = Index::default();
    let mut cluster = cluster_object("n", "f-abc-0", "u-1");
    cluster["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm"});
    index.apply(object::<DynamicObject>(&cluster));
    assert!(groups(&index, &fleet(&["f-abc-0"]))["f-abc-0"].0.cluster.is_some());
}

#[test]
fn a_pod_that_waits_for_its_volume_says_so_until_it_starts() {
    let problem = |status: Value| {
        let index = Index::default();
        index.apply(cluster("n", "f-abc-0", "u-1"));
        let mut pod = pod_object("p", "f-abc-0", "worker", "10.0.0.1", false);
        pod["status"] = status;
        index.apply(object::<Pod>(&pod));
        index.apply(object::<PodEvent>(&json!({
            "reason": "FailedMount", "message": "no such claim",
            "involvedObject": {"kind": "Pod", "namespace": "n", "name": "p", "uid": "p"}
        })));
        groups(&index, &fleet(&[]))["f-abc-0"].0.pods[0].problem.clone().map(|problem| problem.message)
    };
    assert_eq!(problem(json!({})).as_deref(), Some("no such claim"));
    let starts = json!({"conditions": [{"type": "PodReadyToStartContainers", "status": "True"}]});
    assert_eq!(problem(starts), None, "that was before");
}

#[test]
fn a_warning_about_a_cluster_of_before_is_none_about_this_one() {
    let warned = |uid: &str| {
        let index = Index::default();
        index.apply(cluster("n", "f-abc-0", "u-1"));
        index.apply(Warning { cluster: Key::new("n", "f-abc-0"), uid: uid.into(), text: "w".into() });
        groups(&index, &fleet(&[]))["f-abc-0"].0.cluster.clone().unwrap().warning
    };
    assert_eq!(warned("f-abc-0-uid").as_deref(), Some("w"));
    assert_eq!(warned("").as_deref(), Some("w"), "an event of old form may not tell");
    assert_eq!(warned("another"), None);
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
fn an_agent_gets_living_pods_only() {
    let index = Index::default();
    index.apply(cluster("n", "f-abc-0", "u-1"));
    index.apply(pod("a-old-head", "f-abc-0", "head", "10.0.0.1", true));
    index.apply(pod("b-head", "f-abc-0", "head", "10.0.0.2", false));
    index.apply(pod("c-worker", "f-abc-0", "worker", "10.0.0.3", false));
    index.apply(pod("d-worker", "f-abc-0", "worker", "", false));
    let groups = groups(&index, &fleet(&[]));
    let (observed, agent) = &groups["f-abc-0"];
    assert_eq!(agent.head_ip.as_deref(), Some("10.0.0.2"));
    assert_eq!(agent.ips, ["10.0.0.2", "10.0.0.3"]);
    assert_eq!(agent.token_secret.as_deref(), Some("f-abc-0-token"), "that of the head's environment");
    assert_eq!(observed.pods.len(), 4);
}

#[test]
fn a_group_is_asked_with_its_token_also_while_rayclusters_cannot_be_listed() {
    let index = Index::default();
    let mut head = pod_object("head", "f-abc-0", "head", "10.0.0.1", false);
    head["metadata"]["labels"][names::LABEL_MODEL_PORT] = json!("9000");
    index.apply(object::<Pod>(&head));
    let mut fleet = fleet(&["f-abc-0"]);
    fleet.status.as_mut().unwrap().groups[0].uid = Some("f-abc-0-uid".into());
    fleet.spec.template.spec =
        json!({"headGroupSpec": {"rayStartParams": {"dashboard-port": "8266"}}}).into();
    let groups = groups(&index, &fleet);
    let (observed, agent) = &groups["f-abc-0"];
    assert_eq!((agent.token_secret.as_deref(), agent.dashboard_port), (Some("f-abc-0-token"), 8266));
    assert_eq!((agent.own_port, observed.cluster.as_ref().unwrap().own_port), (Some(9000), Some(9000)));
}

#[test]
fn the_token_is_that_of_a_container_whose_ray_wants_one() {
    let secret = |containers: &Value| {
        let index = Index::default();
        index.apply(cluster("n", "f-abc-0", "u-1"));
        let mut head = pod_object("head", "f-abc-0", "head", "10.0.0.1", false);
        head["spec"]["containers"] = containers.clone();
        index.apply(object::<Pod>(&head));
        groups(&index, &fleet(&[]))["f-abc-0"].1.token_secret.clone()
    };
    let mode = |mode: &str| json!({"name": "RAY_AUTH_MODE", "value": mode});
    let token =
        |secret: &str| json!({"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"name": secret}}});
    let ray = |env: &[Value]| json!({"name": "ray", "env": env});
    assert_eq!(secret(&json!([ray(&[mode("token"), token("a")])])).as_deref(), Some("a"));
    assert_eq!(
        secret(&json!([ray(&[token("a"), token("b"), mode("token")])])).as_deref(),
        Some("b"),
        "the last one counts"
    );
    assert_eq!(secret(&json!([ray(&[mode("disabled"), token("a")])])), None);
    assert_eq!(secret(&json!([ray(&[token("a")])])), None);
    // Istio and Linkerd put their proxy in front.
    let proxy = json!({"name": "proxy", "env": [{"name": "RAY_AUTH_TOKEN", "value": "x"}]});
    assert_eq!(secret(&json!([proxy, ray(&[mode("token"), token("a")])])).as_deref(), Some("a"));
    assert_eq!(secret(&json!([ray(&[mode("disabled")]), {"name": "sidecar", "env": [token("a")]}])), None);
    let plain = json!({"name": "RAY_AUTH_TOKEN", "value": "x"});
    assert_eq!(secret(&json!([ray(&[mode("token"), plain])])), None);
}

#[test]
fn a_dashboards_report_belongs_to_its_group() {
    let index = Index::default();
    index.apply(cluster("n", "f-abc-0", "u-1"));
    let ray = ObservedRay {
        at: jiff::Timestamp::UNIX_EPOCH,
        state: Err("refused".into()),
        unreachable_ips: Vec::new(),
        reach: Reach::Reachable,
    };
    index.ray_seen(&Key::new("n", "f"), &Key::new("n", "f-abc-0"), ray.clone());
    assert_eq!(groups(&index, &fleet(&[]))["f-abc-0"].0.ray, Some(ray));
}

fn endpoint(slices: &[Slice]) -> Option<bool> {
    let index = Index::default();
    index.apply(cluster("n", "f-abc-0", "u-1"));
    index.apply(pod("head", "f-abc-0", "head", "10.0.0.1", false));
    for slice in slices {
        index.apply(slice.clone());
    }
    groups(&index, &fleet(&[]))["f-abc-0"].0.endpoint_ready
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
    let headless = slice("f-abc-0-head-svc", "head", &json!({"ready": true, "serving": false}));
    assert_eq!(endpoint(&[headless]), Some(false));
}

#[test]
fn an_old_head_that_is_ending_does_not_hide_the_new_one() {
    let index = Index::default();
    index.apply(cluster("n", "f-abc-0", "u-1"));
    index.apply(pod("a-old", "f-abc-0", "head", "", true));
    index.apply(pod("b-new", "f-abc-0", "head", "", false));
    index.apply(slice("a", "a-old", &json!({"ready": false, "serving": true, "terminating": true})));
    index.apply(slice("b", "b-new", &json!({"ready": true, "serving": true})));
    assert_eq!(groups(&index, &fleet(&[]))["f-abc-0"].0.endpoint_ready, Some(true));
}

#[test]
fn a_pod_is_on_a_lost_node_only_if_kubernetes_says_so() {
    let lost = |status: Option<&str>| {
        let index = Index::default();
        index.apply(cluster("n", "f-1-0", "u-1"));
        let mut placed = pod_object("p", "f-1-0", "head", "10.0.0.1", false);
        placed["spec"]["nodeName"] = json!("node-a");
        index.apply(object::<Pod>(&placed));
        if let Some(status) = status {
            index.apply(object::<Node>(&json!({
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
