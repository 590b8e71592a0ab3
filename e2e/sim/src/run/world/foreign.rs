//! What other people and tools do to a cluster, and none of it is the orchestrator's affair: pods with copied labels, times that no
//! library can read, labels of another tool on what is not theirs.

use rayfleet_api::names;
use rayfleet_sim_kube::api::{ApiServer, Kind};
use serde_json::{Value, json};

use super::{ABSENT_IMAGE, NAMESPACE};

/// A time that Kubernetes takes and gives back.
const NEVER: &str = "9999-12-31T23:59:59Z";
/// A namespace of somebody else.
const ELSEWHERE: &str = "elsewhere";

/// Does all of it. Gives the names of the pods that look like those of groups.
pub(super) fn come(api: &ApiServer) -> Vec<String> {
    let mut strays = Vec::new();
    for cluster in api.list(&Kind::RAY_CLUSTER) {
        let name = cluster["metadata"]["name"].as_str().unwrap_or_default();
        let labels = |role: &str| {
            json!({
                names::LABEL_FLEET: cluster["metadata"]["labels"][names::LABEL_FLEET], names::LABEL_GROUP: name,
                names::RAY_LABEL_CLUSTER: name, names::RAY_LABEL_NODE_TYPE: role
            })
        };
        // Names that sort before those of the group's own pods.
        for role in ["head", "worker"] {
            let stray = format!("a-stray-{role}-{name}");
            let _ = api.create(&Kind::POD, pod(NAMESPACE, &stray, &labels(role)));
            strays.push(stray);
        }
        let other_tool = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}});
        let _ = api.merge_patch(&Kind::RAY_CLUSTER, NAMESPACE, name, &other_tool);
    }
    let heads = api.list(&Kind::POD).into_iter().filter(|pod| {
        let metadata = &pod["metadata"];
        metadata["labels"][names::RAY_LABEL_NODE_TYPE] == "head" && metadata["ownerReferences"].is_array()
    });
    for head in heads {
        let name = head["metadata"]["name"].as_str().unwrap_or_default();
        let _ = api.merge_patch(&Kind::POD, NAMESPACE, name, &json!({"metadata": managed_fields()}));
    }
    // It may be there from the time before.
    let _ = api.create(&Kind::POD, pod(ELSEWHERE, "anything", &json!({"app": "anything"})));
    strays
}

/// Takes away what looks like pods of groups.
pub(super) fn go(api: &ApiServer, strays: &[String]) {
    for stray in strays {
        // Somebody may have been quicker.
        let _ = api.remove(&Kind::POD, NAMESPACE, stray);
    }
}

fn managed_fields() -> Value {
    json!({"managedFields": [{"manager": "other", "operation": "Update", "time": NEVER}]})
}

fn pod(namespace: &str, name: &str, labels: &Value) -> Value {
    let mut metadata = managed_fields();
    metadata["name"] = json!(name);
    metadata["namespace"] = json!(namespace);
    metadata["labels"] = labels.clone();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"containers": [{"name": "stray", "image": ABSENT_IMAGE}]}
    })
}
