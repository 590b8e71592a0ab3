//! Patches: JSON patch, merge patch, strategic merge patch and server-side apply.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::FieldError;
use super::fields::{section, text};
use super::store::Store;
use super::write::{Target, named};
use super::{Kind, Refusal, convert, fields, scale, strategic};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatchType {
    Json,
    Merge,
    Strategic,
    /// Server-side apply. Ownership is derived from each manager's last applied object; conflicts between
    /// managers are not detected.
    Apply,
}

impl PatchType {
    /// The patch type of a request's content type.
    pub(super) fn parse(kind: &Kind, content_type: &str) -> Result<Self, Refusal> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !kind.custom() => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => Err(Refusal::unknown_format(
                "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            )),
        }
    }
}

/// A patch as sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patch<'a> {
    pub(super) form: PatchType,
    pub(super) body: &'a Value,
    /// Field manager; empty if there is none.
    pub(super) manager: &'a str,
}

impl<'a> Patch<'a> {
    pub(super) fn merge(body: &'a Value) -> Self {
        Self { form: PatchType::Merge, body, manager: "" }
    }
}

impl Store {
    /// Patches an object. Returns it, and whether it was created.
    pub(super) fn patch(
        &mut self,
        target: &Target<'_>,
        patch: &Patch<'_>,
    ) -> Result<(Arc<Value>, bool), Refusal> {
        let kind = target.kind;
        if patch.form == PatchType::Apply {
            return self.apply(target, patch);
        }
        let found = self.current(target)?;
        let mut object = convert::outward(kind, &found).into_owned();
        match patch.form {
            PatchType::Json => json(&mut object, patch.body)?,
            PatchType::Strategic => strategic::merge(&mut object, patch.body),
            PatchType::Merge | PatchType::Apply => json_patch::merge(&mut object, patch.body),
        }
        self.take(target, &found, object).map(|kept| (kept, false))
    }

    /// Stores the object that a patch made of `found`.
    fn take(
        &mut self,
        target: &Target<'_>,
        found: &Arc<Value>,
        object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        let mut object = convert::inward(target.kind, object);
        named(target, &mut object)?;
        if fields::namespace(&object) != target.namespace {
            let words =
                "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Refusal::bad_request(words));
        }
        let version = text(&object, "/metadata/resourceVersion");
        if !version.is_empty() && version != text(found, "/metadata/resourceVersion") {
            return Err(Refusal::stale(target.kind, target.name));
        }
        self.update(target, found, object)
    }

    fn apply(&mut self, target: &Target<'_>, patch: &Patch<'_>) -> Result<(Arc<Value>, bool), Refusal> {
        let kind = target.kind;
        if patch.manager.is_empty() {
            let fault = FieldError::required("fieldManager", "is required for apply patch");
            return Err(Refusal::invalid_options("PatchOptions", &fault));
        }
        let found = self.get(kind, target.namespace, target.name).cloned();
        let Some(found) = found else {
            if !fields::uid(patch.body).is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was found",
                    fields::uid(patch.body)
                );
                return Err(Refusal::conflict(kind, target.name, &why));
            }
            let mut object = patch.body.clone();
            named(target, &mut object)?;
            let made = self.create(target, object)?;
            self.remember(target, &made, patch);
            return Ok((made, true));
        };
        let mut object = convert::outward(kind, &found).into_owned();
        let owner = (fields::uid(&found).to_owned(), patch.manager.to_owned(), target.status);
        if let Some(before) = self.applied.get(&owner) {
            take_away(&mut object, before, patch.body);
        }
        if kind.custom() {
            json_patch::merge(&mut object, patch.body);
        } else {
            strategic::merge(&mut object, patch.body);
        }
        let kept = self.take(target, &found, object)?;
        self.remember(target, &kept, patch);
        Ok((kept, false))
    }

    fn remember(&mut self, target: &Target<'_>, kept: &Value, patch: &Patch<'_>) {
        if !target.dry_run {
            let owner = (fields::uid(kept).to_owned(), patch.manager.to_owned(), target.status);
            self.applied.insert(owner, patch.body.clone());
        }
    }

    /// Patches the scale of a fleet, that is its replicas.
    pub(super) fn patch_scale(
        &mut self,
        target: &Target<'_>,
        patch: &Patch<'_>,
    ) -> Result<Arc<Value>, Refusal> {
        let found = self.current(target)?;
        let mut scale = scale::of(&found);
        match patch.form {
            PatchType::Json => json(&mut scale, patch.body)?,
            _ => json_patch::merge(&mut scale, patch.body),
        }
        self.replace_scale(target, &scale)
    }

    /// Sets the replicas of a fleet to those of a scale.
    pub(super) fn replace_scale(
        &mut self,
        target: &Target<'_>,
        scale: &Value,
    ) -> Result<Arc<Value>, Refusal> {
        let found = self.current(target)?;
        let version = text(scale, "/metadata/resourceVersion");
        if !version.is_empty() && version != text(&found, "/metadata/resourceVersion") {
            return Err(Refusal::stale(target.kind, target.name));
        }
        let mut object = Value::clone(&found);
        let replicas = scale.pointer("/spec/replicas").cloned().unwrap_or_else(|| Value::from(0));
        section(&mut object, "spec").insert("replicas".to_owned(), replicas);
        self.update(target, &found, object)
    }
}

