//! An API server for tests: it holds fleets and revisions, answers the program's requests, and records its
//! patches. Of JSON patches only the `test` of the generation is evaluated.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::Client;
use kube::client::Body;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tower::service_fn;

use crate::fleets::Fleets;

#[derive(Default)]
struct State {
    fleets: Vec<DynamicObject>,
    revisions: Vec<ControllerRevision>,
    watched: VecDeque<DynamicObject>,
    patches: Vec<Value>,
    changing_once: bool,
    answers: Vec<(&'static str, Value)>,
}

#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

impl Fake {
    /// A server with these fleets.
    pub(crate) fn new(fleets: impl IntoIterator<Item = DynamicObject>) -> Self {
        Self(Arc::new(Mutex::new(State { fleets: fleets.into_iter().collect(), ..State::default() })))
    }

    /// Events of the watch.
    pub(crate) fn then(self, fleets: impl IntoIterator<Item = DynamicObject>) -> Self {
        self.0.lock().unwrap().watched.extend(fleets);
        self
    }

    /// Stored revisions.
    pub(crate) fn with_revisions(self, revisions: Vec<ControllerRevision>) -> Self {
        self.0.lock().unwrap().revisions = revisions;
        self
    }

    /// Fixed reply for paths with this suffix: an object, or the items of a list.
    pub(crate) fn with(self, path: &'static str, answer: Value) -> Self {
        self.0.lock().unwrap().answers.push((path, answer));
        self
    }

    /// Somebody else changes the spec just before the first patch.
    pub(crate) fn changing_once(self) -> Self {
        self.0.lock().unwrap().changing_once = true;
        self
    }

    /// The recorded patches.
    pub(crate) fn patches(&self) -> Vec<Value> {
        self.0.lock().unwrap().patches.clone()
    }

    /// A client of the server.
    pub(crate) fn fleets(&self) -> Fleets {
        let fake = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, std::io::Error>(fake.answer(request).await) }
        });
        Fleets {
            client: Client::new(service, "serving"),
            namespace: "serving".to_owned(),
            server: "https://fake".to_owned(),
            timeout: Duration::from_secs(10),
        }
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        if uri.query().is_some_and(|query| query.contains("watch=true")) {
            return self.watch().await;
        }
        let body = request.into_body().collect_bytes().await.unwrap();
        let mut state = self.0.lock().unwrap();
        if let Some((_, answer)) = state.answers.iter().find(|(path, _)| uri.path().ends_with(path)) {
            return if answer.is_array() { list(answer) } else { reply(200, answer) };
        }
        let name = uri.path().split("/rayclusterfleets/").nth(1).map(str::to_owned);
        match name {
            _ if uri.path().contains("/controllerrevisions") => list(&json!(state.revisions)),
            None => list(&json!(state.fleets)),
            Some(name) => {
                if method == Method::PATCH {
                    let patch: Value = serde_json::from_slice(&body).unwrap();
                    if let Some(refused) = state.patch(&patch) {
                        return refused;
                    }
                }
                match state.fleets.iter().find(|fleet| fleet.metadata.name.as_deref() == Some(&name)) {
                    Some(fleet) => reply(200, &json!(fleet)),
                    None => failure(404, "NotFound", &name),
                }
            }
        }
    }

    /// The watched fleets, then no more events.
    async fn watch(&self) -> Response<Body> {
        let watched = self.0.lock().unwrap().watched.drain(..).collect::<Vec<_>>();
        if watched.is_empty() {
            return std::future::pending().await;
        }
        let lines: Vec<String> = watched
            .iter()
            .map(|fleet| json!({"type": "MODIFIED", "object": fleet}).to_string() + "\n")
            .collect();
        Response::new(Body::from(lines.concat().into_bytes()))
    }
}

impl State {
    /// Records a patch; returns the refusal if its test fails.
    fn patch(&mut self, patch: &Value) -> Option<Response<Body>> {
        self.patches.push(patch.clone());
        let fleet = self.fleets.first_mut()?;
        if std::mem::take(&mut self.changing_once) {
            fleet.metadata.generation = fleet.metadata.generation.map(|generation| generation + 1);
        }
        let tested = patch.pointer("/0/value").and_then(Value::as_i64);
        (tested.is_some() && tested != fleet.metadata.generation).then(|| failure(422, "Invalid", "llama"))
    }
}

fn list(items: &Value) -> Response<Body> {
    reply(
        200,
        &json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "100"}, "items": items}),
    )
}

fn failure(code: u16, reason: &str, name: &str) -> Response<Body> {
    let status = json!({
        "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason,
        "details": {"name": name, "kind": "rayclusterfleets"}
    });
    reply(code, &status)
}

fn reply(code: u16, body: &Value) -> Response<Body> {
    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}
