//! A LeaderWorkerSet as a fleet: leaders are heads, the size is a worker group, and a set's groups are the fleet's (LWS 0.10,
//! `api/leaderworkerset/v1`).

use serde_json::{Map, Value, json};

use super::Log;
use crate::workload::Workload;

/// Prefix of the labels and annotations by which LWS's controller finds and steers pods.
const LWS: &str = "leaderworkerset.sigs.k8s.io/";
const TEMPLATE: &str = "spec.leaderWorkerTemplate";

/// The label of a fleet that came from a set, by which it selects its groups and Services its heads.
pub(super) fn label(name: &str) -> (&'static str, &str) {
    ("app", name)
}

/// The fleet, with the commands as they were.
pub(super) fn fleet(workload: &Workload<'_>, log: &mut Log<'_>) -> Value {
    let set = &workload.object.value;
    let (key, value) = label(workload.object.name());
    let mut metadata = set["metadata"].clone();
    for kind in ["labels", "annotations"] {
        if let Some(map) = metadata.get_mut(kind) {
            without_lws(map, &format!("metadata.{kind}"), log);
        }
    }
    for field in [
        "managedFields",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "ownerReferences",
        "finalizers",
    ] {
        super::take_out(&mut metadata, &[field]);
    }
    prune(&mut metadata);
    let groups: Vec<Value> = workload
        .roles
        .iter()
        .map(|role| pod_template(role.template, &role.field, (key, value), log))
        .collect();
    let mut cluster = json!({"headGroupSpec": {"rayStartParams": {}, "template": groups.first()}});
    if let (Some(template), Some(role)) = (groups.get(1), workload.roles.get(1)) {
        let pods = role.pods;
        cluster["workerGroupSpecs"] = json!([{
            "groupName": "worker", "replicas": pods, "minReplicas": pods, "maxReplicas": pods,
            "rayStartParams": {}, "template": template,
        }]);
    }
    left_out(set, log);
    let rolling = &set["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"];
    let or = |field: &str, default: u32| {
        if rolling[field].is_null() { json!(default) } else { rolling[field].clone() }
    };
    let mut bounds = json!({"maxSurge": or("maxSurge", 0), "maxUnavailable": or("maxUnavailable", 1)});
    if rolling["partition"].as_u64().is_some_and(|partition| partition > 0) {
        bounds["partition"] = rolling["partition"].clone();
    }
    log.changed(
        "kind",
        "the LeaderWorkerSet became a RayClusterFleet, with LWS's bounds of rollouts written out",
        "delete the set once the fleet serves",
    );
    log.check(
        "metadata.name",
        "rayVersion is missing: a set does not say it",
        "write spec.template.spec.rayVersion, the version of Ray in the image",
    );
    json!({
        "apiVersion": format!("{}/{}", rayfleet_api::names::GROUP, rayfleet_api::names::VERSION),
        "kind": rayfleet_api::names::KIND,
        "metadata": metadata,
        "spec": {
            "replicas": if set["spec"]["replicas"].is_null() { json!(1) } else { set["spec"]["replicas"].clone() },
            "selector": {"matchLabels": {key: value}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": bounds},
            "template": {"metadata": {"labels": {key: value}}, "spec": cluster},
        }
    })
}

fn pod_template(template: &Value, field: &str, (key, value): (&str, &str), log: &mut Log<'_>) -> Value {
    let mut template = template.clone();
    let mut metadata = template["metadata"].as_object().cloned().map_or_else(|| json!({}), Value::Object);
    for kind in ["labels", "annotations"] {
        without_lws(&mut metadata[kind], &format!("{field}.metadata.{kind}"), log);
    }
    if !metadata["labels"].is_object() {
        metadata["labels"] = json!({});
    }
    metadata["labels"][key] = json!(value);
    prune(&mut metadata);
    if template.is_object() {
        template["metadata"] = metadata;
    }
    template
}

/// What a fleet has no words for.
fn left_out(set: &Value, log: &mut Log<'_>) {
    let template = &set["spec"]["leaderWorkerTemplate"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if !template["volumeClaimTemplates"].as_array().is_none_or(Vec::is_empty) {
        let field = format!("{TEMPLATE}.volumeClaimTemplates");
        log.dropped(
            &field,
            "volumeClaimTemplates are gone",
            "use one claim with ReadOnlyMany for the weights, or ephemeral volumes",
        );
    }
    if template["subGroupPolicy"].is_object() {
        log.dropped(
            &format!("{TEMPLATE}.subGroupPolicy"),
            "subgroups are gone",
            "spec.model.placement and affinity of the pods say what lies together",
        );
    }
    if ["None", "Default"].contains(&text(&template["restartPolicy"]).as_str()) {
        log.changed(
            &format!("{TEMPLATE}.restartPolicy"),
            "a failed rank ends its whole engine",
            "spec.failurePolicy says how often it is launched again",
        );
    }
    if text(&set["spec"]["startupPolicy"]) == "LeaderReady" {
        log.changed(
            "spec.startupPolicy",
            "workers start beside the head",
            "they wait for the head's Ray by themselves",
        );
    }
    if set["spec"]["networkConfig"].is_object() {
        log.dropped(
            "spec.networkConfig",
            "the pods' host names of LWS are gone",
            "name heads by a Service, or leave it to Ray",
        );
    }
}

/// Takes LWS's own labels or annotations out.
fn without_lws(map: &mut Value, field: &str, log: &mut Log<'_>) {
    let Some(map) = map.as_object_mut() else { return };
    let own: Vec<String> = map.keys().filter(|key| key.starts_with(LWS)).cloned().collect();
    map.remove("kubectl.kubernetes.io/last-applied-configuration");
    for key in own {
        map.remove(&key);
        let cure = "for one group in one domain use podAffinity with matchLabelKeys: [rayfleet.io/group]";
        log.dropped(&format!("{field}[{key}]"), &format!("{key} is gone"), cure);
    }
}

/// Takes empty maps out.
fn prune(metadata: &mut Value) {
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.retain(|_, value| !(value.is_null() || value.as_object().is_some_and(Map::is_empty)));
    }
}
