//! Objects as a tenant may make them: every kind is read whatever is in the parts that are not used, and nothing of them is kept.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ResourceQuota, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::core::DynamicObject;
use rayfleet_api::RayClusterFleet;
use rayfleet_runtime::watch::Stub;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{owner, raw_fleet};
use crate::kubernetes::endpoints::Slice;
use crate::kubernetes::index::Warning;
use crate::kubernetes::nodes::Node;
use crate::kubernetes::pods::Pod;

/// A time that Kubernetes takes and gives back, and that jiff cannot hold.
const NEVER: &str = "9999-12-31T23:59:59Z";

/// An object whose metadata has everything in it that a tenant may write, nested deeper than is read by recursion.
fn poisoned(rest: &Value) -> String {
    let mut object = rest.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.insert("name".into(), json!("x"));
    metadata.insert("namespace".into(), json!("n"));
    metadata.insert("uid".into(), json!("u-1"));
    metadata.insert("resourceVersion".into(), json!("7"));
    metadata.insert("creationTimestamp".into(), json!(NEVER));
    metadata.insert("managedFields".into(), json!([{
        "manager": "other", "operation": "Update", "time": NEVER, "fieldsType": "FieldsV1", "fieldsV1": "DEEP"
    }]));
    let deep = format!("{}1{}", "{\"f:a\":".repeat(300), "}".repeat(300));
    object.to_string().replace("\"DEEP\"", &deep)
}

fn read<T: Watched>(rest: &Value) -> T {
    T::read(&poisoned(rest)).expect("it is read").expect("it is kept")
}

fn owned() -> Value {
    json!({"ownerReferences": [owner("f", "u-1")], "labels": {"a": "b"}})
}

#[test]
fn a_pod_is_read_whatever_times_it_has() {
    let pod: Pod = read(&json!({
        "metadata": {"labels": {names::LABEL_FLEET: "f"}, "deletionTimestamp": NEVER},
        "spec": {"nodeName": "a", "containers": [{"env": [{"name": "TOKEN", "value": "hf_abc"}]}]},
        "status": {
            "phase": "Running", "startTime": NEVER, "podIP": "10.0.0.1",
            "conditions": [{"type": names::GATE_SERVING, "status": "True", "lastTransitionTime": NEVER}]
        }
    }));
    let observed = &pod.member.as_ref().unwrap().observed;
    assert!(
        pod.claim.takes_room() && observed.deleting && observed.gate_open && observed.gate_since.is_none()
    );
    assert_eq!((pod.version, &pod.key), (7, &Key::new("n", "x")));
    assert!(!format!("{pod:?}").contains("hf_abc"));
}

#[test]
fn a_node_is_read_whatever_times_it_has() {
    let node: Node = read(&json!({
        "metadata": {},
        "spec": {"taints": [{"key": "k", "effect": "NoExecute", "timeAdded": NEVER}]},
        "status": {
            "allocatable": {"cpu": "4"}, "images": [{"names": ["i"]}],
            "conditions": [{"type": "Ready", "status": "Unknown", "lastHeartbeatTime": NEVER}]
        }
    }));
    assert!(node.lost && node.room.taints.len() == 1 && node.room.shares.len() == 1);
}

#[test]
fn a_fleet_is_read_whatever_times_it_has() {
    let mut fleet = serde_json::to_value(raw_fleet()).unwrap();
    fleet["metadata"] = json!({"deletionTimestamp": NEVER, "finalizers": ["a/b"], "generation": 3});
    let fleet: RayClusterFleet = read(&fleet);
    assert_eq!(fleet.metadata.generation, Some(3));
    assert!(fleet.metadata.deletion_timestamp.is_some(), "it ends, whenever");
    assert_eq!((fleet.metadata.creation_timestamp, fleet.metadata.managed_fields), (None, None));
}

#[test]
fn a_raycluster_is_read_whatever_times_it_has() {
    let cluster: DynamicObject = read(
        &json!({"metadata": owned(), "spec": {"headGroupSpec": {}}, "status": {"lastUpdateTime": NEVER}}),
    );
    assert!(cluster.data["spec"]["headGroupSpec"].is_object() && cluster.labels()["a"] == "b");
}