fn json(object: &mut Value, body: &Value) -> Result<(), Refusal> {
    let patch: json_patch::Patch =
        serde_json::from_value(body.clone()).map_err(|error| Refusal::bad_request(error.to_string()))?;
    json_patch::patch(object, &patch).map_err(|_| Refusal::unprocessable())
}

/// Removes fields that were applied before and are not now. Lists are treated as a whole.
fn take_away(object: &mut Value, before: &Value, now: &Value) {
    let (Some(object), Some(before)) = (object.as_object_mut(), before.as_object()) else { return };
    let nothing = Map::new();
    let now = now.as_object().unwrap_or(&nothing);
    for (name, value) in before {
        match now.get(name) {
            None if value.is_object() => {
                if let Some(inner) = object.get_mut(name) {
                    take_away(inner, value, &Value::Null);
                    if inner.as_object().is_some_and(Map::is_empty) {
                        object.remove(name);
                    }
                }
            }
            None => {
                object.remove(name);
            }
            Some(now) => {
                if let Some(inner) = object.get_mut(name) {
                    take_away(inner, value, now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::clock::Clock;

    fn store() -> Store {
        let mut store = Store::new(Clock::start());
        store.put(&Kind::NAMESPACE, json!({"metadata": {"name": "n"}}));
        let object = json!({"metadata": {"name": "c"}, "data": {"a": "1"}});
        store.create(&Target::direct(&Kind::CONFIG_MAP, "n", ""), object).unwrap();
        store
    }

    fn run(store: &mut Store, form: PatchType, body: &Value) -> Result<Arc<Value>, Refusal> {
        let target = Target { client: true, ..Target::direct(&Kind::CONFIG_MAP, "n", "c") };
        store.patch(&target, &Patch { form, body, manager: "m" }).map(|(object, _)| object)
    }

    #[tokio::test(start_paused = true)]
    async fn merge_and_json_patches_change_an_object() {
        let mut store = store();
        let merged = run(&mut store, PatchType::Merge, &json!({"data": {"a": null, "b": "2"}})).unwrap();
        assert_eq!(merged["data"], json!({"b": "2"}));
        let body = json!([{"op": "test", "path": "/data/b", "value": "2"}, {"op": "add", "path": "/data/c", "value": "3"}]);
        assert_eq!(run(&mut store, PatchType::Json, &body).unwrap()["data"], json!({"b": "2", "c": "3"}));
        let failing = json!([{"op": "test", "path": "/data/b", "value": "9"}]);
        assert_eq!(run(&mut store, PatchType::Json, &failing).unwrap_err().code, 422);
    }

    #[tokio::test(start_paused = true)]
    async fn a_uid_in_a_patch_is_a_precondition() {
        let mut store = store();
        let uid = run(&mut store, PatchType::Merge, &json!({"metadata": {"uid": "other"}})).unwrap_err();
        assert_eq!((uid.code, uid.reason.as_str()), (422, "Invalid"));
        let version = run(&mut store, PatchType::Merge, &json!({"metadata": {"resourceVersion": "1"}}));
        assert_eq!(version.unwrap_err().reason, "Conflict");
        let name = run(&mut store, PatchType::Merge, &json!({"metadata": {"name": "d"}}));
        assert_eq!(name.unwrap_err().code, 400);
    }

    #[tokio::test(start_paused = true)]
    async fn apply_removes_fields_it_no_longer_sets() {
        let mut store = store();
        run(&mut store, PatchType::Apply, &json!({"data": {"x": "1", "y": "2"}})).unwrap();
        let kept = run(&mut store, PatchType::Apply, &json!({"data": {"y": "3"}})).unwrap();
        assert_eq!(kept["data"], json!({"a": "1", "y": "3"}));
    }

    #[tokio::test(start_paused = true)]
    async fn apply_creates_a_missing_object() {
        let mut store = store();
        let target = Target::direct(&Kind::CONFIG_MAP, "n", "new");
        let body = json!({"data": {"x": "1"}});
        let patch = Patch { form: PatchType::Apply, body: &body, manager: "m" };
        assert!(store.patch(&target, &patch).unwrap().1);
        let nobody = Patch { manager: "", ..patch };
        assert_eq!(store.patch(&target, &nobody).unwrap_err().code, 422);
    }

    #[test]
    fn strategic_patches_of_custom_resources_are_refused() {
        let strategic = "application/strategic-merge-patch+json";
        assert_eq!(PatchType::parse(&Kind::POD, strategic).unwrap(), PatchType::Strategic);
        assert_eq!(PatchType::parse(&Kind::FLEET, strategic).unwrap_err().code, 415);
    }
}
