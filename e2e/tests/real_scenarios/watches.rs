//! Watches on a fleet that miss nothing that its status reported: every state in order, its history, and
//! how many groups took traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watch_object, watcher};
use kube::{Api, ResourceExt};
use rayfleet_api::{RayClusterFleet, ValidFleet, names};
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::addresses::Addresses;
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::narrator::Narrator;
use rayfleet_e2e::cluster::ray_cluster_resource;
use rayfleet_e2e::console::Console;
use rayfleet_sim::run::divergence::History;
use rayfleet_sim::run::oracle::{Extremes, takes_traffic};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Watches until it is dropped.
pub(crate) struct Watches {
    kept: Arc<Mutex<Kept>>,
    /// The states of the fleet, in order; `None` while it does not exist.
    pub(crate) states: mpsc::UnboundedReceiver<Option<RayClusterFleet>>,
    _tasks: JoinSet<()>,
}

/// Observations.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) history: History,
    pub(crate) extremes: Extremes,
    pub(crate) addresses: Addresses,
    /// Watches that ended and restarted: a state may have been missed.
    pub(crate) breaks: Vec<String>,
    narrator: Narrator,
    heads: BTreeMap<String, bool>,
    clusters: BTreeSet<String>,
    /// Number of groups in the first spec.
    wanted: Option<u32>,
    there: bool,
}

impl Watches {
    /// Starts to watch a fleet, whether it exists or not.
    pub(crate) fn begin(fleet: &Fleet, console: Console, start: Instant) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (send, states) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let both = || (fleet.clone(), Arc::clone(&kept));
        let (to, at) = both();
        tasks.spawn(watch_fleet(to, at, send, console, start));
        let (to, at) = both();
        tasks.spawn(watch_slices(to, at, start));
        let pod = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
        for resource in [pod, ray_cluster_resource()] {
            let (to, at) = both();
            tasks.spawn(watch_objects(to, at, resource));
        }
        Self { kept, states, _tasks: tasks }
    }

    /// The observations so far.
    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

/// Every change is recorded as a whole, so a poisoned lock holds a consistent value.
fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch_fleet(
    fleet: Fleet,
    kept: Arc<Mutex<Kept>>,
    states: mpsc::UnboundedSender<Option<RayClusterFleet>>,
    console: Console,
    start: Instant,
) {
    let mut changes = pin!(watch_object(fleet.api(), &fleet.name).default_backoff());
    while let Some(change) = changes.next().await {
        let state = match change {
            Ok(state) => state,
            Err(error) => {
                lock(&kept).breaks.push(format!("the watch of the fleet: {error}"));
                continue;
            }
        };
        let at = Duration::from_secs_f64(clock::seconds_since(start));
        let lines = lock(&kept).take(state.as_ref(), at);
        for line in lines {
            console.say(line);
        }
        // The receiver may have been dropped.
        let _ = states.send(state);
    }
}

impl Kept {
    fn take(&mut self, state: Option<&RayClusterFleet>, at: Duration) -> Vec<String> {
        self.history.take(state, at);
        self.there = state.is_some();
        if self.wanted.is_none() {
            self.wanted = state.and_then(|state| ValidFleet::new(state).ok()).map(|valid| valid.replicas);
        }
        self.look();
        state.map(|state| self.narrator.changes(state)).unwrap_or_default()
    }

    /// The same check that the simulation makes after every change.
    fn look(&mut self) {
        let taking = self.heads.values().filter(|taking| **taking).count();
        let wanted = self.wanted.filter(|_| self.there);
        self.extremes.take(u32::try_from(taking).unwrap_or(u32::MAX), self.clusters.len(), wanted);
    }

    fn object(&mut self, object: &DynamicObject, there: bool) {
        let name = object.name_any();
        let is_pod = object.types.as_ref().is_some_and(|types| types.kind == "Pod");
        if !there {
            self.heads.remove(&name);
            self.clusters.remove(&name);
        } else if is_pod {
            let taking = serde_json::to_value(object).is_ok_and(|pod| takes_traffic(&pod));
            self.heads.insert(name, taking);
        } else {
            self.clusters.insert(name);
        }
        self.look();
    }
}

/// Watches pods, or RayClusters. Their names differ, so both may use one table of deleted objects.
async fn watch_objects(fleet: Fleet, kept: Arc<Mutex<Kept>>, resource: ApiResource) {
    let client = fleet.cluster.client.clone();
    let api: Api<DynamicObject> = Api::namespaced_with(client, &fleet.cluster.namespace, &resource);
    let ours = watcher::Config::default().labels(&format!("{}={}", names::LABEL_FLEET, fleet.name));
    let mut changes = pin!(watcher(api, ours).default_backoff());
    let mut listed = BTreeSet::new();
    let mut known = BTreeMap::new();
    while let Some(change) = changes.next().await {
        match change {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(object.name_any());
                lock(&kept).object(&object, true);
                known.insert(object.name_any(), object);
            }
            Ok(Event::InitDone) => {
                let gone: Vec<String> =
                    known.keys().filter(|name| !listed.contains(*name)).cloned().collect();
                for object in gone.iter().filter_map(|name| known.remove(name)) {
                    lock(&kept).object(&object, false);
                }
            }
            Ok(Event::Apply(object)) => {
                lock(&kept).object(&object, true);
                known.insert(object.name_any(), object);
            }
            Ok(Event::Delete(object)) => {
                known.remove(&object.name_any());
                lock(&kept).object(&object, false);
            }
            Err(error) => lock(&kept).breaks.push(format!("the watch of {}: {error}", resource.plural)),
        }
    }
}

/// Watches the ready addresses of the fleet's Service, which decide where requests go.
async fn watch_slices(fleet: Fleet, kept: Arc<Mutex<Kept>>, start: Instant) {
    let api: Api<EndpointSlice> = Api::namespaced(fleet.cluster.client.clone(), &fleet.cluster.namespace);
    let ours = watcher::Config::default().labels(&format!("kubernetes.io/service-name={}", fleet.name));
    let mut changes = pin!(watcher(api, ours).default_backoff());
    let mut slices: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while let Some(change) = changes.next().await {
        match change {
            Ok(Event::Init) => slices.clear(),
            Ok(Event::InitApply(slice)) => drop(slices.insert(slice.name_any(), ready(slice))),
            Ok(Event::InitDone) => note(&kept, &slices, start),
            Ok(Event::Apply(slice)) => {
                slices.insert(slice.name_any(), ready(slice));
                note(&kept, &slices, start);
            }
            Ok(Event::Delete(slice)) => {
                slices.remove(&slice.name_any());
                note(&kept, &slices, start);
            }
            Err(error) => lock(&kept).breaks.push(format!("the watch of EndpointSlices: {error}")),
        }
    }
}

fn note(kept: &Mutex<Kept>, slices: &BTreeMap<String, BTreeSet<String>>, start: Instant) {
    let ready = slices.values().flatten().cloned().collect();
    lock(kept).addresses.note(clock::seconds_since(start), ready);
}

fn ready(slice: EndpointSlice) -> BTreeSet<String> {
    // A missing condition means ready, by the API's definition.
    let is_ready = |conditions: Option<bool>| conditions.unwrap_or(true);
    let endpoints = slice.endpoints.into_iter().flatten();
    let ready = endpoints
        .filter(|endpoint| is_ready(endpoint.conditions.as_ref().and_then(|conditions| conditions.ready)));
    ready.flat_map(|endpoint| endpoint.addresses).collect()
}
