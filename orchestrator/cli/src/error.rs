//! The only error type of the program: message and cure, also for replies of the API server. Printing does
//! not belong here.

use std::fmt;

use kube::Error;
use kube::core::Status;

/// Plural and group, as kubectl names the resource.
pub(crate) const RESOURCE: &str = "rayclusterfleets.orchestration.aibrix.ai";
/// Singular and group, as kubectl names an object in its results.
pub(crate) const OBJECT: &str = "rayclusterfleet.orchestration.aibrix.ai";

/// An error for people.
#[derive(Debug)]
pub(crate) enum CliError {
    /// Something failed.
    Failed {
        /// Object, field and what is wrong.
        message: String,
        /// What the reader can do, if known.
        cure: Option<String>,
    },
    /// The reader of the output is gone, so nothing can be reported.
    Closed,
}

impl CliError {
    /// An error without a cure.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), cure: None }
    }

    /// An error with a cure.
    pub(crate) fn with_cure(message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), cure: Some(cure.into()) }
    }

    /// A fleet that does not exist.
    pub(crate) fn not_found(fleet: &str, namespace: &str) -> Self {
        Self::with_cure(
            format!("{RESOURCE} \"{fleet}\" not found in namespace \"{namespace}\""),
            "list all fleets: kubectl rayfleet status -A",
        )
    }

    /// No reply in time.
    pub(crate) fn no_answer(server: &str, seconds: f64) -> Self {
        Self::with_cure(
            format!("no answer from the API server {server} within {seconds}s"),
            "check that it is up (kubectl version), or give it longer with --request-timeout",
        )
    }

    /// An error reply of the API server, or none. `fleet` is the requested object, if it was one.
    pub(crate) fn api(error: &Error, server: &str, namespace: &str, fleet: Option<&str>) -> Self {
        match error {
            Error::Api(status) => Self::refused(status, namespace, fleet),
            Error::Auth(error) => Self::with_cure(
                format!("cannot log in to the API server {server}: {}", root_cause(error)),
                "check the user of the context: kubectl config view --minify",
            ),
            Error::Service(_) | Error::HyperError(_) | Error::ReadEvents(_) => Self::with_cure(
                format!("cannot reach the API server {server}: {}", root_cause(error)),
                "check the context (kubectl config current-context) or choose another with --context or --kubeconfig",
            ),
            other => Self::new(format!("API server {server}: {}", root_cause(other))),
        }
    }

    fn refused(status: &Status, namespace: &str, fleet: Option<&str>) -> Self {
        let named = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
        match (status.code, fleet) {
            (404, Some(fleet)) if named => Self::not_found(fleet, namespace),
            (404, _) => Self::with_cure(
                format!("the API server knows no {RESOURCE}: Rayfleet is not installed"),
                "install it: docs/operations.md#install in its repository",
            ),
            (401, _) => Self::with_cure(
                "the API server does not know you (401 Unauthorized)",
                "log in again, or choose another user with --context or --kubeconfig",
            ),
            (403, _) => Self::with_cure(
                status.message.clone(),
                format!("see what you may do: kubectl auth can-i --list -n {namespace}"),
            ),
            _ if status.message.is_empty() => Self::new(format!("the API server answered {}", status.code)),
            _ => Self::new(status.message.clone()),
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { message, cure: None } => write!(f, "error: {message}"),
            Self::Failed { message, cure: Some(cure) } => write!(f, "error: {message}\ncure:  {cure}"),
            Self::Closed => f.write_str("error: the output was closed"),
        }
    }
}

/// The innermost error: the outer ones repeat it or only name their layer.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(status: Status, fleet: Option<&str>) -> String {
        CliError::api(&Error::Api(status.boxed()), "https://api:6443", "serving", fleet).to_string()
    }

    #[test]
    fn a_missing_fleet_is_reported_with_its_namespace() {
        let status: Status = serde_json::from_value(serde_json::json!({
            "code": 404, "reason": "NotFound", "message": "not found",
            "details": {"name": "llama", "group": "orchestration.aibrix.ai", "kind": "rayclusterfleets"}
        }))
        .unwrap();
        insta::assert_snapshot!(api(status, Some("llama")), @r#"
        error: rayclusterfleets.orchestration.aibrix.ai "llama" not found in namespace "serving"
        cure:  list all fleets: kubectl rayfleet status -A
        "#);
    }

    #[test]
    fn a_missing_crd_is_distinguished_from_a_missing_fleet() {
        let status = Status::failure("404 page not found", "Failed to parse error data").with_code(404);
        insta::assert_snapshot!(api(status, Some("llama")), @"
        error: the API server knows no rayclusterfleets.orchestration.aibrix.ai: Rayfleet is not installed
        cure:  install it: docs/operations.md#install in its repository
        ");
    }

    #[test]
    fn a_refusal_has_the_message_of_the_server() {
        let status = Status::failure("spec.replicas: must be at most 9999", "Invalid").with_code(422);
        assert_eq!(api(status, None), "error: spec.replicas: must be at most 9999");
    }

    #[test]
    fn an_unreachable_server_has_the_innermost_cause() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "Connection refused");
        let error = Error::Service(Box::new(refused));
        insta::assert_snapshot!(CliError::api(&error, "https://api:6443", "serving", None), @"
        error: cannot reach the API server https://api:6443: Connection refused
        cure:  check the context (kubectl config current-context) or choose another with --context or --kubeconfig
        ");
    }
}
