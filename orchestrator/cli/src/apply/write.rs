//! The calls of `apply`: one fleet, tried or written, as kubectl's server-side apply does it.

use kube::api::{GetParams, Patch, PatchParams, ValidationDirective};
use kube::core::{DynamicObject, Request};
use kube::{Error, Resource};
use rayfleet_api::RayClusterFleet;
use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::terminal::note;
use serde_json::{Value, json};

use super::managers::{self, LAST_APPLIED, LAST_APPLIED_MANAGER, SERVER_SIDE};
use super::manifest::Wanted;
use crate::error;
use crate::fleets::Fleets;

/// How often the managers are read again because the orchestrator wrote the status in between.
const ATTEMPTS: usize = 5;

/// Writes one fleet.
pub(super) struct Writer<'a> {
    pub(super) fleets: &'a Fleets,
    pub(super) force: bool,
}

impl Writer<'_> {
    /// What the fleet would be; nothing is written.
    pub(super) async fn tried(&self, wanted: &Wanted) -> Result<DynamicObject, CliError> {
        let tried = self.applied(wanted, true).await?;
        serde_json::from_value(tried)
            .map_err(|error| CliError::plain(format!("fleet \"{}\" cannot be read: {error}", wanted.name)))
    }

    /// Writes the fleet.
    pub(super) async fn write(&self, wanted: &Wanted) -> Result<(), CliError> {
        let written = self.applied(wanted, false).await?;
        // As kubectl: the fleet is applied, and the next time does what could not be done now.
        if let Err(fault) = self.take_over(wanted, &written).await {
            note(&format!(
                "warning: fields of fleet \"{}\" that kubectl applied before stay its own: {fault}",
                wanted.name
            ));
        }
        Ok(())
    }

    /// A fleet that `kubectl apply` made before: its last manifest is kept up to date, and what that had and this one lacks goes.
    async fn take_over(&self, wanted: &Wanted, written: &Value) -> Result<(), CliError> {
        if !written["metadata"]["annotations"][LAST_APPLIED].is_null() {
            let last = format!("{}\n", wanted.object);
            let note = json!({
                "apiVersion": wanted.object["apiVersion"], "kind": wanted.object["kind"],
                "metadata": {"name": wanted.name, "namespace": wanted.namespace, "annotations": {LAST_APPLIED: last}}
            });
            let params = PatchParams { force: true, ..as_manager(LAST_APPLIED_MANAGER) };
            self.patch(wanted, &params, &Patch::Apply(&note)).await?;
        }
        if managers::upgraded(&written["metadata"]["managedFields"]).is_none() {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let text = self.send(wanted, at(wanted).get(&wanted.name, &GetParams::default())).await?;
            let live = read(&text)?;
            let Some(fields) = managers::upgraded(&live["metadata"]["managedFields"]) else { break };
            let version = &live["metadata"]["resourceVersion"];
            let change = serde_json::from_value(json!([
                {"op": "replace", "path": "/metadata/managedFields", "value": fields},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
            ]));
            let change = change.map_err(|error| CliError::plain(error.to_string()))?;
            match self
                .call(at(wanted).patch(&wanted.name, &as_manager(SERVER_SIDE), &Patch::Json::<()>(change)))
                .await?
            {
                Err(Error::Api(status)) if status.code == 409 => {}
                Err(fault) => return Err(self.fault(wanted, &fault)),
                Ok(_) => return self.applied(wanted, false).await.map(drop),
            }
        }
        Ok(())
    }

    /// Conflicts with what the plugin's own commands wrote are no conflicts: a manifest counts after them, as with `kubectl apply`.
    async fn applied(&self, wanted: &Wanted, dry_run: bool) -> Result<Value, CliError> {
        let strict = Some(ValidationDirective::Strict);
        let params =
            PatchParams { dry_run, force: self.force, field_validation: strict, ..as_manager(SERVER_SIDE) };
        let patch =
            |params: &PatchParams| at(wanted).patch(&wanted.name, params, &Patch::Apply(&wanted.object));
        match self.call(patch(&params)).await? {
            Err(Error::Api(status)) if managers::ours(conflicts(&status)) => {
                let text = self.send(wanted, patch(&PatchParams { force: true, ..params })).await?;
                read(&text)
            }
            Err(fault) => Err(self.fault(wanted, &fault)),
            Ok(text) => read(&text),
        }
    }

    async fn patch(
        &self,
        wanted: &Wanted,
        params: &PatchParams,
        patch: &Patch<&Value>,
    ) -> Result<String, CliError> {
        self.send(wanted, at(wanted).patch(&wanted.name, params, patch)).await
    }

    async fn send(&self, wanted: &Wanted, request: Asked) -> Result<String, CliError> {
        self.call(request).await?.map_err(|fault| self.fault(wanted, &fault))
    }

    /// One call within the time limit.
    async fn call(&self, request: Asked) -> Result<Result<String, Error>, CliError> {
        let Fleets { client, timeout, server, .. } = self.fleets;
        let call = async { client.request_text(request.map_err(Error::BuildRequest)?).await };
        tokio::time::timeout(*timeout, call)
            .await
            .map_err(|_| error::no_answer(server, timeout.as_secs_f64()))
    }

    fn fault(&self, wanted: &Wanted, fault: &Error) -> CliError {
        let Wanted { namespace, name, .. } = wanted;
        match fault {
            Error::Api(status) if conflicts(status).next().is_some() => CliError::failed(
                format!("fleet \"{name}\": {}", status.message),
                "leave those fields out of the manifest, or take them over with --force-conflicts",
            ),
            // Something is missing that has a name, as the namespace: the API server names it.
            Error::Api(status)
                if status.code == 404 && status.details.as_ref().is_some_and(|it| !it.name.is_empty()) =>
            {
                CliError::failed(status.message.clone(), "create it first, or give another namespace with -n")
            }
            _ => error::api(fault, &self.fleets.server, namespace, None),
        }
    }
}

type Asked = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

fn at(wanted: &Wanted) -> Request {
    Request::new(RayClusterFleet::url_path(&(), Some(&wanted.namespace)))
}

fn as_manager(manager: &str) -> PatchParams {
    PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() }
}

/// Who else manages fields that were to be changed.
fn conflicts(status: &kube::core::Status) -> impl Iterator<Item = &str> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.filter(|cause| cause.reason == "FieldManagerConflict").map(|cause| cause.message.as_str())
}

fn read(text: &str) -> Result<Value, CliError> {
    serde_json::from_str(text)
        .map_err(|error| CliError::plain(format!("the API server's reply is no JSON: {error}")))
}
