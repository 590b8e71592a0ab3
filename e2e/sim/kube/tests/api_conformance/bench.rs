//! Sends a sequence to a server, in a namespace that is created for it and deleted afterwards.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use rayfleet_sim_kube::api::ApiServer;
use serde_json::{Value, json};

use crate::answer::{self, Kept};
use crate::step::{Action, Sequence, Step};

/// Longest time that a patient step is retried.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) enum Target {
    Simulated(ApiServer),
    Real,
}

pub(crate) struct Bench {
    client: kube::Client,
    target: Target,
    kept: Kept,
}

impl Bench {
    pub(crate) fn new(client: kube::Client, target: Target) -> Self {
        Self { client, target, kept: Kept::default() }
    }

    /// The answers, one per step.
    pub(crate) async fn run(mut self, sequence: &Sequence) -> anyhow::Result<Vec<Value>> {
        let namespace = self.begin().await?;
        self.kept.keep("ns", &namespace);
        let mut answers = Vec::new();
        for step in &sequence.steps {
            answers.push(self.step(step).await.with_context(|| step.title())?);
        }
        let path = format!("/api/v1/namespaces/{namespace}");
        self.send(&Method::DELETE, &path, "application/json", "application/json", &Value::Null).await?;
        Ok(answers)
    }

    async fn begin(&self) -> anyhow::Result<String> {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "rayfleet-conformance-"}});
        let json = "application/json";
        let (code, text) = self.send(&Method::POST, "/api/v1/namespaces", json, json, &body).await?;
        let made: Value = serde_json::from_str(&text)?;
        let Some(name) = made["metadata"]["name"].as_str().filter(|_| code == 201) else {
            bail!("no namespace can be created: {text}");
        };
        if matches!(self.target, Target::Real) {
            let path = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
            for _ in 0..60 {
                if self.send(&Method::GET, &path, json, json, &Value::Null).await?.0 == 200 {
                    return Ok(name.to_owned());
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            bail!(
                "the namespace {name} got no service account within 30 s: without it no pod can be created"
            );
        }
        Ok(name.to_owned())
    }

    async fn step(&mut self, step: &Step) -> anyhow::Result<Value> {
        let mut waited = Duration::ZERO;
        loop {
            let answer = self.once(step).await?;
            let pause = Duration::from_millis(500);
            if !step.patient || answer == step.expected || waited >= PATIENCE {
                return Ok(answer);
            }
            tokio::time::sleep(pause).await;
            waited += pause;
        }
    }

    async fn once(&mut self, step: &Step) -> anyhow::Result<Value> {
        match &step.action {
            Action::Request { method, path, content_type, accept, body } => {
                let (path, body) = (self.kept.fill(path), self.kept.fill_all(body));
                let (code, text) = self.send(method, &path, content_type, accept, &body).await?;
                Ok(answer::of(step, code, &text, &mut self.kept))
            }
            Action::Watch { path } => {
                let join = if path.contains('?') { '&' } else { '?' };
                let path = format!("{}{join}watch=true&timeoutSeconds=3", self.kept.fill(path));
                let json = "application/json";
                let (code, text) = self.send(&Method::GET, &path, json, json, &Value::Null).await?;
                Ok(answer::of_watch(step, code, &text, &mut self.kept))
            }
            Action::Forget => {
                if let Target::Simulated(server) = &self.target {
                    server.compact(0);
                }
                Ok(json!({}))
            }
            Action::TryCrd => {
                let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../manifests/crd.yaml");
                let shipped = std::fs::read_to_string(file)?;
                if let Target::Simulated(_) = &self.target {
                    // The CRD is generated from the Rust types, as the shipped file must match them.
                    let same = shipped == rayfleet_api::generated::crd_manifest()?;
                    return Ok(json!({"code": if same { 201 } else { 422 }}));
                }
                let shipped = as_new(serde_saphyr::from_str(&shipped)?);
                let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All";
                let json = "application/json";
                let (code, text) = self.send(&Method::POST, path, json, json, &shipped).await?;
                Ok(answer::of(step, code, &text, &mut self.kept))
            }
        }
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        content_type: &str,
        accept: &str,
        body: &Value,
    ) -> anyhow::Result<(u16, String)> {
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, content_type)
            .header(http::header::ACCEPT, accept)
            .body(Body::from(bytes))?;
        let response = self.client.send(request).await?;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await?.to_bytes();
        Ok((code, String::from_utf8(bytes.to_vec())?))
    }
}

/// The same CRD under another group. For an existing CRD a server validates only what has changed.
fn as_new(mut crd: Value) -> Value {
    let group = "conformance.example.com";
    crd["spec"]["group"] = json!(group);
    crd["metadata"]["name"] = json!(format!("rayclusterfleets.{group}"));
    crd
}
