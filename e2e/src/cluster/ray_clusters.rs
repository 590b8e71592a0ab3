//! The RayClusters of a fleet over a period: which were made and which were deleted, in order, as the API server has it.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use rayfleet_api::names;
use tokio::task::JoinSet;

use super::fleet::Fleet;
use super::ray_cluster_resource;

/// Watches until it is dropped.
pub struct RayClusters {
    seen: Arc<Mutex<Seen>>,
    _watch: JoinSet<()>,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Names of RayClusters that were made, in order.
    pub made: Vec<String>,
    /// Names of those that were deleted, in the order in which that was asked for.
    pub deleted: Vec<String>,
    /// Those that exist.
    there: BTreeSet<String>,
    listed: bool,
}

impl RayClusters {
    /// Starts to watch.
    pub fn watch(fleet: &Fleet) -> Self {
        let (client, namespace) = (fleet.cluster.client.clone(), &fleet.cluster.namespace);
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &ray_cluster_resource());
        let ours = watcher::Config::default().labels(&format!("{}={}", names::LABEL_FLEET, fleet.name));
        let seen = Arc::default();
        let mut watch = JoinSet::new();
        watch.spawn(follow(watcher(api, ours).default_backoff(), Arc::clone(&seen)));
        Self { seen, _watch: watch }
    }

    /// Whether the first list has arrived.
    pub fn has_started(&self) -> bool {
        self.so_far().listed
    }

    /// What was seen so far.
    pub fn so_far(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn follow(
    events: impl Stream<Item = Result<Event<DynamicObject>, watcher::Error>>,
    seen: Arc<Mutex<Seen>>,
) {
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        if let Ok(event) = event {
            seen.lock().unwrap_or_else(PoisonError::into_inner).take(event);
        }
    }
}

impl Seen {
    fn take(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => {}
            Event::InitDone => self.listed = true,
            Event::InitApply(object) | Event::Apply(object) => self.is_there(&object),
            Event::Delete(object) => self.is_gone(&object.name_any()),
        }
    }

    fn is_there(&mut self, object: &DynamicObject) {
        let name = object.name_any();
        if object.metadata.deletion_timestamp.is_some() {
            self.is_gone(&name);
        } else if self.there.insert(name.clone()) && self.listed {
            self.made.push(name);
        }
    }

    fn is_gone(&mut self, name: &str) {
        if self.there.remove(name) {
            self.deleted.push(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn object(name: &str, deleting: bool) -> DynamicObject {
        let mut object = DynamicObject::new(name, &ray_cluster_resource());
        object.metadata.deletion_timestamp = deleting.then_some(Time(Timestamp::UNIX_EPOCH));
        object
    }

    #[test]
    fn what_was_there_was_not_made_and_a_deletion_counts_once() {
        let mut seen = Seen::default();
        for event in [
            Event::Init,
            Event::InitApply(object("a", false)),
            Event::InitDone,
            Event::Apply(object("b", false)),
            Event::Apply(object("b", false)),
            Event::Apply(object("a", true)),
            Event::Delete(object("a", true)),
            Event::Apply(object("a", false)),
        ] {
            seen.take(event);
        }
        assert_eq!((seen.made, seen.deleted), (vec!["b".to_owned(), "a".to_owned()], vec!["a".to_owned()]));
    }
}