#[test]
fn a_quota_is_read_whatever_times_it_has() {
    let quota: ResourceQuota = read(&json!({"metadata": {}, "spec": {"hard": {"pods": "1"}}, "status": {}}));
    assert!(quota.spec.unwrap().hard.unwrap().contains_key("pods"));
}

#[test]
fn a_service_is_read_whatever_times_it_has() {
    let condition =
        json!({"type": "t", "status": "True", "reason": "r", "message": "", "lastTransitionTime": NEVER});
    let service: Service = read(
        &json!({"metadata": owned(), "spec": {"ports": [{"port": 1}]}, "status": {"conditions": [condition]}}),
    );
    assert_eq!(service.spec.unwrap().ports.unwrap()[0].port, 1);
}

#[test]
fn a_controllerrevision_is_read_whatever_times_it_has() {
    let record: ControllerRevision = read(&json!({"metadata": owned(), "revision": 3, "data": {"spec": {}}}));
    assert_eq!((record.revision, record.data.unwrap().0), (3, json!(r#"{"spec":{}}"#)));
}

#[test]
fn a_poddisruptionbudget_is_read_whatever_times_it_has() {
    let disrupted = json!({"p": NEVER});
    let budget: PodDisruptionBudget = read(&json!({
        "metadata": owned(), "spec": {"minAvailable": 1}, "status": {"disruptedPods": disrupted}
    }));
    assert!(budget.spec.unwrap().min_available.is_some());
}

#[test]
fn an_endpointslice_is_read_whatever_times_it_has() {
    let slice: Slice = read(&json!({"metadata": {}, "endpoints": [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "p", "uid": "p-1"}}
    ]}));
    assert_eq!(slice.listed.get("p-1"), Some(&true));
}

fn event(component: &str, reason: &str) -> Value {
    json!({
        "metadata": {}, "firstTimestamp": NEVER, "lastTimestamp": NEVER, "eventTime": NEVER,
        "series": {"lastObservedTime": NEVER}, "reason": reason, "message": "m".repeat(100_000),
        "source": {"component": component},
        "involvedObject": {"kind": "RayCluster", "namespace": "n", "name": "f-1", "uid": "c-1"}
    })
}

#[test]
fn an_event_is_read_whatever_times_it_has() {
    let warning: Warning = read(&event("raycluster-controller", "InvalidRayClusterSpec"));
    assert_eq!((warning.cluster, &*warning.uid), (Key::new("n", "f-1"), "c-1"));
    assert_eq!(warning.text.len(), 512);
}

#[test]
fn only_kuberays_own_words_about_an_invalid_cluster_are_believed() {
    let kept = |event: &Value| Warning::read(&poisoned(event)).unwrap().is_some();
    assert!(!kept(&event("kubectl", "InvalidRayClusterSpec")));
    assert!(!kept(&event("raycluster-controller", "FailedToCreateHeadPod")));
    let mut new_form = event("", "InvalidRayClusterStatus");
    new_form["reportingComponent"] = json!("raycluster-controller");
    assert!(kept(&new_form));
    new_form["involvedObject"]["kind"] = json!("Pod");
    assert!(!kept(&new_form));
}

#[test]
fn a_raycluster_that_no_fleet_controls_and_that_was_made_for_none_is_not_kept() {
    for metadata in [
        json!({}),
        json!({"ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "RayClusterFleet", "name": "f", "uid": "u-1", "controller": true
        }]}),
    ] {
        let text = poisoned(&json!({"metadata": metadata, "revision": 1}));
        assert!(DynamicObject::read(&text).unwrap().is_none());
    }
}

/// Nested deeper than is read by recursion.
fn deep() -> String {
    format!("{}1{}", "{\"a\":".repeat(300), "}".repeat(300))
}

