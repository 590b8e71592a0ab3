//! One request, what is kept and shown of its answer, and the expected answer.

use http::Method;
use serde_json::{Value, json};

/// Requests that are sent in order, in a separate namespace.
pub(crate) struct Sequence {
    pub(crate) name: &'static str,
    pub(crate) steps: Vec<Step>,
}

pub(crate) struct Step {
    pub(crate) action: Action,
    /// Values of the answer that later steps use as `${name}`: name, JSON pointer.
    pub(crate) kept: Vec<(&'static str, &'static str)>,
    /// JSON pointers into the answer; one that ends with `?` only checks that a value exists, and `*`
    /// stands for every item of a list.
    pub(crate) shown: Vec<&'static str>,
    /// Retried until the answer is the expected one.
    pub(crate) patient: bool,
    pub(crate) expected: Value,
}

pub(crate) enum Action {
    Request {
        method: Method,
        path: String,
        content_type: &'static str,
        accept: &'static str,
        body: Value,
    },
    Watch {
        path: String,
    },
    /// The server compacts its history up to now, as a real one does over time.
    Forget,
    /// The shipped CRD is dry-run as a new one, so that all of its rules and their costs are validated.
    TryCrd,
}

impl Step {
    fn new(action: Action) -> Self {
        Self { action, kept: Vec::new(), shown: Vec::new(), patient: false, expected: Value::Null }
    }

    pub(crate) fn keep(mut self, name: &'static str, pointer: &'static str) -> Self {
        self.kept.push((name, pointer));
        self
    }

    /// Keeps the resource version.
    pub(crate) fn version(self, name: &'static str) -> Self {
        self.keep(name, "/metadata/resourceVersion")
    }

    pub(crate) fn show(mut self, pointers: &[&'static str]) -> Self {
        self.shown.extend_from_slice(pointers);
        self
    }

    pub(crate) fn accept(mut self, media: &'static str) -> Self {
        if let Action::Request { accept, .. } = &mut self.action {
            *accept = media;
        }
        self
    }

    pub(crate) fn until(mut self) -> Self {
        self.patient = true;
        self
    }

    pub(crate) fn gives(mut self, expected: Value) -> Self {
        self.expected = expected;
        self
    }

    /// Compares only the status code.
    pub(crate) fn code(self, code: u16) -> Self {
        self.gives(json!({"code": code}))
    }

    pub(crate) fn title(&self) -> String {
        match &self.action {
            Action::Request { method, path, .. } => format!("{method} {path}"),
            Action::Watch { path } => format!("WATCH {path}"),
            Action::Forget => "forget the past".to_owned(),
            Action::TryCrd => "try the CRD of manifests/crd.yaml".to_owned(),
        }
    }
}

const JSON: &str = "application/json";

fn request(method: Method, path: &str, content_type: &'static str, body: Value) -> Step {
    Step::new(Action::Request { method, path: full(path), content_type, accept: JSON, body })
}

/// The full path of a resource, for a path that starts with its plural.
fn full(path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let plural = path.split(['/', '?']).next().unwrap_or_default();
    let root = match plural {
        "leases" => "/apis/coordination.k8s.io/v1",
        "controllerrevisions" => "/apis/apps/v1",
        "rayclusterfleets" => "/apis/orchestration.aibrix.ai/v1alpha1",
        "events.k8s.io" => {
            return format!(
                "/apis/events.k8s.io/v1/namespaces/${{ns}}/{}",
                path.replacen("events.k8s.io", "events", 1)
            );
        }
        _ => "/api/v1",
    };
    format!("{root}/namespaces/${{ns}}/{path}")
}

pub(crate) fn get(path: &str) -> Step {
    request(Method::GET, path, JSON, Value::Null)
}

pub(crate) fn post(path: &str, body: Value) -> Step {
    request(Method::POST, path, JSON, body)
}

pub(crate) fn put(path: &str, body: Value) -> Step {
    request(Method::PUT, path, JSON, body)
}

pub(crate) fn merge(path: &str, body: Value) -> Step {
    request(Method::PATCH, path, "application/merge-patch+json", body)
}

pub(crate) fn json_patch(path: &str, body: Value) -> Step {
    request(Method::PATCH, path, "application/json-patch+json", body)
}

pub(crate) fn strategic(path: &str, body: Value) -> Step {
    request(Method::PATCH, path, "application/strategic-merge-patch+json", body)
}

pub(crate) fn apply(path: &str, body: Value) -> Step {
    request(Method::PATCH, path, "application/apply-patch+yaml", body)
}

pub(crate) fn delete(path: &str, options: Value) -> Step {
    request(Method::DELETE, path, JSON, options)
}

pub(crate) fn watch(path: &str) -> Step {
    Step::new(Action::Watch { path: full(path) })
}

pub(crate) fn forget() -> Step {
    Step::new(Action::Forget).gives(json!({}))
}

pub(crate) fn try_crd() -> Step {
    Step::new(Action::TryCrd)
}
