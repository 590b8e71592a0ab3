//! A watch on objects of any kind, as the API server's own text has them: whatever somebody writes into one, the others are read.
//! It survives the end of a call, an expired version and a server that is away, and keeps no object itself.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicResourceScope, Resource};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Error};
use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::terminal::note;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error;
use crate::fleets::Fleets;

/// Duration of one watch call, in seconds. A dead connection is noticed after that at the latest.
const CALL_SECONDS: u32 = 60;
/// Objects per page of a list.
const PAGE: u32 = 250;

/// An object as JSON, without its managed fields.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    /// Only what a watch needs: name, namespace, UID and version.
    meta: ObjectMeta,
    /// The object.
    pub(crate) value: Value,
}

impl Raw {
    /// An object from its JSON.
    pub(crate) fn new(mut value: Value) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let text = |field: &str| value["metadata"][field].as_str().map(str::to_owned);
        let meta = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Self { meta, value }
    }

    /// Namespace and name.
    pub(crate) fn key(&self) -> Key {
        (self.meta.namespace.clone().unwrap_or_default(), self.meta.name.clone().unwrap_or_default())
    }
}

/// Namespace and name of an object.
pub(crate) type Key = (String, String);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::new)
    }
}

impl Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(dt: &ApiResource) -> std::borrow::Cow<'_, str> {
        dt.kind.as_str().into()
    }

    fn group(dt: &ApiResource) -> std::borrow::Cow<'_, str> {
        dt.group.as_str().into()
    }

    fn version(dt: &ApiResource) -> std::borrow::Cow<'_, str> {
        dt.version.as_str().into()
    }

    fn api_version(dt: &ApiResource) -> std::borrow::Cow<'_, str> {
        dt.api_version.as_str().into()
    }

    fn plural(dt: &ApiResource) -> std::borrow::Cow<'_, str> {
        dt.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// What to watch.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The kind.
    pub(crate) resource: ApiResource,
    /// Where; `None`: everywhere.
    pub(crate) namespace: Option<String>,
    /// Selector of labels; empty: all.
    pub(crate) labels: String,
    /// Selector of fields; empty: all.
    pub(crate) fields: String,
}

impl Target {
    /// Resource with its group, as error messages and roles name it: `pods`, `rayclusters.ray.io`.
    pub(crate) fn named(&self) -> String {
        let ApiResource { plural, group, .. } = &self.resource;
        if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }
    }
}

/// A change of what is watched.
#[derive(Debug)]
pub(crate) enum Change {
    /// All objects will be named again: what is not named until [`Change::Complete`] is gone.
    Again,
    /// An object as it is.
    Is(Raw),
    /// All objects that there are have been named.
    Complete,
    /// An object, as it was last, is gone.
    Gone(Raw),
}

/// A watch.
pub(crate) struct Watch {
    events: BoxStream<'static, watcher::Result<Event<Raw>>>,
    fleets: Fleets,
    target: Target,
    complete: bool,
    interrupted: bool,
}

impl Watch {
    /// Starts to watch.
    pub(crate) fn new(fleets: &Fleets, target: Target) -> Self {
        let config = watcher::Config::default().timeout(CALL_SECONDS).page_size(PAGE);
        let config = config.labels(&target.labels).fields(&target.fields);
        let api: Api<Raw> = match &target.namespace {
            Some(namespace) => Api::namespaced_with(fleets.client.clone(), namespace, &target.resource),
            None => Api::all_with(fleets.client.clone(), &target.resource),
        };
        let events = watcher(api, config).backoff(DefaultBackoff::default()).boxed();
        Self { events, fleets: fleets.clone(), target, complete: false, interrupted: false }
    }

    /// The next change. The first list has the time limit of a call, and its failure is an error; so is a permanent one later, such
    /// as a right that is taken away. Others are retried, and reported once.
    pub(crate) async fn next(&mut self) -> Result<Change, CliError> {
        if self.complete {
            return self.advance().await;
        }
        let limit = self.fleets.timeout;
        let server = self.fleets.server.clone();
        tokio::time::timeout(limit, self.advance())
            .await
            .map_err(|_| error::no_answer(&server, limit.as_secs_f64()))?
    }

