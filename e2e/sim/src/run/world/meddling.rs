//! What somebody else does to a RayCluster that is not theirs: resizes, suspensions. Nothing of it is a failure of a machine.

use serde_json::{Value, json};

use crate::api::{ApiServer, Kind};

/// Suspends or resumes. KubeRay resumes at `false` only, not where the field is gone.
pub(super) fn suspend(api: &ApiServer, namespace: &str, name: &str, value: bool) -> Result<(), String> {
    patch(api, namespace, name, &json!({"suspend": value}))
}

/// Sets the replicas of all worker groups, and the bounds so that they hold.
pub(super) fn resize(api: &ApiServer, namespace: &str, name: &str, replicas: u32) -> Result<(), String> {
    let cluster = api.get(&Kind::RAY_CLUSTER, namespace, name).ok_or("the RayCluster is not there")?;
    let mut groups = cluster["spec"]["workerGroupSpecs"].clone();
    for group in groups.as_array_mut().into_iter().flatten() {
        group["replicas"] = json!(replicas);
        group["minReplicas"] = json!(0);
    }
    patch(api, namespace, name, &json!({"workerGroupSpecs": groups}))
}

fn patch(api: &ApiServer, namespace: &str, name: &str, spec: &Value) -> Result<(), String> {
    let patched = api.merge_patch(&Kind::RAY_CLUSTER, namespace, name, &json!({"spec": spec}));
    patched.map(drop).map_err(|refusal| refusal.message)
}
