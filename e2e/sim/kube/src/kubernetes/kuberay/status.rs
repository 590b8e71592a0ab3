//! The status that KubeRay writes, with its gaps: readiness once reached is kept, and a status in which
//! only the observed generation would change is not written at all.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::object::{condition, is_true, items, label, name, namespace, set_condition, written};
use super::pods::{Failure, desired, hosts, is_head, of};
use crate::api::{ApiServer, Kind};

/// Fields whose change causes a write.
const COMPARED: [&str; 10] = [
    "state",
    "reason",
    "readyWorkerReplicas",
    "availableWorkerReplicas",
    "desiredWorkerReplicas",
    "minWorkerReplicas",
    "maxWorkerReplicas",
    "endpoints",
    "head",
    "conditions",
];

/// Writes the status if KubeRay would; returns whether it did.
pub(super) fn write(api: &ApiServer, cluster: &Value, failure: Option<&Failure>, now: Timestamp) -> bool {
    let services = head_services(api, cluster);
    // Without the head service KubeRay cannot compute a status.
    let [service] = services.as_slice() else { return false };
    let before = &cluster["status"];
    let mut status = before.as_object().cloned().unwrap_or_default();
    fill(&mut status, cluster, &of(api, cluster), service, failure, now);
    let empty =
        |value: &Value| value.is_null() || *value == json!(0) || *value == json!("") || *value == json!({});
    let same = |field: &str| {
        let (old, new) = (&before[field], status.get(field).unwrap_or(&Value::Null));
        old == new || (empty(old) && empty(new))
    };
    if COMPARED.iter().all(|field| same(field)) {
        return false;
    }
    let patch = json!({"status": status});
    api.merge_patch_status(&Kind::RAY_CLUSTER, namespace(cluster), name(cluster), &patch).is_ok()
}

fn fill(
    status: &mut Map<String, Value>,
    cluster: &Value,
    pods: &[Arc<Value>],
    service: &Value,
    failure: Option<&Failure>,
    now: Timestamp,
) {
    let groups = items(&cluster["spec"]["workerGroupSpecs"]);
    let sum = |of: &dyn Fn(&Value) -> u64| groups.iter().map(of).sum::<u64>();
    let bound = |group: &Value, field: &str| group[field].as_u64().unwrap_or_default() * hosts(group);
    let workers = || pods.iter().filter(|pod| !is_head(pod));
    let running = |pod: &&Arc<Value>| pod["status"]["phase"] == "Running";
    let wanted = sum(&desired);
    let ready = workers().filter(running).filter(|pod| is_true(pod, "Ready")).count();
    let counts = [
        ("observedGeneration", cluster["metadata"]["generation"].clone()),
        ("readyWorkerReplicas", json!(ready)),
        ("availableWorkerReplicas", json!(workers().filter(running).count())),
        ("desiredWorkerReplicas", json!(wanted)),
        ("minWorkerReplicas", json!(sum(&|group| bound(group, "minReplicas")))),
        ("maxWorkerReplicas", json!(sum(&|group| bound(group, "maxReplicas")))),
        ("lastUpdateTime", json!(written(now))),
    ];
    status.extend(counts.map(|(field, value)| (field.to_owned(), value)));

    let head = pods.iter().find(|pod| is_head(pod));
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let address = text(head.map(|head| &head["status"]["podIP"]));
    let mut place = Map::new();
    for (field, value) in [
        ("podIP", address.clone()),
        ("podName", head.map(|head| name(head)).unwrap_or_default().to_owned()),
        ("serviceIP", address),
        ("serviceName", name(service).to_owned()),
    ] {
        // A merge patch has to remove an empty field explicitly.
        place.insert(field.to_owned(), if value.is_empty() { Value::Null } else { json!(value) });
    }
    let named = items(&service["spec"]["ports"]).iter();
    let endpoints: Map<String, Value> =
        named.map(|port| (text(Some(&port["name"])), json!(port["targetPort"].to_string()))).collect();
    let state = all_running(pods) && failure.is_none() && pods.len() as u64 == wanted + 1;
    if state && status.get("state").is_none_or(|state| state != "ready") {
        status.insert("stateTransitionTimes".to_owned(), json!({"ready": written(now)}));
        status.insert("state".to_owned(), json!("ready"));
    }
    if cluster["spec"]["suspend"] == true && pods.is_empty() {
        status.insert("state".to_owned(), json!("suspended"));
    }
    place.retain(|field, value| !(value.is_null() && cluster["status"]["head"][field.as_str()].is_null()));
    status.insert("head".to_owned(), Value::Object(place));
    status.insert("endpoints".to_owned(), Value::Object(endpoints));
    let mut conditions = status.get("conditions").map(items).unwrap_or_default().to_vec();
    judge(&mut conditions, cluster, pods, failure, now);
    status.insert("conditions".to_owned(), json!(conditions));
}

