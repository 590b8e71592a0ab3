//! One watch for each kind, feeding the index for as long as the program runs. A watch that fails is
//! tried again with growing waits; nothing here looks at what the objects mean.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http::Request;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Event, Node, Pod, ResourceQuota, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::client::Body;
use kube::core::{DeserializeGuard, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use rayfleet_api::{RayClusterFleet, names};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tracing::warn;

use super::Index;
use super::backoff::Growing;
use super::index::{Indexed, Kind, Warning};
use super::rayclusters::RESOURCE;
use crate::clock;

/// Longest time until the answer to a list or to a watch begins. A request that got lost is answered by nobody: without an end the
/// watch would be deaf for ever. An API server gives up a list after this time itself.
const ANSWER: Duration = Duration::from_mins(1);

/// No answer began in time.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not begin to answer within {ANSWER:?}")]
struct Unanswered;

/// A client that waits so long, and no longer, for answers to begin.
fn with_an_end(client: &Client) -> Client {
    let inner = client.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let inner = inner.clone();
        async move {
            match tokio::time::timeout(ANSWER, inner.send(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(kube::Error::Service(Box::new(Unanswered))),
            }
        }
    });
    Client::new(service, client.default_namespace())
}

/// Starts all watches. They run until the set is dropped.
pub(crate) fn watch_all(client: &Client, index: &Arc<Index>) -> JoinSet<()> {
    let client = with_an_end(client);
    let mut tasks = JoinSet::new();
    let all = watcher::Config::default();
    let ours =
        watcher::Config::default().labels(&format!("{}={}", names::LABEL_MANAGED_BY, names::MANAGED_BY));
    let clusters: Api<DynamicObject> = Api::all_with(client.clone(), &*RESOURCE);
    let warnings = watcher::Config::default().fields("involvedObject.kind=RayCluster,type=Warning");
    tasks.spawn(follow(
        Api::<DeserializeGuard<RayClusterFleet>>::all(client.clone()),
        all.clone(),
        index.clone(),
        fleet,
    ));
    tasks.spawn(follow(clusters, ours.clone(), index.clone(), Some));
    tasks.spawn(follow(Api::<Pod>::all(client.clone()), all.clone(), index.clone(), Some));
    tasks.spawn(follow(Api::<Node>::all(client.clone()), all.clone(), index.clone(), Some));
    tasks.spawn(follow(Api::<ResourceQuota>::all(client.clone()), all.clone(), index.clone(), Some));
    tasks.spawn(follow(Api::<EndpointSlice>::all(client.clone()), all, index.clone(), Some));
    tasks.spawn(follow(Api::<Service>::all(client.clone()), ours.clone(), index.clone(), Some));
    tasks.spawn(follow(Api::<PodDisruptionBudget>::all(client.clone()), ours.clone(), index.clone(), Some));
    tasks.spawn(follow(Api::<ControllerRevision>::all(client.clone()), ours, index.clone(), Some));
    tasks.spawn(follow(Api::<Event>::all(client.clone()), warnings, index.clone(), |event| {
        Warning::of(&event)
    }));
    tasks
}

/// A fleet that can not be read must not end the watch for the others.
fn fleet(guarded: DeserializeGuard<RayClusterFleet>) -> Option<RayClusterFleet> {
    match guarded.0 {
        Ok(fleet) => Some(fleet),
        Err(invalid) => {
            let name = invalid.metadata.name.unwrap_or_default();
            warn!(fleet = %name, error = %invalid.error, "a RayClusterFleet can not be read and is left alone");
            None
        }
    }
}

async fn follow<K, T>(api: Api<K>, config: watcher::Config, index: Arc<Index>, read: fn(K) -> Option<T>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: Indexed,
{
    let mut events = watcher(api, config).backoff(Growing::default()).boxed();
    let mut list = Vec::new();
    loop {
        match events.try_next().await {
            Ok(Some(event)) => take(event, &mut list, &index, read),
            Ok(None) => return,
            Err(error) => complain::<T>(&error, &index),
        }
    }
}

fn take<K, T>(event: watcher::Event<K>, list: &mut Vec<T>, index: &Index, read: fn(K) -> Option<T>)
where
    K: Resource,
    T: Indexed,
{
    let lean = |mut object: K| {
        object.managed_fields_mut().clear();
        read(object)
    };
    match event {
        watcher::Event::Init => {
            list.clear();
            index.listing::<T>();
        }
        watcher::Event::InitApply(object) => list.extend(lean(object)),
        watcher::Event::InitDone => index.reset(std::mem::take(list)),
        watcher::Event::Apply(object) => {
            if let Some(object) = lean(object) {
                index.apply(object);
            }
        }
        watcher::Event::Delete(object) => {
            if let Some(object) = lean(object) {
                index.delete(&object);
            }
        }
    }
}

fn complain<T: Indexed>(error: &watcher::Error, index: &Index) {
    if T::KIND == Kind::Cluster && is_not_found(error) {
        index.kuberay_missing(
            "the CustomResourceDefinition rayclusters.ray.io is not there",
            clock::monotonic(),
        );
    }
    warn!(kind = ?T::KIND, %error, "a watch failed; it is tried again");
}

fn is_not_found(error: &watcher::Error) -> bool {
    let cause = match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => cause,
        watcher::Error::WatchError(status) => return status.code == 404,
        watcher::Error::NoResourceVersion => return false,
    };
    // By the code: for a group that it does not know the API server answers in plain text, without a reason.
    matches!(cause, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fake::{Answer, Fake};

    #[tokio::test(start_paused = true)]
    async fn a_list_or_a_watch_that_nobody_answers_is_asked_for_again() {
        let is_watch = |path: &str| path.contains("watch=true");
        let server = Fake::new(move |call| {
            if is_watch(&call.path) || call.path.contains("/nodes?") {
                return Answer::Silence;
            }
            Answer::Reply(200, json!({"metadata": {"resourceVersion": "1"}, "items": []}))
        });
        let _watches = watch_all(&server.client(), &Arc::default());
        let asked = || {
            let calls = server.calls();
            let lists = calls.iter().filter(|call| call.path.contains("/nodes?") && !is_watch(&call.path));
            let watches = calls.iter().filter(|call| call.path.contains("/pods?") && is_watch(&call.path));
            (lists.count(), watches.count())
        };
        tokio::time::sleep(ANSWER.saturating_sub(Duration::from_secs(1))).await;
        assert_eq!(asked(), (1, 1));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(asked(), (2, 2));
    }
}
