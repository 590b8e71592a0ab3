//! Deletes: preconditions, grace periods, finalizers, and the propagation policy for dependents.

use std::sync::Arc;

use serde_json::{Value, json};

use super::clock::{stamp, stamp_after};
use super::error::FieldError;
use super::fields::{deleting, finalizers, metadata, number, set_finalizers, text};
use super::store::Store;
use super::write::Target;
use super::{Kind, Refusal, fields};

/// Finalizer of an object that waits for its dependents to be deleted.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object whose dependents are to be orphaned.
pub(super) const ORPHAN: &str = "orphan";

/// Propagation policy: what happens to dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DeleteOptions {
    pub(super) grace: Option<u64>,
    pub(super) propagation: Option<Propagation>,
    pub(super) uid: Option<String>,
    pub(super) version: Option<String>,
    pub(super) dry_run: bool,
}

impl DeleteOptions {
    /// Parses the options in the body of a DELETE.
    pub(super) fn parse(body: &Value) -> Result<Self, Refusal> {
        let propagation = match text(body, "/propagationPolicy") {
            "" => None,
            "Background" => Some(Propagation::Background),
            "Foreground" => Some(Propagation::Foreground),
            "Orphan" => Some(Propagation::Orphan),
            other => {
                let why = format!("Unsupported value: \"{other}\"");
                let fault = FieldError {
                    field: "propagationPolicy".into(),
                    reason: "FieldValueNotSupported",
                    message: why,
                };
                return Err(Refusal::invalid_options("DeleteOptions", &fault));
            }
        };
        let given = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let dry_run = fields::list(body, "/dryRun").iter().any(|word| word == "All");
        Ok(Self {
            grace: number(body, "/gracePeriodSeconds"),
            propagation,
            uid: given("/preconditions/uid"),
            version: given("/preconditions/resourceVersion"),
            dry_run,
        })
    }
}

/// Outcome of a delete.
#[derive(Clone, Debug)]
pub(super) enum Deleted {
    /// Deleted, with its last state.
    Gone(Arc<Value>),
    /// Ends once its finalizers are removed or its containers have ended.
    Ending(Arc<Value>),
}

impl Store {
    pub(super) fn delete(
        &mut self,
        target: &Target<'_>,
        options: &DeleteOptions,
    ) -> Result<Deleted, Refusal> {
        let found = self.current(target)?;
        let kind = target.kind.stored();
        check(target.kind, target.name, &found, options)?;
        if kind == Kind::NAMESPACE {
            return Ok(self.end_namespace(&found, options.dry_run));
        }
        let now = self.clock.now();
        let mut next = Value::clone(&found);
        let grace = match grace(&kind, &found, options) {
            Grace::Pending => return Ok(Deleted::Ending(found)),
            Grace::None => None,
            Grace::Seconds(seconds) => Some(seconds),
        };
        let wanted = wanted_finalizers(&found, options.propagation);
        set_finalizers(&mut next, &wanted);
        if grace.is_some() || !wanted.is_empty() {
            let fresh = !deleting(&found);
            let members = metadata(&mut next);
            if let Some(generation) = members.get("generation").and_then(Value::as_u64).filter(|_| fresh) {
                members.insert("generation".to_owned(), json!(generation + 1));
            }
            if fresh || grace.is_some() {
                let at = grace.map_or_else(|| stamp(now), |seconds| stamp_after(now, seconds));
                members.insert("deletionTimestamp".to_owned(), json!(at));
            }
            members.insert("deletionGracePeriodSeconds".to_owned(), json!(grace.unwrap_or_default()));
            if options.dry_run {
                return Ok(Deleted::Ending(Arc::new(next)));
            }
            let kept = if next == *found { found } else { self.put(&kind, next) };
            if !wanted.is_empty() || grace.is_some_and(|seconds| seconds > 0) {
                return Ok(Deleted::Ending(kept));
            }
        } else if options.dry_run {
            return Ok(Deleted::Gone(found));
        }
        let last = self.drop(&kind, target.namespace, target.name);
        Ok(Deleted::Gone(last.unwrap_or_else(|| Arc::new(Value::Null))))
    }

    /// A namespace ends once the collector has emptied it.
    fn end_namespace(&mut self, found: &Arc<Value>, dry_run: bool) -> Deleted {
        if deleting(found) || dry_run {
            return Deleted::Ending(found.clone());
        }
        let mut next = Value::clone(found);
        let at = stamp(self.clock.now());
        metadata(&mut next).insert("deletionTimestamp".to_owned(), json!(at));
        fields::section(&mut next, "status").insert("phase".to_owned(), json!("Terminating"));
        Deleted::Ending(self.put(&Kind::NAMESPACE, next))
    }
}

fn check(kind: &Kind, name: &str, found: &Value, options: &DeleteOptions) -> Result<(), Refusal> {
    let uid = fields::uid(found);
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
        );
        return Err(Refusal::precondition(kind, name, &why));
    }
    let version = text(found, "/metadata/resourceVersion");
    if let Some(wanted) = options.version.as_deref().filter(|wanted| *wanted != version) {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). The object might have been modified"
        );
        return Err(Refusal::precondition(kind, name, &why));
    }
    Ok(())
}

enum Grace {
    /// Its kind has no graceful deletion.
    None,
    /// It is already terminating, and not later than now requested.
    Pending,
    /// It gets a grace period.
    Seconds(u64),
}

