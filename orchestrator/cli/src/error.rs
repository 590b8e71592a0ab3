//! What the replies of the API server mean, as errors with a cure.

use kube::Error;
use kube::core::Status;
use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;

/// Longest part of a refusal, in bytes.
const LONGEST: usize = 512;

/// Plural and group, as kubectl names the resource.
pub(crate) const RESOURCE: &str = "rayclusterfleets.orchestration.aibrix.ai";
/// Singular and group, as kubectl names an object in its results.
pub(crate) const OBJECT: &str = "rayclusterfleet.orchestration.aibrix.ai";

/// A fleet that does not exist.
pub(crate) fn not_found(fleet: &str, namespace: &str) -> CliError {
    CliError::failed(
        format!("{RESOURCE} \"{fleet}\" not found in namespace \"{namespace}\""),
        "list all fleets: kubectl rayfleet status -A",
    )
}

/// A fleet that is not there: deleted if it was `known`, else not found.
pub(crate) fn gone(fleet: &str, namespace: &str, known: bool) -> CliError {
    if known {
        CliError::plain(format!("fleet \"{fleet}\" was deleted"))
    } else {
        not_found(fleet, namespace)
    }
}

/// No reply in time.
pub(crate) fn no_answer(server: &str, seconds: f64) -> CliError {
    CliError::failed(
        format!("no answer from the API server {server} within {seconds}s"),
        "check that it is up (kubectl version), or give it longer with --request-timeout",
    )
}

/// An error reply of the API server, or none. `fleet` is the requested object, if it was one.
pub(crate) fn api(error: &Error, server: &str, namespace: &str, fleet: Option<&str>) -> CliError {
    match error {
        Error::Api(status) => refused(status, namespace, fleet),
        Error::Auth(error) => CliError::failed(
            format!("cannot log in to the API server {server}: {}", root_cause(error)),
            "check the user of the context: kubectl config view --minify",
        ),
        Error::Service(_) | Error::HyperError(_) | Error::ReadEvents(_) if is_late(error) => {
            CliError::failed(
                format!("the API server {server} did not answer in time: {}", root_cause(error)),
                "check that it is up (kubectl version), or give it longer with --request-timeout",
            )
        }
        Error::Service(_) | Error::HyperError(_) | Error::ReadEvents(_) => CliError::failed(
            format!("cannot reach the API server {server}: {}", root_cause(error)),
            "check the context (kubectl config current-context) or choose another with --context or --kubeconfig",
        ),
        other => CliError::plain(format!("API server {server}: {}", root_cause(other))),
    }
}

/// The same for objects of another kind, `what` with its group as roles name it, in a namespace or, without one, the cluster.
pub(crate) fn reading(error: &Error, server: &str, what: &str, namespace: Option<&str>) -> CliError {
    let place = namespace.map_or_else(
        || "in the whole cluster".to_owned(),
        |namespace| format!("in namespace \"{namespace}\""),
    );
    match error {
        Error::Api(status) if status.code == 403 => CliError::failed(
            one_line(&cut(&status.message, LONGEST)),
            format!(
                "you need the right to read {what} {place}; see what you may do: kubectl auth can-i --list{}",
                namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default()
            ),
        ),
        // The API server names what is gone; where it knows no such kind, it has no words.
        Error::Api(status)
            if status.code == 404 && status.reason == "NotFound" && !status.message.is_empty() =>
        {
            CliError::plain(format!("{} {place}", one_line(&cut(&status.message, LONGEST))))
        }
        Error::Api(status) if status.code == 404 => CliError::plain(format!("there is no {what} {place}")),
        other => api(other, server, namespace.unwrap_or_default(), None),
    }
}

fn refused(status: &Status, namespace: &str, fleet: Option<&str>) -> CliError {
    let named = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
    match (status.code, fleet) {
        (404, Some(fleet)) if named => not_found(fleet, namespace),
        (404, _) => CliError::failed(
            format!("the API server knows no {RESOURCE}: Rayfleet is not installed"),
            "install it: docs/operations.md#install in its repository",
        ),
        (401, _) => CliError::failed(
            "the API server does not know you (401 Unauthorized)",
            "log in again, or choose another user with --context or --kubeconfig",
        ),
        // RBAC's words for a list of all namespaces.
        (403, _) if status.message.contains("at the cluster scope") => CliError::failed(
            status.message.clone(),
            "see whether you may read all namespaces: kubectl auth can-i list rcf -A; or read one with -n",
        ),
        (403, _) => CliError::failed(
            status.message.clone(),
            format!("see what you may do: kubectl auth can-i --list -n {namespace}"),
        ),
        _ if status.message.is_empty() => CliError::plain(format!("the API server answered {}", status.code)),
        _ => CliError::plain(status.message.clone()),
    }
}

/// Whether a limit of time was over: the client's own for a connection, or the system's.
fn is_late(error: &(dyn std::error::Error + 'static)) -> bool {
    let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::TimedOut;
    let here = error.downcast_ref().is_some_and(timed_out) || error.to_string() == "deadline has elapsed";
    here || error.source().is_some_and(is_late)
}

/// The innermost error: the outer ones repeat it or only name their layer.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), root_cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(status: Status, fleet: Option<&str>) -> String {
        super::api(&Error::Api(status.boxed()), "https://api:6443", "serving", fleet).to_string()
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
    fn a_slow_server_has_a_limit_of_time_for_a_cure() {
        let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "deadline has elapsed");
        insta::assert_snapshot!(super::api(&Error::Service(Box::new(late)), "https://api:6443", "serving", None), @"
        error: the API server https://api:6443 did not answer in time: deadline has elapsed
        cure:  check that it is up (kubectl version), or give it longer with --request-timeout
        ");
    }

    #[test]
    fn a_refused_list_of_all_namespaces_names_the_right_to_it() {
        let message = "rayclusterfleets.orchestration.aibrix.ai is forbidden: User \"jane\" cannot list resource \
                       \"rayclusterfleets\" in API group \"orchestration.aibrix.ai\" at the cluster scope";
        let text = api(Status::failure(message, "Forbidden").with_code(403), None);
        assert!(text.contains("kubectl auth can-i list rcf -A"), "{text}");
        let message = message.replace("at the cluster scope", "in the namespace \"serving\"");
        let text = api(Status::failure(&message, "Forbidden").with_code(403), None);
        assert!(text.contains("kubectl auth can-i --list -n serving"), "{text}");
    }

    #[test]
    fn what_is_gone_is_named_by_the_api_server() {
        let read = |message: &str, reason: &str| {
            let status = Status::failure(message, reason).with_code(404);
            super::reading(&Error::Api(status.boxed()), "https://api:6443", "pods/proxy", Some("serving"))
                .message
        };
        let gone = read("secrets \"experts-bcdfgh-0\" not found", "NotFound");
        assert_eq!(gone, "secrets \"experts-bcdfgh-0\" not found in namespace \"serving\"");
        let unknown = read("404 page not found", "Failed to parse error data");
        assert_eq!(unknown, "there is no pods/proxy in namespace \"serving\"");
    }

    #[test]
    fn an_unreachable_server_has_the_innermost_cause() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "Connection refused");
        let error = Error::Service(Box::new(refused));
        insta::assert_snapshot!(super::api(&error, "https://api:6443", "serving", None), @"
        error: cannot reach the API server https://api:6443: Connection refused
        cure:  check the context (kubectl config current-context) or choose another with --context or --kubeconfig
        ");
    }
}
