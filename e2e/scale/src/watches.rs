//! Follows pods and fleets, for the containers and the times.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use rayfleet_e2e::clock;
use tokio::sync::Notify;

use crate::containers::Containers;
use crate::progress::Progress;

/// How far the fleets are, and who waits for them.
pub(crate) struct Followed {
    progress: Mutex<Progress>,
    changed: Notify,
}

impl Followed {
    pub(crate) fn new(progress: Progress) -> Self {
        Self { progress: Mutex::new(progress), changed: Notify::new() }
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all fleets are ready, by pods and by status.
    pub(crate) async fn done(&self) {
        while !self.progress().is_done() {
            self.changed.notified().await;
        }
    }
}

/// Follows all pods. An error is repeated by the watch itself.
pub(crate) async fn pods(api: Api<Pod>, mut containers: Containers, followed: Arc<Followed>) {
    let mut events = pin!(watcher(api, Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => {
                containers.applied(&pod);
                followed.progress().pod(&pod, clock::instant());
            }
            Ok(Event::Delete(pod)) => {
                containers.gone(&pod);
                followed.progress().pod_is(&pod, false, clock::instant());
            }
            Ok(Event::Init | Event::InitDone) | Err(_) => {}
        }
        followed.changed.notify_one();
    }
}

/// Follows all fleets.
pub(crate) async fn fleets(api: Api<DynamicObject>, followed: Arc<Followed>) {
    let mut events = pin!(watcher(api, Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        if let Ok(Event::Apply(fleet) | Event::InitApply(fleet)) = event {
            let name = fleet.metadata.name.unwrap_or_default();
            followed.progress().fleet(&name, &fleet.data, clock::instant());
        }
        followed.changed.notify_one();
    }
}