#[test]
fn a_fleet_is_read_however_deep_it_is_nested_and_whatever_its_status_holds() {
    let mut fleet = serde_json::to_value(raw_fleet()).unwrap();
    fleet["metadata"] = json!({"finalizers": ["rayfleet.io/drain"], "generation": 3, "labels": "odd"});
    fleet["spec"]["template"]["spec"]["odd"] = json!("TOO-DEEP");
    fleet["status"] = json!({"readyReplicas": 2, "startupTimes": "TOO-DEEP", "rollout": {"step": "Complete", "to": "y", "lastProgress": NEVER}});
    let text = poisoned(&fleet).replace("\"TOO-DEEP\"", &deep());
    let fleet = RayClusterFleet::read(&text).unwrap().unwrap();
    assert_eq!((fleet.name_any().as_str(), fleet.metadata.generation), ("x", Some(3)));
    assert_eq!(fleet.finalizers(), ["rayfleet.io/drain"], "it can be let go");
    assert_eq!((fleet.spec.replicas, fleet.spec.model.is_some()), (Some(2), true));
    let names =
        |odd: &[rayfleet_api::FieldError]| odd.iter().map(|odd| odd.field.clone()).collect::<Vec<_>>();
    assert_eq!(names(&fleet.spec.unreadable), ["spec.template"]);
    assert!(fleet.spec.unreadable[0].problem.contains("deeper than 126 levels: make it flatter"));
    let status = fleet.status.unwrap();
    assert_eq!((status.ready_replicas, status.rollout.unwrap().to), (2, "y".into()));
    assert_eq!(names(&status.unreadable), ["status.rollout.lastProgress", "status.startupTimes"]);
    for odd in [json!("secret"), json!(7), json!([1])] {
        let mut fleet = serde_json::to_value(raw_fleet()).unwrap();
        fleet["spec"] = odd.clone();
        fleet["status"] = odd;
        assert!(RayClusterFleet::read(&fleet.to_string()).unwrap().is_some());
    }
}

#[test]
fn a_raycluster_and_a_record_are_known_whatever_is_in_them() {
    let cluster =
        json!({"metadata": owned(), "spec": {"headGroupSpec": "TOO-DEEP"}, "status": {"conditions": [1]}});
    let text = poisoned(&cluster).replace("\"TOO-DEEP\"", &deep());
    let cluster = DynamicObject::read(&text).unwrap().unwrap();
    assert_eq!((cluster.uid().as_deref(), &cluster.data["status"]["conditions"]), (Some("u-1"), &json!([1])));
    assert!(cluster.data["spec"].is_null());
    let record = json!({"metadata": owned(), "revision": 3, "data": "TOO-DEEP"});
    let record =
        ControllerRevision::read(&poisoned(&record).replace("\"TOO-DEEP\"", &deep())).unwrap().unwrap();
    assert_eq!((record.revision, record.data), (3, None));
}

/// So many objects of one field each, which take most memory for their bytes.
fn wide(objects: usize) -> Value {
    Value::Array(vec![json!({"a": 0}); objects])
}

#[test]
fn a_field_that_would_take_too_much_memory_is_left_out_and_named() {
    let fleet = |odd: Value| {
        let mut fleet = serde_json::to_value(raw_fleet()).unwrap();
        fleet["metadata"] = json!({"generation": 3});
        fleet["spec"]["template"]["spec"]["odd"] = odd;
        RayClusterFleet::read(&poisoned(&fleet)).unwrap().unwrap()
    };
    for (odd, problem) in [
        (wide(170_000), "cannot be read: it holds more than 20000 values: make it smaller"),
        (json!("x".repeat(600 << 10)), "cannot be read: it is longer than 512 KiB: make it shorter"),
    ] {
        let fleet = fleet(odd);
        let odd: Vec<_> = fleet.spec.unreadable.iter().map(|odd| (&*odd.field, &*odd.problem)).collect();
        assert_eq!(odd, [("spec.template", problem)]);
        assert_eq!((fleet.spec.replicas, &*fleet.spec.template.spec), (Some(2), &Value::Null));
    }
    // 200 KiB of an environment, as some have it.
    let env: Vec<Value> = (0..6_200).map(|n| json!({"name": format!("NAME_{n:04}"), "value": "1"})).collect();
    assert!(json!(env).to_string().len() > 200_000);
    assert!(fleet(json!(env)).spec.unreadable.is_empty());
}

