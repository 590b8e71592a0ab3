//! The lowest number of ready groups while something goes on: as the fleet says, and as the
//! EndpointSlices had it, which is what traffic goes by.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watch_object, watcher};
use serde::Serialize;
use tokio::task::JoinSet;

use super::fleet::Fleet;

/// Watches a fleet until it is dropped or finished.
pub struct Lowest {
    seen: Arc<Mutex<Seen>>,
    _watches: JoinSet<()>,
}

/// The lowest numbers seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Lowest `status.readyReplicas`; `None` before the first look.
    pub ready: Option<i32>,
    /// Highest `status.replicas`.
    pub most: i32,
    /// Lowest number of ready addresses in the EndpointSlices of the Service.
    pub addresses: Option<usize>,
}

impl Lowest {
    /// Begins to watch a fleet and the EndpointSlices of a Service.
    pub fn watch(fleet: &Fleet, service: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut watches = JoinSet::new();
        watches.spawn(watch_fleet(fleet.clone(), Arc::clone(&seen)));
        let api = Api::namespaced(fleet.cluster.client.clone(), &fleet.cluster.namespace);
        let config = watcher::Config::default().labels(&format!("kubernetes.io/service-name={service}"));
        watches.spawn(watch_slices(watcher(api, config).default_backoff(), Arc::clone(&seen)));
        Self { seen, _watches: watches }
    }

    /// What was seen so far.
    pub fn so_far(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(seen: &Mutex<Seen>, change: impl FnOnce(&mut Seen)) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    change(&mut seen);
}

async fn watch_fleet(fleet: Fleet, seen: Arc<Mutex<Seen>>) {
    let mut changes = pin!(watch_object(fleet.api(), &fleet.name).default_backoff());
    while let Some(change) = changes.next().await {
        let Ok(fleet) = change else { continue };
        let status = fleet.and_then(|fleet| fleet.status).unwrap_or_default();
        note(&seen, |seen| {
            seen.ready = Some(seen.ready.map_or(status.ready_replicas, |low| low.min(status.ready_replicas)));
            seen.most = seen.most.max(status.replicas);
        });
    }
}

async fn watch_slices(
    changes: impl Stream<Item = Result<Event<EndpointSlice>, watcher::Error>>,
    seen: Arc<Mutex<Seen>>,
) {
    let mut changes = pin!(changes);
    let mut slices = Slices::default();
    while let Some(change) = changes.next().await {
        if let Some(count) = change.ok().and_then(|event| slices.apply(event)) {
            note(&seen, |seen| seen.addresses = Some(seen.addresses.map_or(count, |low| low.min(count))));
        }
    }
}

/// The ready addresses of each slice.
#[derive(Default)]
struct Slices {
    known: BTreeMap<String, BTreeSet<String>>,
    listing: BTreeMap<String, BTreeSet<String>>,
}

impl Slices {
    /// Takes a change; gives the number of ready addresses when the picture is whole.
    fn apply(&mut self, event: Event<EndpointSlice>) -> Option<usize> {
        match event {
            Event::Init => {
                self.listing.clear();
                return None;
            }
            Event::InitApply(slice) => {
                self.listing.insert(name(&slice), ready(slice));
                return None;
            }
            Event::InitDone => self.known = std::mem::take(&mut self.listing),
            Event::Apply(slice) => drop(self.known.insert(name(&slice), ready(slice))),
            Event::Delete(slice) => drop(self.known.remove(&name(&slice))),
        }
        Some(self.known.values().flatten().collect::<BTreeSet<_>>().len())
    }
}

fn name(slice: &EndpointSlice) -> String {
    slice.metadata.name.clone().unwrap_or_default()
}

fn ready(slice: EndpointSlice) -> BTreeSet<String> {
    // An absent condition means ready (the API's own words).
    let is_ready = |conditions: Option<bool>| conditions.unwrap_or(true);
    slice
        .endpoints
        .into_iter()
        .flatten()
        .filter(|endpoint| is_ready(endpoint.conditions.as_ref().and_then(|conditions| conditions.ready)))
        .flat_map(|endpoint| endpoint.addresses)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(name: &str, endpoints: &[(&str, bool)]) -> EndpointSlice {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|(ip, ready)| json!({"addresses": [ip], "conditions": {"ready": ready}}))
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name}, "addressType": "IPv4", "endpoints": endpoints,
        }))
        .unwrap()
    }

    #[test]
    fn addresses_are_counted_once_and_only_when_ready() {
        let mut slices = Slices::default();
        assert_eq!(slices.apply(Event::Init), None);
        assert_eq!(
            slices.apply(Event::InitApply(slice("a", &[("10.0.0.1", true), ("10.0.0.2", false)]))),
            None
        );
        assert_eq!(slices.apply(Event::InitDone), Some(1));
        assert_eq!(
            slices.apply(Event::Apply(slice("b", &[("10.0.0.1", true), ("10.0.0.3", true)]))),
            Some(2)
        );
        assert_eq!(slices.apply(Event::Delete(slice("b", &[]))), Some(1));
    }
}
