//! What AIBrix's controllers create for a fleet: a RayClusterReplicaSet, and its RayClusters. They are then
//! switched off.

use rayfleet_api::names;
use rayfleet_sim_kube::api::{ApiServer, Kind, Refusal};
use serde_json::{Value, json};

/// Letters by which AIBrix would distinguish templates.
const HASH: &str = "bcdfgh";

/// Creates them for a fleet that was just created.
pub(super) fn works(api: &ApiServer, fleet: &Value) -> Result<(), Refusal> {
    let name = text(&fleet["metadata"]["name"]);
    let mut template = fleet["spec"]["template"].clone();
    template["metadata"]["labels"]["pod-template-hash"] = json!(HASH);
    let spec = &mut template["spec"];
    spec["headGroupSpec"]["template"]["metadata"]["labels"][names::LABEL_FLEET] = json!(name);
    for workers in spec["workerGroupSpecs"].as_array_mut().into_iter().flatten() {
        workers["template"]["metadata"]["labels"][names::LABEL_FLEET] = json!(name);
        // AIBrix's Go types write these fields out.
        workers["numOfHosts"] = json!(1);
        workers["scaleStrategy"] = json!({});
    }
    let replicas = fleet["spec"]["replicas"].as_u64().unwrap_or(1);
    let set = api.create(
        &Kind::REPLICA_SET,
        json!({
            "metadata": metadata(fleet, &format!("{name}-{HASH}"), &template["metadata"], "RayClusterFleet", fleet),
            "spec": {"replicas": replicas, "template": template},
        }),
    )?;
    for number in 0..replicas {
        let name = format!("{name}-{HASH}-x{number}");
        let metadata = metadata(fleet, &name, &template["metadata"], "RayClusterReplicaSet", &set);
        api.create(&Kind::RAY_CLUSTER, json!({"metadata": metadata, "spec": template["spec"]}))?;
    }
    Ok(())
}

fn metadata(fleet: &Value, name: &str, template: &Value, kind: &str, owner: &Value) -> Value {
    json!({
        "namespace": fleet["metadata"]["namespace"], "name": name, "labels": template["labels"], "annotations": template["annotations"],
        "ownerReferences": [{
            "apiVersion": Kind::FLEET.api_version(), "kind": kind, "controller": true, "blockOwnerDeletion": true,
            "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        }],
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
