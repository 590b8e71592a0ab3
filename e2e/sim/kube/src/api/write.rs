//! Creates and updates: turns a sent object into a stored one, or refuses it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::clock::stamp;
use super::fields::{deleting, finalizers, metadata, text};
use super::store::Store;
use super::{Kind, Refusal, admit, convert, defaults, fields, meta};

/// The object that is written, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) kind: &'a Kind,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// Only the status is written.
    pub(super) status: bool,
    /// Nothing is stored.
    pub(super) dry_run: bool,
    /// Written by a client, not by a simulator of other write paths of a real cluster (binding, container
    /// states).
    pub(super) client: bool,
}

impl<'a> Target<'a> {
    /// A write by a simulator.
    pub(super) fn direct(kind: &'a Kind, namespace: &'a str, name: &'a str) -> Self {
        Self { kind, namespace, name, status: false, dry_run: false, client: false }
    }

    pub(super) fn of_status(self) -> Self {
        Self { status: true, ..self }
    }
}

impl Store {
    /// The present object, or the refusal that it does not exist.
    pub(super) fn current(&self, target: &Target<'_>) -> Result<Arc<Value>, Refusal> {
        let Target { kind, namespace, name, .. } = *target;
        self.get(kind, namespace, name).cloned().ok_or_else(|| Refusal::not_found(kind, name))
    }

    pub(super) fn create(&mut self, target: &Target<'_>, object: Value) -> Result<Arc<Value>, Refusal> {
        let kind = target.kind;
        admit::of_type(kind, &object)?;
        let mut object = convert::inward(kind, object);
        place(target, &mut object)?;
        self.namespace_takes(kind, fields::namespace(&object), fields::name(&object))?;
        let versioned = !text(&object, "/metadata/resourceVersion").is_empty();
        let prefix = text(&object, "/metadata/generateName").to_owned();
        let generated = fields::name(&object).is_empty() && !prefix.is_empty();
        if generated {
            let name = self.generate(kind, fields::namespace(&object), &prefix);
            metadata(&mut object).insert("name".to_owned(), json!(name));
        }
        let uid = self.uid();
        meta::begin(kind, &mut object, &uid, &stamp(self.clock.now()));
        defaults::apply(&kind.stored(), &mut object, true);
        self.as_kept(kind, &mut object);
        if *kind == Kind::SERVICE {
            defaults::service_address(&mut object, self.version);
        }
        admit::check(&kind.stored(), None, &object, false, target.client)?;
        if versioned {
            return Err(Refusal::internal("resourceVersion should not be set on objects to be created"));
        }
        if self.get(kind, fields::namespace(&object), fields::name(&object)).is_some() {
            return Err(Refusal::already_exists(kind, fields::name(&object)));
        }
        if target.dry_run {
            return Ok(Arc::new(object));
        }
        Ok(self.put(kind, object))
    }

    fn generate(&mut self, kind: &Kind, namespace: &str, prefix: &str) -> String {
        let prefix: String = prefix.chars().take(58).collect();
        let mut name = format!("{prefix}{}", self.suffix());
        // A real server retries seven times before it gives up.
        for _ in 0..7 {
            if self.get(kind, namespace, &name).is_none() {
                break;
            }
            name = format!("{prefix}{}", self.suffix());
        }
        name
    }

    fn namespace_takes(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), Refusal> {
        if !kind.namespaced {
            return Ok(());
        }
        let found = self.get(&Kind::NAMESPACE, "", namespace);
        let found = found.ok_or_else(|| Refusal::not_found(&Kind::NAMESPACE, namespace))?;
        if deleting(found) {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            let cause = json!({
                "reason": "NamespaceTerminating", "field": "metadata.namespace",
                "message": format!("namespace {namespace} is being terminated"),
            });
            return Err(Refusal::forbidden(kind, name, &why, Some(cause)));
        }
        Ok(())
    }