    async fn advance(&mut self) -> Result<Change, CliError> {
        while let Some(event) = self.events.next().await {
            let change = match event {
                Ok(Event::Init) => Change::Again,
                Ok(Event::InitApply(object) | Event::Apply(object)) => Change::Is(object),
                Ok(Event::InitDone) => Change::Complete,
                Ok(Event::Delete(object)) => Change::Gone(object),
                Err(error) => {
                    self.interruption(&error)?;
                    continue;
                }
            };
            self.complete |= matches!(change, Change::Complete);
            if !matches!(change, Change::Again) && std::mem::take(&mut self.interrupted) {
                note(&format!("connected to {} again", self.fleets.server));
            }
            return Ok(change);
        }
        Err(CliError::plain(format!("the watch on {} ended", self.fleets.server)))
    }

    fn interruption(&mut self, error: &watcher::Error) -> Result<(), CliError> {
        let (cause, hopeless) = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => {
                let hopeless = matches!(error, Error::Api(status) if matches!(status.code, 401 | 403 | 404));
                (error::reading(error, &self.fleets.server, &self.target.named(), self.place()), hopeless)
            }
            other => (CliError::plain(other.to_string()), false),
        };
        if hopeless || !self.complete {
            return Err(cause);
        }
        // The end of a watch call and an expired version are no interruption to report; a failed list is.
        let failed =
            matches!(error, watcher::Error::InitialListFailed(_) | watcher::Error::WatchStartFailed(_));
        if failed && !std::mem::replace(&mut self.interrupted, true) {
            note(&format!("{cause}\nstill trying"));
        }
        Ok(())
    }

    fn place(&self) -> Option<&str> {
        self.target.namespace.as_deref()
    }
}

/// The objects of a watch that keeps them, by namespace and name: for kinds of which a fleet has few.
#[derive(Debug, Default)]
pub(crate) struct Kept<T> {
    /// What there is.
    pub(crate) known: BTreeMap<Key, T>,
    listing: Option<BTreeMap<Key, T>>,
}

impl<T> Kept<T> {
    /// Applies a change, with what is kept of an object; `true` if what is known may have changed.
    pub(crate) fn apply(&mut self, change: Change, keep: impl Fn(&Value) -> Option<T>) -> bool {
        match change {
            Change::Again => {
                self.listing = Some(BTreeMap::new());
                false
            }
            Change::Is(object) => {
                let key = object.key();
                let kept = keep(&object.value);
                let listing = self.listing.is_some();
                let into = self.listing.as_mut().unwrap_or(&mut self.known);
                match kept {
                    Some(kept) => into.insert(key, kept),
                    None => into.remove(&key),
                };
                !listing
            }
            Change::Complete => {
                self.known = self.listing.take().unwrap_or_default();
                true
            }
            Change::Gone(object) => self.known.remove(&object.key()).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, number: i64) -> Raw {
        Raw::new(json!({
            "metadata": {
                "name": name, "namespace": "n", "resourceVersion": "7", "creationTimestamp": "99999-01-01",
                "managedFields": [{"time": "9999-99-99"}]
            },
            "number": number
        }))
    }

    #[test]
    fn an_object_is_read_whatever_its_times_say() {
        let raw: Raw = serde_json::from_value(object("a", 1).value).unwrap();
        assert_eq!(raw.key(), ("n".to_owned(), "a".to_owned()));
        assert_eq!(raw.meta.resource_version.as_deref(), Some("7"));
        assert!(raw.value["metadata"].get("managedFields").is_none());
        let odd: Raw = serde_json::from_value(json!({"metadata": 7})).unwrap();
        assert_eq!(odd.key(), Key::default());
    }

    #[test]
    fn a_second_list_removes_what_it_does_not_name() {
        let mut kept = Kept::default();
        let number = |value: &Value| value["number"].as_i64();
        let known = |kept: &Kept<i64>| kept.known.values().copied().collect::<Vec<_>>();
        for change in [Change::Again, Change::Is(object("a", 1)), Change::Is(object("b", 2))] {
            assert!(!kept.apply(change, number));
        }
        assert_eq!(known(&kept), Vec::<i64>::new(), "a list counts when it is complete");
        assert!(kept.apply(Change::Complete, number));
        assert!(kept.apply(Change::Is(object("b", 3)), number));
        assert_eq!(known(&kept), [1, 3]);
        assert!(!kept.apply(Change::Again, number));
        assert!(!kept.apply(Change::Is(object("b", 4)), number));
        assert_eq!(known(&kept), [1, 3], "while the list comes, the old one counts");
        assert!(kept.apply(Change::Complete, number));
        assert_eq!(known(&kept), [4]);
        assert!(kept.apply(Change::Gone(object("b", 4)), number));
        assert!(!kept.apply(Change::Gone(object("b", 4)), number));
    }
}
