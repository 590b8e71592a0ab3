//! The end of a run, without what may differ between two runs that end alike: times, versions, names of attempts, addresses.

use std::collections::BTreeSet;

use rayfleet_api::names;
use rayfleet_sim_kube::api::{ApiServer, Kind};
use rayfleet_sim_ray::RayWorld;
use serde_json::{Value, json};

/// The objects that a picture is made of: the fleet, and what carries its label.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// The fleet, if it is there.
    pub fleet: Option<Value>,
    /// RayClusters.
    pub clusters: Vec<Value>,
    /// Pods.
    pub pods: Vec<Value>,
    /// Services.
    pub services: Vec<Value>,
    /// ControllerRevisions.
    pub revisions: Vec<Value>,
}

/// What is there at the end of a simulated run.
pub fn picture(api: &ApiServer, ray: &RayWorld, namespace: &str, fleet: &str) -> Value {
    let ours = |kind: &Kind| -> Vec<Value> {
        let all = api.list(kind);
        let ours = all.iter().filter(|object| object["metadata"]["labels"][names::LABEL_FLEET] == *fleet);
        ours.map(|object| Value::clone(object)).collect()
    };
    let clusters = ours(&Kind::RAY_CLUSTER);
    let ray = ray_picture(&ray.snapshot(), &clusters);
    let objects = Objects {
        fleet: api.get(&Kind::FLEET, namespace, fleet).as_deref().cloned(),
        clusters,
        pods: ours(&Kind::POD),
        services: ours(&Kind::SERVICE),
        revisions: ours(&Kind::CONTROLLER_REVISION),
    };
    picture_of(&objects, &ray)
}

/// The picture of objects, whoever has them, and of what runs in Ray, as far as it is known.
pub fn picture_of(objects: &Objects, ray: &Value) -> Value {
    let Objects { fleet: raw, clusters, pods, services, revisions } = objects;
    json!({
        "spec": raw.as_ref().map(|raw| raw["spec"].clone()),
        "status": raw.as_ref().map(|raw| status(&raw["status"])),
        "rayClusters": sorted(clusters.iter().map(cluster)),
        "pods": sorted(pods.iter().map(pod)),
        "services": sorted(services.iter().map(|service| {
            json!({"name": service["metadata"]["name"], "ports": service["spec"]["ports"], "selector": service["spec"]["selector"]})
        })),
        "revisions": sorted(revisions.iter().map(|record| {
            json!({"name": record["metadata"]["name"], "revision": record["revision"], "data": record["data"]})
        })),
        "ray": ray,
    })
}

fn sorted(values: impl Iterator<Item = Value>) -> Value {
    let mut values: Vec<Value> = values.collect();
    values.sort_by_key(ToString::to_string);
    Value::Array(values)
}

