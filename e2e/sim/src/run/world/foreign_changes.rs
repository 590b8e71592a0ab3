//! Changes by others to the fleet's RayClusters: resizes, suspensions. Failures of machines do not belong
//! here.

use rayfleet_sim_kube::api::{ApiServer, Kind};
use serde_json::{Value, json};

/// Suspends or resumes. KubeRay resumes at `false` only, not where the field is gone.
pub(super) fn suspend(api: &ApiServer, namespace: &str, name: &str, value: bool) -> Result<(), String> {
    patch(api, namespace, name, &json!({"suspend": value}))
}

/// Sets the replicas of all worker groups, and their bounds to match.
pub(super) fn resize(api: &ApiServer, namespace: &str, name: &str, replicas: u32) -> Result<(), String> {
    let cluster = api.get(&Kind::RAY_CLUSTER, namespace, name).ok_or("the RayCluster does not exist")?;
    let mut groups = cluster["spec"]["workerGroupSpecs"].clone();
    for group in groups.as_array_mut().into_iter().flatten() {
        group["replicas"] = json!(replicas);
        group["minReplicas"] = json!(0);
    }
    patch(api, namespace, name, &json!({"workerGroupSpecs": groups}))
}

/// Removes or adds worker groups.
pub(super) fn regroup(
    api: &ApiServer,
    namespace: &str,
    name: &str,
    change: impl FnOnce(Vec<Value>) -> Vec<Value>,
) -> Result<(), String> {
    let cluster = api.get(&Kind::RAY_CLUSTER, namespace, name).ok_or("the RayCluster does not exist")?;
    let groups = cluster["spec"]["workerGroupSpecs"].as_array().cloned().unwrap_or_default();
    patch(api, namespace, name, &json!({"workerGroupSpecs": change(groups)}))
}

/// No worker groups.
pub(super) fn none(_: Vec<Value>) -> Vec<Value> {
    Vec::new()
}

/// One more group, a copy of the first.
pub(super) fn one_more(mut groups: Vec<Value>) -> Vec<Value> {
    if let Some(mut more) = groups.first().cloned() {
        more["groupName"] = json!("more");
        groups.push(more);
    }
    groups
}

/// Another head beside the one that is there, as KubeRay makes it whose view of pods is late. Its name comes first.
pub(super) fn second_head(api: &ApiServer, head: &Value) -> Result<(), String> {
    let (mut second, metadata) = (json!({"spec": head["spec"]}), &head["metadata"]);
    let cluster = &metadata["ownerReferences"][0]["name"];
    second["metadata"] = json!({
        "name": format!("{}-head-0", cluster.as_str().unwrap_or_default()), "namespace": metadata["namespace"],
        "labels": metadata["labels"], "annotations": metadata["annotations"],
        "ownerReferences": metadata["ownerReferences"],
    });
    if let Some(spec) = second["spec"].as_object_mut() {
        spec.remove("nodeName");
    }
    api.create(&Kind::POD, second).map(drop).map_err(|refusal| refusal.message)
}

fn patch(api: &ApiServer, namespace: &str, name: &str, spec: &Value) -> Result<(), String> {
    let patched = api.merge_patch(&Kind::RAY_CLUSTER, namespace, name, &json!({"spec": spec}));
    patched.map(drop).map_err(|refusal| refusal.message)
}
