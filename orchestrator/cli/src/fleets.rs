//! Every call to the API server, each with a time-out and every list in pages. Watches are in `follow`.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use rayfleet_api::RayClusterFleet;
use rayfleet_api::names::LABEL_FLEET;
use serde_json::Value;

use crate::fault::Fault;

/// Objects in one answer of a list.
const PAGE: u32 = 250;

/// The fleets of a cluster as one user sees them.
#[derive(Clone)]
pub(crate) struct Fleets {
    /// Client.
    pub(crate) client: Client,
    /// Namespace to work in.
    pub(crate) namespace: String,
    /// Address of the API server, for messages.
    pub(crate) server: String,
    /// Longest wait for one answer.
    pub(crate) timeout: Duration,
}

impl Fleets {
    /// The fleets of the namespace, or of all.
    pub(crate) fn api(&self, all_namespaces: bool) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<RayClusterFleet>(&());
        if all_namespaces {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        }
    }

    /// A fleet as it is named on a command line: `llama -n serving`.
    pub(crate) fn named(&self, fleet: &str) -> String {
        format!("{fleet} -n {}", self.namespace)
    }

    /// One fleet.
    pub(crate) async fn get(&self, fleet: &str) -> Result<DynamicObject, Fault> {
        self.call(Some(fleet), self.api(false).get(fleet)).await
    }

    /// One fleet, if it is there.
    pub(crate) async fn find(&self, fleet: &str) -> Result<Option<DynamicObject>, Fault> {
        self.call(Some(fleet), self.api(false).get_opt(fleet)).await
    }

    /// All objects of another kind.
    pub(crate) async fn all<K>(&self, api: &Api<K>) -> Result<Vec<K>, Fault>
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        self.pages(api, ListParams::default()).await
    }

    /// All fleets of the namespace, or of all namespaces.
    pub(crate) async fn list(&self, all_namespaces: bool) -> Result<Vec<DynamicObject>, Fault> {
        self.pages(&self.api(all_namespaces), ListParams::default()).await
    }

    /// The `ControllerRevision`s with a fleet's name.
    pub(crate) async fn revisions(&self, fleet: &str) -> Result<Vec<ControllerRevision>, Fault> {
        let api = Api::namespaced(self.client.clone(), &self.namespace);
        self.pages(&api, ListParams::default().labels(&format!("{LABEL_FLEET}={fleet}"))).await
    }

    /// Changes a fleet by a merge patch.
    pub(crate) async fn merge(&self, fleet: &str, change: &Value) -> Result<DynamicObject, Fault> {
        self.call(Some(fleet), self.api(false).patch(fleet, &writer(), &Patch::Merge(change))).await
    }

    /// Changes a fleet by a JSON patch, if its spec is still of `generation`. `None`: it is not, so what
    /// the change was made from has to be read again.
    pub(crate) async fn replace_at(
        &self,
        fleet: &str,
        generation: i64,
        changes: Vec<Value>,
    ) -> Result<Option<DynamicObject>, Fault> {
        let guard = serde_json::json!({"op": "test", "path": "/metadata/generation", "value": generation});
        let operations = Value::Array(std::iter::once(guard).chain(changes).collect());
        let patch = serde_json::from_value(operations).map_err(|error| {
            Fault::new(format!("fleet \"{fleet}\": the change is no JSON patch: {error}"))
        })?;
        let patch = Patch::Json::<()>(patch);
        match self.call(Some(fleet), self.api(false).patch(fleet, &writer(), &patch)).await {
            Ok(fleet) => Ok(Some(fleet)),
            // A failed test is a 422, as is a refused change; the generation tells which it was.
            Err(fault) if self.get(fleet).await?.metadata.generation == Some(generation) => Err(fault),
            Err(_) => Ok(None),
        }
    }

    async fn pages<K>(&self, api: &Api<K>, filter: ListParams) -> Result<Vec<K>, Fault>
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let mut params = filter.limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page = self.call(None, api.list(&params)).await?;
            all.extend(page.items);
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params.continue_token = Some(token),
                _ => return Ok(all),
            }
        }
    }

    async fn call<T>(
        &self,
        fleet: Option<&str>,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer.map_err(|error| Fault::api(&error, &self.server, &self.namespace, fleet)),
            Err(_) => Err(Fault::no_answer(&self.server, self.timeout.as_secs_f64())),
        }
    }
}

fn writer() -> PatchParams {
    PatchParams { field_manager: Some("kubectl-rayfleet".to_owned()), ..PatchParams::default() }
}
