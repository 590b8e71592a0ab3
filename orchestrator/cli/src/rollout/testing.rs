//! A fleet with a history, for tests of the subcommands.

use kube::core::DynamicObject;
use rayfleet_api::names::LABEL_FLEET;
use rayfleet_sim_kube::api::Kind;
use serde_json::{Value, json};

use crate::revisions;
use crate::sample;
use crate::simulated::Simulated;

/// A server with a fleet and its revisions: 1 without a model, 6 without arguments, 7 as the sample.
pub(crate) fn with_history(fleet: DynamicObject) -> Simulated {
    let server = Simulated::with([fleet]);
    let uid = server.llama().metadata.uid;
    let full = sample::model(&["--max-model-len", "8192"]);
    for (number, image, model) in
        [(1, "ray:0", Value::Null), (6, "ray:1", sample::model(&[])), (7, "ray:1", full)]
    {
        let revision = json!({
            "metadata": {
                "name": format!("llama-{number}"), "namespace": "serving", "labels": {LABEL_FLEET: "llama"},
                "ownerReferences": [{
                    "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet",
                    "name": "llama", "uid": uid
                }]
            },
            "revision": number,
            "data": {"spec": {"template": sample::template(image), "model": model}}
        });
        server.0.create(&Kind::CONTROLLER_REVISION, revision).unwrap();
    }
    server
}

/// A fleet that was complete at revision 6 of its history and is being rolled out to 7.
pub(crate) fn under_way() -> DynamicObject {
    let mut fleet = sample::upgrading();
    let stable = revisions::hash(&sample::template("ray:1"), &sample::model(&[])).unwrap();
    fleet.data["status"]["rollout"]["stable"] = json!(stable);
    // The simulated API server counts from 1.
    fleet.data["status"]["observedGeneration"] = json!(1);
    fleet
}
