//! Events about RayClusters. Only warnings: the others report what the status shows anyway.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::object::{name, namespace, uid, written};
use crate::api::{ApiServer, Kind};

/// Emits a warning about a cluster. A repeated warning increases the count of the existing event.
pub(super) fn warn(api: &ApiServer, cluster: &Value, reason: &str, message: &str, now: Timestamp) {
    let mut hasher = DefaultHasher::new();
    (uid(cluster), reason, message).hash(&mut hasher);
    let event_name = format!("{}.{:016x}", name(cluster), hasher.finish());
    let space = namespace(cluster);
    if let Some(before) = api.get(&Kind::EVENT, space, &event_name) {
        let count = before["count"].as_u64().unwrap_or(1) + 1;
        let patch = json!({"count": count, "lastTimestamp": written(now)});
        drop(api.merge_patch(&Kind::EVENT, space, &event_name, &patch));
        return;
    }
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": event_name, "namespace": space},
        "involvedObject": {
            "apiVersion": "ray.io/v1", "kind": "RayCluster", "namespace": space, "name": name(cluster),
            "uid": uid(cluster), "resourceVersion": cluster["metadata"]["resourceVersion"],
        },
        "type": "Warning", "reason": reason, "message": message, "count": 1,
        "firstTimestamp": written(now), "lastTimestamp": written(now),
        "source": {"component": "raycluster-controller"},
        "reportingComponent": "raycluster-controller", "reportingInstance": "",
    });
    drop(api.create(&Kind::EVENT, event));
}
