//! What `kubectl apply` makes of a live object: the same three-way merge.

use serde_json::{Map, Value, json};

/// Where `kubectl apply` keeps the manifest.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The manifest over the live object (null: there is none), as kubectl patches a custom resource.
pub(super) fn merged(manifest: &Value, live: &Value, namespace: &str) -> Value {
    let last = live["metadata"]["annotations"][LAST_APPLIED].as_str();
    let last: Value = last.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut object = live.as_object().cloned().unwrap_or_default();
    if let Some(manifest) = manifest.as_object() {
        patch(&mut object, &last, manifest);
    }
    let mut object = Value::Object(object);
    let changed = i64::from(object["spec"] != live["spec"]);
    let generation = live["metadata"]["generation"].as_i64().unwrap_or_default();
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["generation"] = json!(generation + changed);
    object["metadata"]["uid"] = live["metadata"]["uid"].clone();
    object["status"] = live["status"].clone();
    object
}

/// Maps are merged key by key, lists replaced. Keys that the last manifest had and this one lacks go; those that
/// neither has stay, whoever wrote them.
fn patch(live: &mut Map<String, Value>, last: &Value, manifest: &Map<String, Value>) {
    live.retain(|key, _| manifest.contains_key(key) || last.get(key).is_none());
    for (key, wanted) in manifest {
        let before = last.get(key);
        match wanted {
            // kubectl sends a null only if the last manifest had another value or none; then it is a deletion.
            Value::Null if before == Some(&Value::Null) => {}
            Value::Null => {
                live.remove(key);
            }
            Value::Object(wanted) => {
                let mut inner = match live.remove(key) {
                    Some(Value::Object(inner)) => inner,
                    _ => Map::new(),
                };
                patch(&mut inner, before.unwrap_or(&Value::Null), wanted);
                live.insert(key.clone(), Value::Object(inner));
            }
            other => {
                live.insert(key.clone(), other.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rayfleet_api::names::ANNOTATION_RESTARTED_AT;

    use super::*;
    use crate::sample;

    /// The live fleet's spec after `kubectl apply` of `applied`, this change of the live one, and an apply of `manifest`.
    fn reapplied(applied: &Value, change: impl FnOnce(&mut Value), manifest: &Value) -> Value {
        let mut live = json!(sample::upgrading());
        live["spec"] = applied.clone();
        let last = json!({"metadata": {"name": "llama"}, "spec": applied});
        live["metadata"]["annotations"] = json!({LAST_APPLIED: last.to_string()});
        change(&mut live["spec"]);
        let manifest = json!({"metadata": {"name": "llama"}, "spec": manifest});
        merged(&manifest, &live, "serving")["spec"].clone()
    }

    /// The sample's spec without a number of groups.
    fn unsized_spec() -> Value {
        let mut spec = sample::spec("ray:1", &[]);
        spec.as_object_mut().unwrap().remove("replicas");
        spec
    }

    #[test]
    fn a_restart_stays_after_an_apply() {
        let spec = sample::spec("ray:1", &[]);
        let at = json!({ANNOTATION_RESTARTED_AT: "2026-03-01T12:00:00Z"});
        let restart = |live: &mut Value| live["template"]["metadata"]["annotations"] = at.clone();
        let after = reapplied(&spec, restart, &sample::spec("ray:2", &[]));
        assert_eq!(after["template"]["metadata"], json!({"labels": {"app": "llama"}, "annotations": at}));
        // A list is the manifest's as a whole.
        let workers = &after["template"]["spec"]["workerGroupSpecs"];
        assert_eq!(workers, &sample::template("ray:2")["spec"]["workerGroupSpecs"]);
    }

    #[test]
    fn a_pause_stays_after_an_apply() {
        let spec = sample::spec("ray:1", &[]);
        let after = reapplied(&spec, |live| live["paused"] = json!(true), &spec);
        assert_eq!(after["paused"], true);
    }

    #[test]
    fn a_scale_stays_unless_the_manifest_has_replicas() {
        let scale = |live: &mut Value| live["replicas"] = json!(5);
        assert_eq!(reapplied(&unsized_spec(), scale, &unsized_spec())["replicas"], 5);
        let spec = sample::spec("ray:1", &[]);
        assert_eq!(reapplied(&spec, scale, &spec)["replicas"], 2);
    }

    #[test]
    fn a_field_removed_from_the_manifest_goes() {
        let mut spec = sample::spec("ray:1", &[]);
        spec["template"]["metadata"]["annotations"] = json!({"team": "a"});
        let restart = |live: &mut Value| {
            live["template"]["metadata"]["annotations"][ANNOTATION_RESTARTED_AT] = json!("now");
        };
        let mut fewer = unsized_spec();
        fewer["template"]["metadata"]["annotations"] = json!({});
        let after = reapplied(&spec, restart, &fewer);
        assert_eq!(after["replicas"], Value::Null);
        assert_eq!(after["template"]["metadata"]["annotations"], json!({ANNOTATION_RESTARTED_AT: "now"}));
    }

    #[test]
    fn a_null_deletes_where_the_last_manifest_had_none() {
        let mut null = unsized_spec();
        null["replicas"] = Value::Null;
        let scale = |live: &mut Value| live["replicas"] = json!(5);
        assert_eq!(reapplied(&sample::spec("ray:1", &[]), scale, &null)["replicas"], Value::Null);
        assert_eq!(reapplied(&null, scale, &null)["replicas"], 5);
    }

    #[test]
    fn a_change_is_of_the_next_generation_and_keeps_what_it_does_not_name() {
        // Nobody applied it before: it has no annotation.
        let stored = json!(sample::upgrading());
        let mut spec = unsized_spec();
        spec["template"] = sample::template("ray:2");
        let manifest = json!({"kind": "RayClusterFleet", "metadata": {"name": "llama"}, "spec": spec});
        let object = merged(&manifest, &stored, "serving");
        assert_eq!(object["metadata"]["generation"], 5);
        assert_eq!(
            (&object["metadata"]["uid"], &object["spec"]["replicas"]),
            (&json!("fleet-uid"), &json!(2))
        );
        assert_eq!(object["status"]["replicas"], 2);
        let same = json!({"metadata": {"name": "llama"}, "spec": stored["spec"]});
        assert_eq!(merged(&same, &stored, "serving")["metadata"]["generation"], 4);
        let created = merged(&manifest, &Value::Null, "serving");
        assert_eq!((&created["metadata"]["generation"], &created["spec"]), (&json!(1), &spec));
        assert_eq!(created["status"], Value::Null);
    }
}