#[test]
fn a_ledger_of_the_most_groups_is_read() {
    let group = json!({
        "name": "f-pods1-0", "slot": 0, "attempt": 1, "uid": "u", "revision": "pods1", "engineRevision": "eng1",
        "phase": "Ready", "goal": "Serve", "launch": 3, "restarts": 0, "failures": 0,
        "avoidNodes": vec!["node"; 30],
    });
    let mut fleet = serde_json::to_value(raw_fleet()).unwrap();
    fleet["metadata"] = json!({});
    fleet["status"] = json!({"groups": vec![group; 750]});
    let status = RayClusterFleet::read(&poisoned(&fleet)).unwrap().unwrap().status.unwrap();
    assert_eq!((status.groups.len(), status.unreadable.len()), (750, 0));
    fleet["status"] = json!({"groups": wide(60_000), "readyReplicas": 2});
    let status = RayClusterFleet::read(&poisoned(&fleet)).unwrap().unwrap().status.unwrap();
    assert_eq!((status.groups.len(), status.ready_replicas, status.unreadable.len()), (0, 2, 1));
}

#[test]
fn large_parts_of_rayclusters_and_records_are_not_kept() {
    let cluster = |odd: Value| {
        let cluster = json!({"metadata": owned(), "spec": {"odd": odd}, "status": {"conditions": []}});
        DynamicObject::read(&poisoned(&cluster)).unwrap().unwrap()
    };
    let hostile = cluster(wide(100_000));
    assert_eq!((&hostile.data["spec"], &hostile.data["status"]["conditions"]), (&Value::Null, &json!([])));
    assert!(cluster(wide(10_000)).data["spec"].is_object(), "whatever a fleet's template may hold");
    let record = |data: Value| {
        let record = json!({"metadata": owned(), "revision": 3, "data": data});
        ControllerRevision::read(&poisoned(&record)).unwrap().unwrap().data.map(|data| data.0)
    };
    assert_eq!(record(json!({"spec": wide(100_000)})), None);
    assert_eq!(record(json!("text")), None, "it is no record");
    assert!(
        record(json!({"spec": wide(10_000)})).unwrap().is_string(),
        "it is no tree until it is asked for"
    );
}

#[test]
fn of_a_raycluster_only_what_is_read_is_kept() {
    let template = |port: &str| {
        let metadata = json!({"labels": {"model.aibrix.ai/port": port}, "annotations": {"a": "b"}});
        json!({"metadata": metadata, "spec": {"containers": [{"name": "ray", "env": wide(100)}]}})
    };
    let spec = json!({
        "suspend": false, "rayVersion": "2.60.0", "enableInTreeAutoscaling": true,
        "headGroupSpec": {"rayStartParams": {"dashboard-port": "8266"}, "template": template("8001")},
        "workerGroupSpecs": [{"groupName": "w", "replicas": 2, "template": template("8002")}, 7],
    });
    let status = json!({"state": "ready", "conditions": [{"type": "HeadPodReady"}], "desiredCPU": "4"});
    let whole = json!({"metadata": owned(), "spec": spec, "status": status});
    let kept = DynamicObject::read(&poisoned(&whole)).unwrap().unwrap();
    let mut expected = spec.clone();
    expected["headGroupSpec"]["template"] = json!({"metadata": {"labels": {"model.aibrix.ai/port": "8001"}}});
    expected["workerGroupSpecs"][0].as_object_mut().unwrap().remove("template");
    assert_eq!(kept.data, json!({"spec": expected, "status": {"conditions": [{"type": "HeadPodReady"}]}}));
    // Every field of it may be something else.
    for odd in [json!([1]), json!("text"), Value::Null, json!({"template": [], "metadata": 3})] {
        let odd = json!({"metadata": owned(), "spec": {"headGroupSpec": odd, "workerGroupSpecs": odd}, "status": odd});
        DynamicObject::read(&poisoned(&odd)).unwrap().unwrap();
    }
}

#[test]
fn an_unreadable_object_keeps_its_name() {
    let text = poisoned(&json!({"metadata": {}, "spec": "secret"}));
    assert!(Service::read(&text).is_err());
    let stub = Stub::read(&text).unwrap();
    assert_eq!((stub.key(), &*stub.version), (Key::new("n", "x"), "7"));
    assert_eq!(Stub::read(r#"{"metadata": {"name": 7}}"#), None);
    assert_eq!(Stub::read("[]"), None);
}

#[test]
fn texts_are_cut_between_characters() {
    assert_eq!(bounded("short"), "short");
    let long = "\u{1F600}".repeat(600);
    assert_eq!(bounded(&long), format!("{}…", "\u{1F600}".repeat(127)));
}
