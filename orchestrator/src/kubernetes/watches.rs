//! One watch for each kind, feeding the index for as long as the program runs. A watch that fails is
//! tried again with growing waits; nothing here looks at what the objects mean.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ResourceQuota, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;
use kube::core::DynamicObject;
use rayfleet_api::{RayClusterFleet, names};
use rayfleet_runtime::watch::{Broken, What, follow};
use rayfleet_runtime::{Scope, clock};
use tokio::task::JoinSet;
use tracing::{error, warn};

use super::Index;
use super::endpoints::Slice;
use super::index::{Indexed, Kind, Warning};
use super::nodes::Node;
use super::objects::Watched;
use super::pod_events::{self, PodEvent};
use super::pods::Pod;

/// Starts all watches. They run until the set is dropped.
pub(crate) fn watch_all(client: &Client, index: &Arc<Index>) -> JoinSet<()> {
    let mut watches = Watches { client, index, tasks: JoinSet::new() };
    let fleets = format!("/apis/{}/{}", names::GROUP, names::VERSION);
    watches.add::<RayClusterFleet>(&fleets, "rayclusterfleets", None, None);
    // All of them, and only those of fleets are kept: whatever other tools do to labels, a RayCluster that a fleet controls is observed.
    watches.add::<DynamicObject>("/apis/ray.io/v1", "rayclusters", None, None);
    watches.add::<Pod>("/api/v1", "pods", None, None);
    watches.add::<Node>("/api/v1", "nodes", None, None);
    watches.add::<ResourceQuota>("/api/v1", "resourcequotas", None, None);
    watches.add::<Slice>("/apis/discovery.k8s.io/v1", "endpointslices", None, None);
    watches.add::<Service>("/api/v1", "services", Some(names::LABEL_SERVICE), None);
    let revisions = Some(names::LABEL_POD_REVISION);
    watches.add::<ControllerRevision>("/apis/apps/v1", "controllerrevisions", revisions, None);
    let budgets = Some(names::LABEL_FLEET);
    watches.add::<PodDisruptionBudget>("/apis/policy/v1", "poddisruptionbudgets", budgets, None);
    let warnings = Some("involvedObject.kind=RayCluster,type=Warning");
    watches.add::<Warning>("/api/v1", "events", None, warnings);
    watches.add::<PodEvent>("/api/v1", "events", None, Some(pod_events::SELECTOR));
    watches.tasks
}

struct Watches<'a> {
    client: &'a Client,
    index: &'a Arc<Index>,
    tasks: JoinSet<()>,
}

impl Watches<'_> {
    /// A watch for each part of the cluster in which a kind is looked at. `group` is the path of its API group.
    fn add<T: Watched + Send + 'static>(
        &mut self,
        group: &str,
        plural: &str,
        labels: Option<&'static str>,
        fields: Option<&str>,
    ) {
        for scope in self.index.scopes(T::KIND) {
            let (client, index) = (self.client.clone(), self.index.clone());
            let fields = fields.map(str::to_owned).or_else(|| scope.fields());
            let what = What { path: scope.path(group, plural), labels, fields, scope: scope.clone() };
            self.tasks.spawn(async move {
                follow::<T>(client, what, &*index, |error| report::<T>(error, &scope, &index)).await;
            });
        }
    }
}

fn report<T: Indexed>(error: &Broken, scope: &Scope, index: &Index) {
    // By the code: for a group that it does not know the API server answers in plain text, without a reason.
    if T::KIND == Kind::Cluster && error.code() == Some(404) {
        let words = "the CustomResourceDefinition rayclusters.ray.io is not there";
        index.kuberay_missing(words, clock::monotonic());
    }
    warn!(kind = ?T::KIND, ?scope, %error, "a watch failed; it is tried again");
    if error.code() == Some(403) && index.refused(T::KIND, scope, clock::monotonic()) {
        let for_room = !matches!(scope, Scope::In(_));
        let means = if for_room {
            "what the nodes have room for is not known, so no group is made above spec.replicas, and nodes that are cordoned or lost are not \
             noticed: bind ClusterRole rayfleet-capacity to the orchestrator's account to have that"
        } else {
            "fleets of this namespace are not looked after: apply the Role of manifests/namespaced/role in it, or leave it out of --namespaces"
        };
        error!(kind = ?T::KIND, ?scope, means, "this account may not read what it is to look after");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use std::collections::BTreeSet;
    use std::time::Duration;

    use rayfleet_runtime::testing::{self, Answer, Fake};
    use rayfleet_runtime::watch::ANSWER;

    use super::*;

    /// Paths that were asked for, without what selects and pages.
    fn asked(server: &Fake) -> BTreeSet<String> {
        server.calls().iter().map(|call| call.path.split('?').next().unwrap_or_default().to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn chosen_namespaces_are_watched_and_of_others_only_what_takes_room() {
        let server = Fake::new(|call| {
            if call.path.contains("watch=true") {
                return Answer::Silence;
            }
            Answer::Reply(200, json!({"metadata": {"resourceVersion": "1"}, "items": []}))
        });
        let index = Arc::new(Index::of(&"a,b".parse().unwrap()));
        let _watches = watch_all(&server.client(), &index);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let outside = ["/api/v1/nodes".to_owned(), "/api/v1/pods".to_owned()];
        let (inside, others): (Vec<String>, Vec<String>) =
            asked(&server).into_iter().partition(|path| path.contains("/namespaces/"));
        assert_eq!(others, outside);
        assert!(inside.iter().all(|path| path.contains("/namespaces/a/") || path.contains("/namespaces/b/")));
        assert_eq!(inside.len(), 2 * 9, "{inside:#?}");
        let pods = server.calls().into_iter().find(|call| call.path.starts_with("/api/v1/pods?")).unwrap();
        assert!(pods.path.contains("metadata.namespace%21%3Da%2Cmetadata.namespace%21%3Db"), "{}", pods.path);
        assert!(index.read(|store| store.is_synced("a") && store.is_synced("b") && store.knows_room()));
    }

    #[tokio::test(start_paused = true)]
    async fn missing_rights_outside_cost_capacity_and_missing_rights_inside_cost_that_namespace() {
        let server = Fake::new(|call| {
            if call.path.contains("watch=true") {
                return Answer::Silence;
            }
            let refused = !call.path.contains("/namespaces/a/");
            if refused {
                return testing::refusal(403, "Forbidden", "no rights");
            }
            Answer::Reply(200, json!({"metadata": {"resourceVersion": "1"}, "items": []}))
        });
        let index = Arc::new(Index::of(&"a,b".parse().unwrap()));
        let _watches = watch_all(&server.client(), &index);
        let synced = || index.read(|store| (store.is_synced("a"), store.is_synced("b"), store.is_settled()));
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(synced(), (false, false, false), "rights may be on their way");
        tokio::time::sleep(Duration::from_mins(2)).await;
        assert_eq!(synced(), (true, false, true));
        assert!(!index.read(crate::kubernetes::Store::knows_room));
    }

    #[tokio::test(start_paused = true)]
    async fn for_all_namespaces_nothing_is_decided_without_rights() {
        let server = Fake::new(|_| testing::refusal(403, "Forbidden", "no rights"));
        let index = Arc::<Index>::default();
        let _watches = watch_all(&server.client(), &index);
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert!(!index.read(|store| store.is_synced("a") || store.is_settled()));
    }

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
