//! Every call to the API server, each with a time limit and every list in pages. Objects are parsed one by
//! one, so that an invalid one does not prevent the others from being read. Watches are in `follow`.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{GetParams, ListParams, Patch, PatchParams};
use kube::core::request::Error as BadRequest;
use kube::core::{ApiResource, DynamicObject, Request, Status};
use kube::{Api, Client, Resource};
use rayfleet_api::RayClusterFleet;
use rayfleet_api::names::LABEL_FLEET;
use rayfleet_cli_kit::terminal::note;
use rayfleet_cli_kit::{CliError, clock};
use rayfleet_text::pieces::{Page, without_managed_fields};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{self, RESOURCE};

/// Objects per page of a list.
const PAGE: u32 = 250;
/// Most pages of a list: far more than a cluster has of anything that is listed here.
const PAGES: usize = 1000;

/// Label of the pods of KubeRay's operator: its manifests and its Helm chart both set it
/// (ray-operator/config/manager/manager.yaml and helm-chart/kuberay-operator of KubeRay 1.6.2).
pub(crate) const KUBERAY_OPERATOR: &str = "app.kubernetes.io/component=kuberay-operator";

/// The fleets that one user may read.
#[derive(Clone)]
pub(crate) struct Fleets {
    pub(crate) client: Client,
    /// Namespace to use.
    pub(crate) namespace: String,
    /// Address of the API server, for messages.
    pub(crate) server: String,
    /// Time limit of one call.
    pub(crate) timeout: Duration,
    /// A bundle is read in place of an API server: nothing changes, and nothing can be written.
    pub(crate) recorded: bool,
    /// The moment that ages and limits count from; `None`: now.
    pub(crate) moment: Option<Timestamp>,
}

impl Fleets {
    /// Now, or the moment of the bundle that is read.
    pub(crate) fn now(&self) -> Timestamp {
        self.moment.unwrap_or_else(clock::now)
    }