/// The grace period of a delete. Only pods that are bound to a node end gracefully.
fn grace(kind: &Kind, found: &Value, options: &DeleteOptions) -> Grace {
    if *kind != Kind::POD {
        return Grace::None;
    }
    if deleting(found) {
        let left = number(found, "/metadata/deletionGracePeriodSeconds").unwrap_or_default();
        return match options.grace {
            Some(asked) if asked < left => Grace::Seconds(asked),
            _ if left > 0 || options.grace != Some(0) => Grace::Pending,
            _ => Grace::None,
        };
    }
    let over = matches!(text(found, "/status/phase"), "Failed" | "Succeeded");
    if over || text(found, "/spec/nodeName").is_empty() {
        return Grace::Seconds(0);
    }
    Grace::Seconds(
        options.grace.or_else(|| number(found, "/spec/terminationGracePeriodSeconds")).unwrap_or(30),
    )
}

/// The object's finalizers, plus the collector's finalizer that the policy asks for.
fn wanted_finalizers(found: &Value, propagation: Option<Propagation>) -> Vec<String> {
    let before = finalizers(found);
    let Some(propagation) = propagation else { return before.into_iter().map(str::to_owned).collect() };
    let mut wanted: Vec<String> =
        before.into_iter().filter(|name| ![FOREGROUND, ORPHAN].contains(name)).map(str::to_owned).collect();
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => wanted.push(FOREGROUND.to_owned()),
        Propagation::Orphan => wanted.push(ORPHAN.to_owned()),
    }
    wanted
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::clock::Clock;

    fn with(kind: &Kind, object: Value) -> Store {
        let mut store = Store::new(Clock::start());
        store.put(kind, object);
        store
    }

    fn pod(node: &str) -> Value {
        json!({
            "metadata": {"namespace": "n", "name": "p", "uid": "u", "generation": 1},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 40},
        })
    }

    fn delete(store: &mut Store, kind: &Kind, options: &DeleteOptions) -> Result<Deleted, Refusal> {
        store.delete(&Target::direct(kind, "n", "p"), options)
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_pod_gets_its_grace_period_which_a_second_delete_may_shorten() {
        let mut store = with(&Kind::POD, pod("node"));
        let Deleted::Ending(ending) = delete(&mut store, &Kind::POD, &DeleteOptions::default()).unwrap()
        else {
            panic!("a running pod is not deleted at once");
        };
        assert_eq!(ending["metadata"]["deletionTimestamp"], "2030-01-01T00:00:40Z");
        assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 40);
        assert_eq!(ending["metadata"]["generation"], 2);
        let version = store.version;
        tokio::time::sleep(Duration::from_secs(5)).await;
        delete(&mut store, &Kind::POD, &DeleteOptions::default()).unwrap();
        assert_eq!(store.version, version, "a repeated delete changes nothing");
        let now = DeleteOptions { grace: Some(0), ..DeleteOptions::default() };
        assert!(matches!(delete(&mut store, &Kind::POD, &now), Ok(Deleted::Gone(_))));
        assert!(store.get(&Kind::POD, "n", "p").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unscheduled_pod_is_deleted_at_once() {
        let mut store = with(&Kind::POD, pod(""));
        assert!(matches!(delete(&mut store, &Kind::POD, &DeleteOptions::default()), Ok(Deleted::Gone(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn preconditions_protect_a_new_object_of_the_same_name() {
        let mut store = with(&Kind::POD, pod(""));
        let other = DeleteOptions { uid: Some("other".into()), ..DeleteOptions::default() };
        assert_eq!(delete(&mut store, &Kind::POD, &other).unwrap_err().reason, "Conflict");
        let older = DeleteOptions { version: Some("1".into()), ..DeleteOptions::default() };
        assert_eq!(delete(&mut store, &Kind::POD, &older).unwrap_err().reason, "Conflict");
        let dry = DeleteOptions { dry_run: true, ..DeleteOptions::default() };
        delete(&mut store, &Kind::POD, &dry).unwrap();
        assert!(store.get(&Kind::POD, "n", "p").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn finalizers_block_deletion_and_the_policy_adds_its_own() {
        let object =
            json!({"metadata": {"namespace": "n", "name": "p", "finalizers": ["a/b"], "generation": 1}});
        let mut store = with(&Kind::RAY_CLUSTER, object);
        let options =
            DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
        delete(&mut store, &Kind::RAY_CLUSTER, &options).unwrap();
        let held = store.get(&Kind::RAY_CLUSTER, "n", "p").unwrap();
        assert_eq!(held["metadata"]["finalizers"], json!(["a/b", FOREGROUND]));
        assert_eq!(held["metadata"]["deletionGracePeriodSeconds"], 0);
        assert_eq!(held["metadata"]["generation"], 2);
    }

    #[test]
    fn options_are_read_from_the_body() {
        let body = json!({
            "propagationPolicy": "Background", "gracePeriodSeconds": 3, "dryRun": ["All"],
            "preconditions": {"uid": "u", "resourceVersion": "4"},
        });
        let wanted = DeleteOptions {
            grace: Some(3),
            propagation: Some(Propagation::Background),
            uid: Some("u".into()),
            version: Some("4".into()),
            dry_run: true,
        };
        assert_eq!(DeleteOptions::parse(&body).unwrap(), wanted);
        assert!(DeleteOptions::parse(&json!({"propagationPolicy": "x"})).is_err());
    }
}
