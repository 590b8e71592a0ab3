//! Follows pods and fleets, for the containers and the times.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, ResourceExt};
use rayfleet_e2e::clock;
use tokio::sync::Notify;

use crate::containers::Containers;
use crate::groups::Groups;
use crate::progress::{Progress, is_ready_pod};
use crate::relist::{PodChange, WatchedPods};

/// How far the fleets and their groups are, and who waits for them.
pub(crate) struct Followed {
    progress: Mutex<Progress>,
    groups: Mutex<Groups>,
    changed: Notify,
}

impl Followed {
    pub(crate) fn new(progress: Progress, groups: Groups) -> Self {
        Self { progress: Mutex::new(progress), groups: Mutex::new(groups), changed: Notify::new() }
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is so. One at a time may wait.
    pub(crate) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            self.changed.notified().await;
        }
    }

    fn pod(&self, pod: &Pod, is_ready: bool, is_gone: bool) {
        let now = clock::instant();
        self.progress().pod_is(pod, is_ready, now);
        self.groups().pod(pod, is_ready, is_gone, now);
    }
}

/// Follows all pods. An error is repeated by the watch itself.
pub(crate) async fn pods(api: Api<Pod>, mut containers: Containers, followed: Arc<Followed>) {
    let mut events = pin!(watcher(api, Config::default()).default_backoff());
    let mut watched = WatchedPods::default();
    while let Some(event) = events.next().await {
        for change in event.into_iter().flat_map(|event| watched.event(event)) {
            match change {
                PodChange::Applied(pod) => {
                    containers.applied(&pod);
                    followed.pod(&pod, is_ready_pod(&pod), false);
                }
                PodChange::Deleted(pod) => {
                    containers.gone(&pod);
                    followed.pod(&pod, false, true);
                }
            }
        }
        followed.changed.notify_one();
    }
}

/// Follows all fleets.
pub(crate) async fn fleets(api: Api<DynamicObject>, followed: Arc<Followed>) {
    let mut events = pin!(watcher(api, Config::default()).default_backoff());
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        let now = clock::instant();
        match event {
            Ok(Event::Apply(fleet)) => followed.progress().fleet(&fleet.name_any(), &fleet.data, now),
            Ok(Event::InitApply(fleet)) => {
                followed.progress().fleet(&fleet.name_any(), &fleet.data, now);
                listed.insert(fleet.name_any());
            }
            Ok(Event::Delete(fleet)) => followed.progress().gone(&fleet.name_any(), now),
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitDone) => followed.progress().only(&listed, now),
            Err(_) => {}
        }
        followed.changed.notify_one();
    }
}
