//! One watch for each kind, feeding the index for as long as the program runs. A watch that fails is
//! tried again with growing waits; nothing here looks at what the objects mean.

mod follow;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ResourceQuota, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;
use kube::core::DynamicObject;
use rayfleet_api::{RayClusterFleet, names};
use tokio::task::JoinSet;
use tracing::warn;

use self::follow::{Broken, What, follow};
use super::Index;
use super::endpoints::Slice;
use super::index::{Indexed, Kind, Warning};
use super::nodes::Node;
use super::objects::Watched;
use super::pods::Pod;
use super::troubles::{self, Trouble};
use crate::clock;

/// Starts all watches. They run until the set is dropped.
pub(crate) fn watch_all(client: &Client, index: &Arc<Index>) -> JoinSet<()> {
    let mut watches = Watches { client, index, tasks: JoinSet::new() };
    let of = |path: &str| What { path: path.to_owned(), ..What::default() };
    let labelled = |path: &str, label: &'static str| What { labels: Some(label), ..of(path) };
    watches.add::<RayClusterFleet>(of(&format!(
        "/apis/{}/{}/rayclusterfleets",
        names::GROUP,
        names::VERSION
    )));
    // All of them, and only those of fleets are kept: whatever other tools do to labels, a RayCluster that a fleet controls is seen.
    watches.add::<DynamicObject>(of("/apis/ray.io/v1/rayclusters"));
    watches.add::<Pod>(of("/api/v1/pods"));
    watches.add::<Node>(of("/api/v1/nodes"));
    watches.add::<ResourceQuota>(of("/api/v1/resourcequotas"));
    watches.add::<Slice>(of("/apis/discovery.k8s.io/v1/endpointslices"));
    watches.add::<Service>(labelled("/api/v1/services", names::LABEL_SERVICE));
    watches
        .add::<ControllerRevision>(labelled("/apis/apps/v1/controllerrevisions", names::LABEL_POD_REVISION));
    let budgets = "/apis/policy/v1/poddisruptionbudgets";
    watches.add::<PodDisruptionBudget>(labelled(budgets, names::LABEL_FLEET));
    let warnings = Some("involvedObject.kind=RayCluster,type=Warning");
    watches.add::<Warning>(What { fields: warnings, ..of("/api/v1/events") });
    watches.add::<Trouble>(What { fields: Some(troubles::SELECTOR), ..of("/api/v1/events") });
    watches.tasks
}

struct Watches<'a> {
    client: &'a Client,
    index: &'a Arc<Index>,
    tasks: JoinSet<()>,
}

impl Watches<'_> {
    fn add<T: Watched + Send + 'static>(&mut self, what: What) {
        let (client, index) = (self.client.clone(), self.index.clone());
        self.tasks.spawn(async move {
            follow::<T>(client, what, &index, |error| complain::<T>(error, &index)).await;
        });
    }
}

fn complain<T: Indexed>(error: &Broken, index: &Index) {
    // By the code: for a group that it does not know the API server answers in plain text, without a reason.
    if T::KIND == Kind::Cluster && error.code() == Some(404) {
        let words = "the CustomResourceDefinition rayclusters.ray.io is not there";
        index.kuberay_missing(words, clock::monotonic());
    }
    warn!(kind = ?T::KIND, %error, "a watch failed; it is tried again");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use std::time::Duration;

    use super::follow::ANSWER;
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
