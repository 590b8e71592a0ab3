//! The managers of a fleet's fields, so that fleets that `kubectl apply` made are applied on the server's side from then on: what kubectl
//! itself does at `--server-side` (`csaupgrade` of k8s.io/client-go 0.36). Pure.

use serde_json::{Value, json};

/// Manager of fields that kubectl applies on the server's side. The API server lets only this one take over from the next one.
pub(super) const SERVER_SIDE: &str = "kubectl";
/// Manager of fields that kubectl applied on its own side.
const CLIENT_SIDE: &str = "kubectl-client-side-apply";
/// Manager of the annotation with the last manifest.
pub(super) const LAST_APPLIED_MANAGER: &str = "kubectl-last-applied";
/// Where `kubectl apply` keeps the last manifest.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// What the plugin's other commands write as.
const OURS: &str = "kubectl-rayfleet";

/// The managed fields once the server-side manager has what the client-side one has; `None` if that has nothing.
pub(super) fn upgraded(managed: &Value) -> Option<Value> {
    let entries = managed.as_array()?;
    let is = |entry: &Value, manager: &str, operation: &str| {
        entry["manager"] == manager && entry["operation"] == operation && entry["subresource"].is_null()
    };
    let (old, mut kept): (Vec<Value>, Vec<Value>) =
        entries.iter().cloned().partition(|entry| is(entry, CLIENT_SIDE, "Update"));
    let mut old = old.into_iter();
    let mut first = old.next()?;
    let at = kept.iter().position(|entry| is(entry, SERVER_SIDE, "Apply")).unwrap_or_else(|| {
        first["manager"] = json!(SERVER_SIDE);
        first["operation"] = json!("Apply");
        kept.push(first.clone());
        kept.len() - 1
    });
    for entry in std::iter::once(first).chain(old) {
        unite(&mut kept[at]["fieldsV1"], &entry["fieldsV1"]);
    }
    Some(Value::Array(kept))
}

/// Fields of either.
fn unite(fields: &mut Value, more: &Value) {
    match (&mut *fields, more) {
        (Value::Object(fields), Value::Object(more)) => {
            for (name, more) in more {
                unite(fields.entry(name.clone()).or_insert_with(|| json!({})), more);
            }
        }
        (Value::Null, Value::Object(_)) => fields.clone_from(more),
        _ => {}
    }
}

/// Whether a conflict is only with what the plugin's own commands wrote: a manifest counts after them.
pub(super) fn ours<'c>(conflicts: impl IntoIterator<Item = &'c str>) -> bool {
    let with = format!("conflict with \"{OURS}\"");
    let mut conflicts = conflicts.into_iter().peekable();
    conflicts.peek().is_some() && conflicts.all(|conflict| conflict.starts_with(&with))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    #[test]
    fn what_kubectl_applied_itself_belongs_to_its_server_side_manager() {
        let spec = |field: &str| json!({"f:spec": {field: {}}});
        let mut status = entry(CLIENT_SIDE, "Update", &json!({"f:status": {}}));
        status["subresource"] = json!("status");
        let before = json!([
            entry(CLIENT_SIDE, "Update", &spec("f:replicas")),
            status,
            entry("manager", "Update", &spec("f:paused"))
        ]);
        let after = json!([
            status,
            entry("manager", "Update", &spec("f:paused")),
            entry(SERVER_SIDE, "Apply", &spec("f:replicas"))
        ]);
        assert_eq!(upgraded(&before), Some(after.clone()));
        assert_eq!(upgraded(&after), None);
        assert_eq!(upgraded(&Value::Null), None);
    }

    #[test]
    fn fields_of_both_managers_are_united() {
        let before = json!([
            entry(SERVER_SIDE, "Apply", &json!({"f:spec": {"f:model": {"f:name": {}}}})),
            entry(CLIENT_SIDE, "Update", &json!({"f:spec": {"f:model": {"f:source": {}}, "f:replicas": {}}}))
        ]);
        let fields = json!({"f:spec": {"f:model": {"f:name": {}, "f:source": {}}, "f:replicas": {}}});
        assert_eq!(upgraded(&before), Some(json!([entry(SERVER_SIDE, "Apply", &fields)])));
    }

    #[test]
    fn only_conflicts_with_our_own_commands_are_ours() {
        let mine = "conflict with \"kubectl-rayfleet\" using orchestration.aibrix.ai/v1alpha1";
        assert!(ours([mine, mine]));
        assert!(!ours([mine, "conflict with \"kubectl-edit\" using orchestration.aibrix.ai/v1alpha1"]));
        assert!(!ours([]));
    }
}
