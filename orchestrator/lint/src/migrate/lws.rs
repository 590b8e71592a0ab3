//! A LeaderWorkerSet as a fleet: leaders are heads, the size is a worker group, and a set's groups are the fleet's (LWS 0.10,
//! `api/leaderworkerset/v1`).

use serde_json::{Map, Value, json};

use super::edit::{put, take_out};
use super::log::Log;
use crate::workload::Workload;

/// Prefix of the labels and annotations by which LWS's controller finds and steers pods.
const LWS: &str = "leaderworkerset.sigs.k8s.io/";
const TEMPLATE: &str = "spec.leaderWorkerTemplate";
/// Labels by which Kueue admits what has them: of a set the set, of a fleet its RayClusters.
const KUEUE: [&str; 2] = ["kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"];

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
        take_out(&mut metadata, &[field]);
    }
    let mut labels = json!({key: value});
    for label in KUEUE {
        if let Some(queue) = take_out(&mut metadata, &["labels", label]) {
            labels[label] = queue;
            let what =
                format!("{label} is a label of the template: Kueue admits the RayCluster of each group");
            log.changed(&format!("metadata.labels[{label}]"), &what, "see that the queue takes RayClusters");
        }
    }
    prune(&mut metadata);
    let mut groups: Vec<Value> = workload
        .roles
        .iter()
        .map(|role| pod_template(role.template, &role.field, (key, value), log))
        .collect();
    claims(&set["spec"]["leaderWorkerTemplate"]["volumeClaimTemplates"], &mut groups, log);
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
            "template": {"metadata": {"labels": labels}, "spec": cluster},
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
    if let Some(given) = metadata["labels"][key].as_str().filter(|given| *given != value) {
        log.changed(
            &format!("{field}.metadata.labels[{key}]"),
            &format!("the label {key}: {given} of its pods became {key}: {value}, the fleet's selector"),
            "change affinities, disruption budgets, network policies and monitors that select it",
        );
    }
    metadata["labels"][key] = json!(value);
    prune(&mut metadata);
    if template.is_object() {
        template["metadata"] = metadata;
    }
    template
}

/// A set's claims as ephemeral volumes: LWS gives both to every pod, and a claim counts before a volume of its name.
fn claims(claims: &Value, groups: &mut [Value], log: &mut Log<'_>) {
    let field = format!("{TEMPLATE}.volumeClaimTemplates");
    for (index, claim) in claims.as_array().into_iter().flatten().enumerate() {
        let Some(name) = claim["metadata"]["name"].as_str().filter(|name| !name.is_empty()) else { continue };
        let mut template = json!({"spec": claim["spec"]});
        for kept in ["labels", "annotations"] {
            if claim["metadata"][kept].is_object() {
                put(&mut template, &["metadata", kept], claim["metadata"][kept].clone());
            }
        }
        let volume = json!({"name": name, "ephemeral": {"volumeClaimTemplate": template}});
        for group in groups.iter_mut().filter(|group| group["spec"].is_object()) {
            let volumes = group["spec"]["volumes"].as_array().cloned().unwrap_or_default();
            let others = volumes.into_iter().filter(|other| other["name"] != name);
            group["spec"]["volumes"] = others.chain([volume.clone()]).collect();
        }
        log.changed(
            &format!("{field}[{index}]"),
            &format!("the claim {name} became an ephemeral volume of each pod, which ends with its pod"),
            "use one claim with ReadOnlyMany for weights that every pod reads",
        );
    }
}

/// What a fleet has no words for.
fn left_out(set: &Value, log: &mut Log<'_>) {
    let template = &set["spec"]["leaderWorkerTemplate"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
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