    /// Replaces an object. Returns it, and whether it was created.
    pub(super) fn replace(
        &mut self,
        target: &Target<'_>,
        object: Value,
    ) -> Result<(Arc<Value>, bool), Refusal> {
        let kind = target.kind;
        admit::of_type(kind, &object)?;
        let mut object = convert::inward(kind, object);
        place(target, &mut object)?;
        let sent = fields::name(&object);
        if sent.is_empty() && target.client {
            let words = "the name of the object (based on URL) was undeterminable: name must be provided";
            return Err(Refusal::bad_request(words));
        }
        named(target, &mut object)?;
        let found = self.get(kind, target.namespace, target.name).cloned();
        let uid = fields::uid(&object).to_owned();
        let found_uid = found.as_deref().map(fields::uid).unwrap_or_default();
        let may_create = kind.created_by_update() && !target.status;
        if found.is_none() && !may_create {
            return Err(Refusal::not_found(kind, target.name));
        }
        if !uid.is_empty() && uid != found_uid {
            let why = format!(
                "StorageError: invalid object, Code: 4, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {found_uid}"
            );
            return Err(Refusal::conflict(kind, target.name, &why));
        }
        let Some(found) = found else {
            metadata(&mut object).remove("resourceVersion");
            return Ok((self.create(target, convert::outward(kind, &object).into_owned())?, true));
        };
        let sent = text(&object, "/metadata/resourceVersion");
        if sent.is_empty() && !kind.unconditional_update() && target.client {
            return Err(Refusal::no_version(kind, target.name));
        }
        if !sent.is_empty() && sent != text(&found, "/metadata/resourceVersion") {
            return Err(Refusal::stale(kind, target.name));
        }
        Ok((self.update(target, &found, object)?, false))
    }

    /// Writes `sent`, in stored form, over `found`.
    pub(super) fn update(
        &mut self,
        target: &Target<'_>,
        found: &Arc<Value>,
        sent: Value,
    ) -> Result<Arc<Value>, Refusal> {
        let kind = target.kind.stored();
        let mut new = meta::merge(&kind, target.status, found, sent);
        defaults::apply(&kind, &mut new, false);
        self.as_kept(&kind, &mut new);
        if kind == Kind::SERVICE {
            keep_address(found, &mut new);
        }
        admit::check(&kind, Some(found), &new, target.status, target.client)?;
        if new == **found {
            return Ok(found.clone());
        }
        if target.dry_run {
            return Ok(Arc::new(new));
        }
        let graceful = fields::number(found, "/metadata/deletionGracePeriodSeconds").unwrap_or_default() > 0;
        if deleting(&new) && finalizers(&new).is_empty() && !graceful {
            self.drop(&kind, target.namespace, target.name);
            return Ok(Arc::new(new));
        }
        Ok(self.put(&kind, new))
    }
}

/// Sets the namespace of a sent object to the path's.
fn place(target: &Target<'_>, object: &mut Value) -> Result<(), Refusal> {
    if !target.kind.namespaced {
        metadata(object).remove("namespace");
        return Ok(());
    }
    let sent = fields::namespace(object).to_owned();
    let wanted = if target.namespace.is_empty() { sent.as_str() } else { target.namespace };
    if !sent.is_empty() && sent != wanted {
        let words = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(words));
    }
    metadata(object).insert("namespace".to_owned(), json!(wanted));
    Ok(())
}

/// Sets the name of a sent object to the path's.
pub(super) fn named(target: &Target<'_>, object: &mut Value) -> Result<(), Refusal> {
    let sent = fields::name(object);
    if !sent.is_empty() && sent != target.name {
        let words =
            format!("the name of the object ({sent}) does not match the name on the URL ({})", target.name);
        return Err(Refusal::bad_request(words));
    }
    metadata(object).insert("name".to_owned(), json!(target.name));
    Ok(())
}