    /// The API of the fleets of the namespace, or of all.
    pub(crate) fn api(&self, all_namespaces: bool) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<RayClusterFleet>(&());
        if all_namespaces {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        }
    }

    /// A fleet as on a command line: `llama -n serving`.
    pub(crate) fn named(&self, fleet: &str) -> String {
        format!("{fleet} -n {}", self.namespace)
    }

    /// Requests for the fleets of the namespace, or of all.
    fn at(&self, all_namespaces: bool) -> Request {
        let namespace = (!all_namespaces).then_some(&*self.namespace);
        Request::new(RayClusterFleet::url_path(&(), namespace))
    }

    /// One fleet.
    pub(crate) async fn get(&self, fleet: &str) -> Result<DynamicObject, CliError> {
        let text = self.send(Some(fleet), self.at(false).get(fleet, &GetParams::default())).await?;
        self.read(fleet, &text)
    }

    /// One fleet, or `None` if it does not exist.
    pub(crate) async fn find(&self, fleet: &str) -> Result<Option<DynamicObject>, CliError> {
        let request = self.at(false).get(fleet, &GetParams::default());
        let text = self.find_if(request, Status::is_not_found).await?;
        text.map(|text| self.read(fleet, &text)).transpose()
    }

    /// The text of any object, or `None` if it does not exist, or none of its kind does.
    pub(crate) async fn find_at(
        &self,
        request: Result<http::Request<Vec<u8>>, BadRequest>,
    ) -> Result<Option<String>, CliError> {
        self.find_if(request, |status| status.code == 404).await
    }

    /// The text of an object, or `None` if the refusal says that it is missing.
    async fn find_if(
        &self,
        request: Result<http::Request<Vec<u8>>, BadRequest>,
        is_missing: impl Fn(&Status) -> bool,
    ) -> Result<Option<String>, CliError> {
        let call = async {
            match self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await {
                Err(kube::Error::Api(status)) if is_missing(&status) => Ok(None),
                answer => answer.map(Some),
            }
        };
        self.call(None, call).await
    }

    /// Changes any object by a merge patch.
    pub(crate) async fn patch_at(&self, at: &Request, name: &str, change: &Value) -> Result<(), CliError> {
        self.send(None, at.patch(name, &writer(), &Patch::Merge(change))).await.map(drop)
    }

    fn read(&self, fleet: &str, text: &str) -> Result<DynamicObject, CliError> {
        read(text).ok_or_else(|| {
            CliError::failed(
                format!("{RESOURCE} \"{fleet}\" cannot be read"),
                format!("see: kubectl get rayclusterfleet {} -o json", self.named(fleet)),
            )
        })
    }

    /// All fleets of the namespace, or of all namespaces.
    pub(crate) async fn list(&self, all_namespaces: bool) -> Result<Vec<DynamicObject>, CliError> {
        self.all(&self.at(all_namespaces), ListParams::default(), "fleets", read).await
    }

    /// The fleets with these labels and fields of the namespace, or of all, one after the other: a page at a time.
    pub(crate) async fn each(
        &self,
        all_namespaces: bool,
        filter: ListParams,
        mut each: impl FnMut(DynamicObject) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        self.every(&self.at(all_namespaces), filter, "fleets", read, &mut each).await
    }

    /// The `ControllerRevision`s with a fleet's name.
    pub(crate) async fn revisions(&self, fleet: &str) -> Result<Vec<ControllerRevision>, CliError> {
        let at = Request::new(ControllerRevision::url_path(&(), Some(&self.namespace)));
        let of = ListParams::default().labels(&format!("{LABEL_FLEET}={fleet}"));
        self.all(&at, of, "ControllerRevisions", read).await
    }

    /// Changes a fleet by a merge patch.
    pub(crate) async fn merge(&self, fleet: &str, change: &Value) -> Result<DynamicObject, CliError> {
        self.call(Some(fleet), self.api(false).patch(fleet, &writer(), &Patch::Merge(change))).await
    }

    /// Changes a fleet by a JSON patch if its spec still has `generation`. `None` if it does not: then the
    /// change must be computed from the new spec.
    pub(crate) async fn replace_at(
        &self,
        fleet: &str,
        generation: i64,
        changes: Vec<Value>,
    ) -> Result<Option<DynamicObject>, CliError> {
        let guard = serde_json::json!({"op": "test", "path": "/metadata/generation", "value": generation});
        let operations = Value::Array(std::iter::once(guard).chain(changes).collect());
        let patch = serde_json::from_value(operations).map_err(|error| {
            CliError::plain(format!("fleet \"{fleet}\": the change is not a JSON patch: {error}"))
        })?;
        let patch = Patch::Json::<()>(patch);
        match self.call(Some(fleet), self.api(false).patch(fleet, &writer(), &patch)).await {
            Ok(fleet) => Ok(Some(fleet)),
            // A failed test is a 422, like a refused change; the generation distinguishes the two.
            Err(fault) if self.get(fleet).await?.metadata.generation == Some(generation) => Err(fault),
            Err(_) => Ok(None),
        }
    }

    /// All objects of a kind, `what` as text, each parsed from its own text.
    pub(crate) async fn all<T>(
        &self,
        at: &Request,
        filter: ListParams,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, CliError> {
        let mut all = Vec::new();
        let mut keep = |object| {
            all.push(object);
            Ok(())
        };
        self.every(at, filter, what, read, &mut keep).await?;
        Ok(all)
    }

    /// The same, each passed on as it is read; of the texts there is one page at a time.
    async fn every<T>(
        &self,
        at: &Request,
        filter: ListParams,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
        each: &mut impl FnMut(T) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let mut params = filter.limit(PAGE);
        let mut unreadable = 0_usize;
        for page in 0.. {
            if page == PAGES {
                return Err(CliError::plain(format!(
                    "API server {}: its list of {what} has no end after {PAGES} pages",
                    self.server
                )));
            }
            let text = self.send(None, at.list(&params)).await?;
            let page = Page::of(&text).ok_or_else(|| {
                CliError::plain(format!("API server {}: its reply for {what} is not a list", self.server))
            })?;
            for item in &page.items {
                match read(item) {
                    Some(object) => each(object)?,
                    None => unreadable += 1,
                }
            }
            match page.metadata.token {
                Some(token) if !token.is_empty() => params.continue_token = Some(token),
                _ => break,
            }
        }
        if unreadable > 0 {
            note(&format!("warning: {unreadable} of the {what} cannot be read and are left out"));
        }
        Ok(())
    }

    /// One call; returns the text of the reply.
    async fn send(
        &self,
        fleet: Option<&str>,
        request: Result<http::Request<Vec<u8>>, BadRequest>,
    ) -> Result<String, CliError> {
        let call = async { self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await };
        self.call(fleet, call).await
    }

    async fn call<T>(
        &self,
        fleet: Option<&str>,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, CliError> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer.map_err(|error| error::api(&error, &self.server, &self.namespace, fleet)),
            Err(_) => Err(error::no_answer(&self.server, self.timeout.as_secs_f64())),
        }
    }
}

/// Parses an object of any kind, without its managed fields.
fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(&without_managed_fields(text)?).ok()
}

fn writer() -> PatchParams {
    PatchParams { field_manager: Some("kubectl-rayfleet".to_owned()), ..PatchParams::default() }
}
