//! Extremes of a fleet over a period: the lowest number of ready groups, by the fleet's status and by the
//! EndpointSlices, which decide where traffic goes; the most groups; and the most GPUs that its pods held.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watch_object, watcher};
use rayfleet_api::names;
use serde::Serialize;
use tokio::task::JoinSet;

use super::fleet::Fleet;
use super::pods::gpus_held;
use super::watch_cache::WatchCache;

/// Watches a fleet until it is dropped or finished.
pub struct Availability {
    extremes: Arc<Mutex<Extremes>>,
    _watches: JoinSet<()>,
}

/// The extremes observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Extremes {
    /// Lowest `status.readyReplicas`; `None` before the first observation.
    pub ready: Option<i32>,
    /// Highest `status.replicas`.
    pub most: i32,
    /// Lowest number of ready addresses in the EndpointSlices of the Service.
    pub addresses: Option<usize>,
    /// Most GPUs that pods of the fleet held on nodes, terminating ones included.
    pub gpus: Option<u32>,
}

impl Availability {
    /// Starts to watch a fleet, its pods, and the EndpointSlices of a Service.
    pub fn watch(fleet: &Fleet, service: &str) -> Self {
        let extremes = Arc::new(Mutex::new(Extremes::default()));
        let mut watches = JoinSet::new();
        watches.spawn(watch_fleet(fleet.clone(), Arc::clone(&extremes)));
        let (client, namespace) = (&fleet.cluster.client, &fleet.cluster.namespace);
        let slices = Api::namespaced(client.clone(), namespace);
        let of_service = watcher::Config::default().labels(&format!("kubernetes.io/service-name={service}"));
        watches.spawn(watch_slices(watcher(slices, of_service).default_backoff(), Arc::clone(&extremes)));
        let pods = Api::namespaced(client.clone(), namespace);
        let of_fleet = watcher::Config::default().labels(&format!("{}={}", names::LABEL_FLEET, fleet.name));
        watches.spawn(watch_pods(watcher(pods, of_fleet).default_backoff(), Arc::clone(&extremes)));
        Self { extremes, _watches: watches }
    }

    /// The extremes so far.
    pub fn so_far(&self) -> Extremes {
        *self.extremes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Extremes {
    /// Whether each watch has delivered its first state.
    pub fn is_whole(&self) -> bool {
        self.ready.is_some() && self.addresses.is_some() && self.gpus.is_some()
    }
}

fn note(extremes: &Mutex<Extremes>, change: impl FnOnce(&mut Extremes)) {
    let mut extremes = extremes.lock().unwrap_or_else(PoisonError::into_inner);
    change(&mut extremes);
}

async fn watch_fleet(fleet: Fleet, extremes: Arc<Mutex<Extremes>>) {
    let mut changes = pin!(watch_object(fleet.api(), &fleet.name).default_backoff());
    while let Some(change) = changes.next().await {
        let Ok(fleet) = change else { continue };
        let status = fleet.and_then(|fleet| fleet.status).unwrap_or_default();
        note(&extremes, |extremes| {
            extremes.ready =
                Some(extremes.ready.map_or(status.ready_replicas, |low| low.min(status.ready_replicas)));
            extremes.most = extremes.most.max(status.replicas);
        });
    }
}

async fn watch_slices(
    changes: impl Stream<Item = Result<Event<EndpointSlice>, watcher::Error>>,
    extremes: Arc<Mutex<Extremes>>,
) {
    let mut changes = pin!(changes);
    let mut slices = WatchCache::default();
    while let Some(change) = changes.next().await {
        let Ok(event) = change else { continue };
        if let Some(all) = slices.apply(event, ready) {
            let count = count(all);
            note(&extremes, |extremes| {
                extremes.addresses = Some(extremes.addresses.map_or(count, |low| low.min(count)));
            });
        }
    }
}

async fn watch_pods(
    changes: impl Stream<Item = Result<Event<Pod>, watcher::Error>>,
    extremes: Arc<Mutex<Extremes>>,
) {
    let mut changes = pin!(changes);
    let mut pods = WatchCache::default();
    while let Some(change) = changes.next().await {
        let Ok(event) = change else { continue };
        if let Some(all) = pods.apply(event, |pod| gpus_held(&pod)) {
            let sum: u32 = all.sum();
            note(&extremes, |extremes| extremes.gpus = Some(extremes.gpus.map_or(sum, |most| most.max(sum))));
        }
    }
}

/// Number of distinct addresses.
fn count<'s>(slices: impl Iterator<Item = &'s BTreeSet<String>>) -> usize {
    slices.flatten().collect::<BTreeSet<_>>().len()
}

fn ready(slice: EndpointSlice) -> BTreeSet<String> {
    // A missing condition means ready, by the API's definition.
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
        let mut slices = WatchCache::default();
        let mut apply = |event| slices.apply(event, ready).map(count);
        assert_eq!(apply(Event::Init), None);
        assert_eq!(apply(Event::InitApply(slice("a", &[("10.0.0.1", true), ("10.0.0.2", false)]))), None);
        assert_eq!(apply(Event::InitDone), Some(1));
        assert_eq!(apply(Event::Apply(slice("b", &[("10.0.0.1", true), ("10.0.0.3", true)]))), Some(2));
        assert_eq!(apply(Event::Delete(slice("b", &[]))), Some(1));
    }
}