fn judge(
    conditions: &mut Vec<Value>,
    cluster: &Value,
    pods: &[Arc<Value>],
    failure: Option<&Failure>,
    now: Timestamp,
) {
    let wanted = |kind: &str, status: &str, reason: &str, message: &str| json!({"type": kind, "status": status, "reason": reason, "message": message});
    match failure {
        Some(Failure::Replica(reason, message)) => {
            set_condition(conditions, wanted("ReplicaFailure", "True", reason, message), now);
        }
        // A failure of another kind leaves an older one in place.
        Some(Failure::Other) => {}
        None => conditions.retain(|condition| condition["type"] != "ReplicaFailure"),
    }
    let (status, reason, message) = head_ready(pods.iter().find(|pod| is_head(pod)).map(Arc::as_ref));
    set_condition(conditions, wanted("HeadPodReady", &status, &reason, &message), now);
    // Once True it stays True, whatever happens to the pods; and missing pods do not count as unready.
    if !is_true(cluster, "RayClusterProvisioned") && !is_true(cluster, "RayClusterSuspended") {
        let (status, reason, message) = if all_running(pods) {
            ("True", "AllPodRunningAndReadyFirstTime", "All Ray Pods are ready for the first time")
        } else {
            ("False", "RayClusterPodsProvisioning", "RayCluster Pods are being provisioned for first time")
        };
        set_condition(conditions, wanted("RayClusterProvisioned", status, reason, message), now);
    }
    for (kind, status) in suspension(cluster, pods.is_empty()) {
        set_condition(conditions, wanted(kind, status, kind, ""), now);
        if kind == "RayClusterSuspended" && status == "True" {
            let reported = ("RayClusterPodsProvisioning", "RayCluster has been suspended");
            set_condition(conditions, wanted("RayClusterProvisioned", "False", reported.0, reported.1), now);
        }
    }
}

/// A suspension that has started is completed, and is resumed only by `suspend: false`: removing the field
/// keeps the cluster suspended.
fn suspension(cluster: &Value, no_pods: bool) -> Vec<(&'static str, &'static str)> {
    const SUSPENDING: &str = "RayClusterSuspending";
    const SUSPENDED: &str = "RayClusterSuspended";
    let suspend = &cluster["spec"]["suspend"];
    if is_true(cluster, SUSPENDING) {
        return if no_pods { vec![(SUSPENDING, "False"), (SUSPENDED, "True")] } else { Vec::new() };
    }
    if is_true(cluster, SUSPENDED) {
        return if *suspend == false { vec![(SUSPENDED, "False")] } else { Vec::new() };
    }
    vec![(SUSPENDED, "False"), (SUSPENDING, if *suspend == true { "True" } else { "False" })]
}

/// Whether all existing pods, terminating ones too, are running and not reported unready.
fn all_running(pods: &[Arc<Value>]) -> bool {
    let unready = |pod: &Value| condition(pod, "Ready").is_some_and(|ready| ready["status"] != "True");
    !pods.is_empty() && pods.iter().all(|pod| pod["status"]["phase"] == "Running" && !unready(pod))
}

/// Status, reason and message of `HeadPodReady`: the head pod's own readiness.
fn head_ready(head: Option<&Value>) -> (String, String, String) {
    let words = |status: &str, reason: &str, message: &str| {
        (status.to_owned(), reason.to_owned(), message.to_owned())
    };
    let Some(head) = head else { return words("False", "HeadPodNotFound", "Head Pod not found") };
    let Some(ready) = condition(head, "Ready") else { return words("False", "Unknown", "") };
    let text = |field: &str| ready[field].as_str().unwrap_or_default();
    let default = if text("status") == "True" { "HeadPodRunningAndReady" } else { "Unknown" };
    let reason = if text("reason").is_empty() { default } else { text("reason") };
    if reason != "ContainersNotReady" {
        return words(text("status"), reason, text("message"));
    }
    let unready = items(&head["status"]["containerStatuses"]).iter().find_map(|container| {
        let state = &container["state"];
        let why = [&state["waiting"], &state["terminated"]].into_iter().find(|why| why.is_object())?;
        let message = why["message"].as_str().unwrap_or_default();
        Some((why["reason"].as_str()?, format!("{}: {message}", container["name"].as_str()?)))
    });
    match unready {
        Some((reason, why)) => words(text("status"), reason, &format!("{}; {why}", text("message"))),
        None => words(text("status"), reason, text("message")),
    }
}

/// Services that are labelled as the cluster's head service.
pub(super) fn head_services(api: &ApiServer, cluster: &Value) -> Vec<Arc<Value>> {
    let is_it = |service: &Arc<Value>| {
        namespace(service) == namespace(cluster)
            && label(service, "ray.io/cluster") == Some(name(cluster))
            && label(service, "ray.io/node-type") == Some("head")
    };
    api.list(&Kind::SERVICE).into_iter().filter(is_it).collect()
}