/// A Service that is sent without its cluster IP keeps it.
fn keep_address(found: &Value, new: &mut Value) {
    for field in ["clusterIP", "clusterIPs"] {
        if let Some(old) = found.pointer(&format!("/spec/{field}")) {
            fields::default(fields::section(new, "spec"), field, old.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::clock::Clock;

    fn store() -> Store {
        let mut store = Store::new(Clock::start());
        store.create(&target(&Kind::NAMESPACE, "", ""), json!({"metadata": {"name": "n"}})).unwrap();
        store
    }

    fn target<'a>(kind: &'a Kind, namespace: &'a str, name: &'a str) -> Target<'a> {
        Target { client: true, ..Target::direct(kind, namespace, name) }
    }

    fn lease() -> Value {
        json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_create_of_a_name_is_refused() {
        let mut store = store();
        let at = target(&Kind::LEASE, "n", "");
        let made = store.create(&at, lease()).unwrap();
        assert_eq!(made["metadata"]["creationTimestamp"], "2030-01-01T00:00:00Z");
        assert_eq!(store.create(&at, lease()).unwrap_err().reason, "AlreadyExists");
        let elsewhere = store.create(&target(&Kind::LEASE, "m", ""), lease()).unwrap_err();
        assert_eq!(elsewhere.message, "namespaces \"m\" not found");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dry_run_stores_nothing() {
        let mut store = store();
        let before = store.version;
        let dry = Target { dry_run: true, ..target(&Kind::LEASE, "n", "") };
        let shown = store.create(&dry, lease()).unwrap();
        assert_eq!((shown["metadata"].get("resourceVersion"), store.version), (None, before));
        assert!(store.get(&Kind::LEASE, "n", "l").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_version_conflicts_and_an_unchanged_update_writes_nothing() {
        let mut store = store();
        let made = store.create(&target(&Kind::LEASE, "n", ""), lease()).unwrap();
        let at = target(&Kind::LEASE, "n", "l");
        let version = store.version;
        store.replace(&at, Value::clone(&made)).unwrap();
        assert_eq!(store.version, version, "nothing changed");
        let mut changed = Value::clone(&made);
        changed["spec"]["holderIdentity"] = json!("b");
        store.replace(&at, changed.clone()).unwrap();
        assert_eq!(store.replace(&at, changed).unwrap_err().reason, "Conflict");
        assert_eq!(
            store.replace(&at, lease()).unwrap_err().reason,
            "Invalid",
            "an update of a lease needs a resource version"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_put_creates_a_lease_unless_it_has_a_resource_version() {
        let mut store = store();
        let at = target(&Kind::LEASE, "n", "l");
        let mut known = lease();
        known["metadata"]["uid"] = json!("gone");
        assert_eq!(store.replace(&at, known).unwrap_err().code, 409);
        assert!(store.replace(&at, lease()).unwrap().1);
        let secret = json!({"metadata": {"name": "s"}});
        assert_eq!(store.replace(&target(&Kind::SECRET, "n", "s"), secret).unwrap_err().code, 404);
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_generated_and_differ() {
        let mut store = store();
        let at = target(&Kind::SECRET, "n", "");
        let object = json!({"metadata": {"generateName": "s-"}});
        let names: Vec<String> =
            (0..2).map(|_| fields::name(&store.create(&at, object.clone()).unwrap()).to_owned()).collect();
        assert!(names.iter().all(|name| name.starts_with("s-") && name.len() == 7), "{names:?}");
        assert_ne!(names[0], names[1]);
    }

    #[tokio::test(start_paused = true)]
    async fn removing_the_last_finalizer_deletes_the_object() {
        let mut store = store();
        let mut object = lease();
        object["metadata"]["finalizers"] = json!(["x/y"]);
        store.create(&target(&Kind::LEASE, "n", ""), object).unwrap();
        let found = store.get(&Kind::LEASE, "n", "l").unwrap().clone();
        let mut marked = Value::clone(&found);
        marked["metadata"]["deletionTimestamp"] = json!("now");
        store.put(&Kind::LEASE, marked.clone());
        let found = store.get(&Kind::LEASE, "n", "l").unwrap().clone();
        metadata(&mut marked).remove("finalizers");
        store.update(&target(&Kind::LEASE, "n", "l"), &found, marked).unwrap();
        assert!(store.get(&Kind::LEASE, "n", "l").is_none());
    }
}