fn status(status: &Value) -> Value {
    let groups = status["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rollout = &status["rollout"];
    json!({
        "replicas": status["replicas"],
        "updated": status["updatedReplicas"],
        "ready": status["readyReplicas"],
        "available": status["availableReplicas"],
        "unavailable": status["unavailableReplicas"],
        "conditions": conditions.iter().map(|condition| {
            json!([condition["type"], condition["status"], condition["reason"]])
        }).collect::<Vec<_>>(),
        "rollout": {
            "step": rollout["step"], "to": rollout["to"], "from": rollout["from"], "number": rollout["revisionNumber"],
            "stable": rollout["stable"], "failed": rollout["rollback"]["failed"],
        },
        "groups": sorted(groups.iter().map(|group| json!({
            "revision": group["revision"], "engine": group["engineRevision"], "phase": group["phase"],
            "goal": group["goal"], "ranks": group["ranks"], "misplaced": group["misplaced"],
            "message": group["message"].is_null(),
        }))),
    })
}

fn cluster(cluster: &Value) -> Value {
    let mut spec = cluster["spec"].clone();
    strip(&mut spec);
    // Whoever resumes a RayCluster leaves the field behind, with what it means by default.
    if let Some(fields) = spec.as_object_mut().filter(|fields| fields.get("suspend") == Some(&json!(false))) {
        fields.remove("suspend");
    }
    json!({
        "revision": cluster["metadata"]["labels"][names::LABEL_POD_REVISION],
        "deleting": !cluster["metadata"]["deletionTimestamp"].is_null(),
        "spec": spec,
    })
}

/// Takes away what names the slot and the attempt.
fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for own in [names::LABEL_GROUP, names::LABEL_SLOT, names::ANNOTATION_ATTEMPT] {
                map.remove(own);
            }
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

fn pod(pod: &Value) -> Value {
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready =
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    json!([
        pod["metadata"]["labels"][names::LABEL_POD_REVISION],
        pod["metadata"]["labels"][names::RAY_LABEL_NODE_TYPE],
        pod["status"]["phase"],
        ready,
        pod["metadata"]["deletionTimestamp"].is_null(),
    ])
}

/// Ray clusters that somebody runs, each with what runs in it: none may be without its RayCluster.
fn ray_picture(snapshot: &Value, clusters: &[Value]) -> Value {
    let known: BTreeSet<String> = clusters
        .iter()
        .map(|cluster| {
            let part = |field: &str| cluster["metadata"][field].as_str().unwrap_or_default();
            format!("{}/{}", part("namespace"), part("name"))
        })
        .collect();
    let running = snapshot["clusters"].as_object().into_iter().flatten();
    sorted(running.map(|(name, cluster)| json!({"known": known.contains(name), "is": living(cluster)})))
}

/// Says so, if somebody still runs a Ray cluster whose RayCluster is not there.
pub fn orphans(picture: &Value) -> Option<String> {
    let running = picture["ray"].as_array()?;
    let orphans = running.iter().filter(|cluster| cluster["known"] == false).count();
    (orphans > 0).then(|| format!("{orphans} Ray clusters run without their RayCluster"))
}

/// What lives in a Ray cluster, by number.
fn living(cluster: &Value) -> Value {
    let count = |list: &str, field: &str, value: &Value| {
        let all = cluster[list].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|entry| entry[field] == *value).count()
    };
    json!({
        "nodes": count("nodes", "alive", &json!(true)),
        "jobs": count("jobs", "status", &json!("RUNNING")),
        "placementGroups": count("groups", "state", &json!("CREATED")),
        "ranks": cluster["ranks"].as_array().map(Vec::len),
        "dashboard": cluster["dashboard"],
    })
}

/// Paths at which two pictures differ, with both values.
pub fn difference(path: &str, one: &Value, other: &Value) -> Vec<(String, Value, Value)> {
    match (one, other) {
        _ if one == other => Vec::new(),
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let at =
                |map: &serde_json::Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or_default();
            keys.into_iter()
                .flat_map(|key| difference(&format!("{path}/{key}"), &at(a, key), &at(b, key)))
                .collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs.flat_map(|(index, (a, b))| difference(&format!("{path}/{index}"), a, b)).collect()
        }
        _ => vec![(path.to_owned(), one.clone(), other.clone())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_by_its_path() {
        let one = json!({"a": [1, {"b": 2}], "c": 3});
        assert!(difference("", &one, &one).is_empty());
        let other = json!({"a": [1, {"b": 4}], "d": 5});
        let found = |path: &str, one: Value, other: Value| (path.to_owned(), one, other);
        assert_eq!(
            difference("", &one, &other),
            [
                found("/a/1/b", json!(2), json!(4)),
                found("/c", json!(3), Value::Null),
                found("/d", Value::Null, json!(5))
            ]
        );
        assert_eq!(difference("", &json!([1]), &json!([1, 2])), [found("", json!([1]), json!([1, 2]))]);
    }

    #[test]
    fn a_ray_cluster_that_outlives_its_raycluster_is_reported() {
        let cluster = json!({"metadata": {"namespace": "n", "name": "g"}});
        let of = |running: &Value| json!({"ray": ray_picture(&json!({"clusters": running}), std::slice::from_ref(&cluster))});
        assert_eq!(orphans(&of(&json!({"n/g": {}}))), None);
        let reported = orphans(&of(&json!({"n/g": {}, "n/h": {}})));
        assert_eq!(reported.as_deref(), Some("1 Ray clusters run without their RayCluster"));
    }

    #[test]
    fn slot_and_attempt_do_not_count() {
        let cluster = |group: &str| {
            json!({"metadata": {"name": group, "labels": {}}, "spec": {"headGroupSpec": {"template": {"metadata": {
                "labels": {names::LABEL_GROUP: group, names::LABEL_SLOT: "0", "app": "x"}
            }}}}})
        };
        assert_eq!(super::cluster(&cluster("a-0")), super::cluster(&cluster("a-1-2")));
        assert!(super::cluster(&cluster("a")).to_string().contains("app"));
    }
}
