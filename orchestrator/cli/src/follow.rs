//! A watch on fleets: after every change it returns the whole set. Interruptions are retried and reported
//! once; permanent errors (no such resource, no permission) end it.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::ResourceExt;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::terminal::note;

use crate::error;
use crate::fleets::Fleets;

/// Duration of one watch call, in seconds. A dead connection is noticed after that at the latest.
const CALL_SECONDS: u32 = 60;

/// The fleets to follow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope<'a> {
    /// One fleet, by name.
    One(&'a str),
    /// Those of the namespace.
    Namespace,
    /// Those of all namespaces.
    All,
}

/// Namespace and name.
pub(crate) type Key = (String, String);

/// Fleets by namespace and name.
pub(crate) type Set = BTreeMap<Key, DynamicObject>;

/// The watch and its state.
pub(crate) struct Follow {
    events: BoxStream<'static, watcher::Result<Event<DynamicObject>>>,
    fleets: Fleets,
    known: Set,
    listing: Set,
    complete: bool,
    interrupted: bool,
}

impl Follow {
    /// Starts to follow.
    pub(crate) fn new(fleets: &Fleets, scope: Scope<'_>) -> Self {
        Self::matching(fleets, scope, &ListParams::default())
    }

    /// Starts to follow those with the labels and fields of a filter.
    pub(crate) fn matching(fleets: &Fleets, scope: Scope<'_>, filter: &ListParams) -> Self {
        let mut config = watcher::Config::default().timeout(CALL_SECONDS).page_size(250);
        config.label_selector.clone_from(&filter.label_selector);
        config.field_selector.clone_from(&filter.field_selector);
        let config = match scope {
            Scope::One(name) => config.fields(&format!("metadata.name={name}")),
            Scope::Namespace | Scope::All => config,
        };
        let api = fleets.api(matches!(scope, Scope::All));
        Self {
            events: watcher(api, config).backoff(DefaultBackoff::default()).boxed(),
            fleets: fleets.clone(),
            known: Set::new(),
            listing: Set::new(),
            complete: false,
            interrupted: false,
        }
    }

    /// Waits for a change and returns all fleets. The first call returns the present state.
    pub(crate) async fn next(&mut self) -> Result<&Set, CliError> {
        if self.complete {
            self.advance().await?;
        } else {
            let limit = self.fleets.timeout;
            let server = self.fleets.server.clone();
            tokio::time::timeout(limit, self.advance())
                .await
                .map_err(|_| error::no_answer(&server, limit.as_secs_f64()))??;
        }
        Ok(&self.known)
    }

    /// All fleets, as they were at the last change.
    pub(crate) fn known(&self) -> &Set {
        &self.known
    }

    async fn advance(&mut self) -> Result<(), CliError> {
        while let Some(event) = self.events.next().await {
            match event {
                Ok(event) => {
                    if self.apply(event) {
                        return Ok(());
                    }
                }
                Err(error) => self.interruption(&error)?,
            }
        }
        Err(CliError::plain(format!("the watch on {} ended", self.fleets.server)))
    }

    /// Applies an event; `true` if the set may have changed.
    fn apply(&mut self, event: Event<DynamicObject>) -> bool {
        if std::mem::take(&mut self.interrupted) {
            note(&format!("connected to {} again", self.fleets.server));
        }
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => insert(&mut self.listing, object),
            Event::InitDone => {
                self.known = std::mem::take(&mut self.listing);
                self.complete = true;
                return true;
            }
            Event::Apply(object) => {
                insert(&mut self.known, object);
                return true;
            }
            Event::Delete(object) => {
                self.known.remove(&key(&object));
                return true;
            }
        }
        false
    }

    fn interruption(&mut self, error: &watcher::Error) -> Result<(), CliError> {
        let (cause, hopeless) = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => {
                let hopeless = match error {
                    kube::Error::Api(status) => matches!(status.code, 401 | 403 | 404),
                    _ => false,
                };
                let fleets = &self.fleets;
                (error::api(error, &fleets.server, &fleets.namespace, None), hopeless)
            }
            other => (CliError::plain(other.to_string()), false),
        };
        if hopeless || !self.complete {
            return Err(cause);
        }
        // The end of a watch call is no interruption to report; a failed list is.
        let listing_failed =
            matches!(error, watcher::Error::InitialListFailed(_) | watcher::Error::WatchStartFailed(_));
        if listing_failed && !self.interrupted {
            self.interrupted = true;
            note(&format!("{cause}\nstill trying"));
        }
        Ok(())
    }
}

/// Without managed fields, as kubectl shows objects.
fn insert(set: &mut Set, mut object: DynamicObject) {
    object.metadata.managed_fields = None;
    set.insert(key(&object), object);
}

fn key(object: &DynamicObject) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}
