//! Refusals in the words of a real API server.

use serde_json::{Value, json};

use super::Kind;

/// Why the server refused a request.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{code} {reason}: {message}")]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// Reason, as one word; empty where a real server has none.
    pub reason: String,
    /// Message for people.
    pub message: String,
    /// `details` of the Status; null if there are none.
    pub details: Value,
    /// `metadata.continue` of the Status, for a list that can be continued with another token.
    pub resume: Option<String>,
}

/// One invalid field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldError {
    pub(super) field: String,
    /// `FieldValueInvalid` and the like.
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl FieldError {
    pub(super) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        Self { field: field.into(), reason: "FieldValueInvalid", message }
    }

    pub(super) fn required(field: impl Into<String>, why: &str) -> Self {
        let message =
            if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Self { field: field.into(), reason: "FieldValueRequired", message }
    }

    pub(super) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueForbidden", message: format!("Forbidden: {why}") }
    }

    pub(super) fn immutable(field: impl Into<String>, value: &Value) -> Self {
        Self::invalid(field, value, "field is immutable")
    }
}

impl Refusal {
    fn of(code: u16, reason: &str, message: String, details: Value) -> Self {
        Self { code, reason: reason.to_owned(), message, details, resume: None }
    }

    fn details(kind: &Kind, name: &str) -> Value {
        let mut details = json!({"kind": kind.plural});
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        if !kind.group.is_empty() {
            details["group"] = json!(kind.group);
        }
        details
    }

    pub(super) fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.resource());
        Self::of(404, "NotFound", message, Self::details(kind, name))
    }

    pub(super) fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.resource());
        Self::of(409, "AlreadyExists", message, Self::details(kind, name))
    }

    pub(super) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.resource());
        Self::of(409, "Conflict", message, Self::details(kind, name))
    }

    /// A failed precondition of a delete. A real server puts the kind where the resource belongs.
    pub(super) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified());
        let mut details = Self::details(kind, name);
        details["kind"] = json!(kind.kind);
        Self::of(409, "Conflict", message, details)
    }

    pub(super) fn stale(kind: &Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    pub(super) fn invalid(kind: &Kind, name: &str, faults: &[FieldError]) -> Self {
        let words: Vec<String> =
            faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
        let words = match words.as_slice() {
            [only] => only.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let causes: Vec<Value> = faults
            .iter()
            .map(|fault| json!({"reason": fault.reason, "message": fault.message, "field": fault.field}))
            .collect();
        let mut details = Self::details(kind, name);
        details["kind"] = json!(kind.kind);
        details["causes"] = json!(causes);
        Self::of(422, "Invalid", format!("{} \"{name}\" is invalid: {words}", kind.qualified()), details)
    }

    /// An update without a resource version. A real server puts the resource where the kind belongs.
    pub(super) fn no_version(kind: &Kind, name: &str) -> Self {
        let fault =
            FieldError::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        let mut refusal = Self::invalid(kind, name, &[fault]);
        refusal.details["kind"] = json!(kind.plural);
        refusal.message = refusal.message.replacen(&kind.qualified(), &kind.resource(), 1);
        refusal
    }

    /// Invalid options of a request, such as `PatchOptions`.
    pub(super) fn invalid_options(options: &str, fault: &FieldError) -> Self {
        let cause = json!({"reason": fault.reason, "message": fault.message, "field": fault.field});
        let message = format!("{options}.meta.k8s.io \"\" is invalid: {}: {}", fault.field, fault.message);
        Self::of(422, "Invalid", message, json!({"group": "meta.k8s.io", "kind": options, "causes": [cause]}))
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::of(400, "BadRequest", message.into(), Value::Null)
    }

    pub(super) fn forbidden(kind: &Kind, name: &str, why: &str, cause: Option<Value>) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", kind.resource());
        let mut details = Self::details(kind, name);
        if let Some(cause) = cause {
            details["causes"] = json!([cause]);
        }
        Self::of(403, "Forbidden", message, details)
    }

    pub(super) fn expired(message: impl Into<String>) -> Self {
        Self::of(410, "Expired", message.into(), Value::Null)
    }

    pub(super) fn too_large_version(asked: u64, current: u64) -> Self {
        let details = json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        });
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        Self::of(504, "Timeout", message, details)
    }

    pub(super) fn no_such_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::of(404, "NotFound", message.to_owned(), json!({}))
    }

    pub(super) fn no_such_method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::of(405, "MethodNotAllowed", message.to_owned(), json!({}))
    }

    pub(super) fn unknown_format(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::of(415, "UnsupportedMediaType", message, json!({}))
    }

    /// A failure for which a real server has no reason.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::of(500, "", message.into(), Value::Null)
    }

    /// A JSON patch that cannot be applied. A real server does not say why.
    pub(super) fn unprocessable() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::of(422, "Invalid", message.to_owned(), json!({}))
    }

    /// An injected error that the request did not cause.
    pub(super) fn intercepted(kind: &Kind, name: &str, code: u16, reason: &str) -> Self {
        match code {
            409 if reason != "AlreadyExists" => Self::stale(kind, name),
            409 => Self::already_exists(kind, name),
            404 => Self::not_found(kind, name),
            429 => Self::of(
                429,
                reason,
                "too many requests, please try again later".to_owned(),
                json!({"retryAfterSeconds": 1}),
            ),
            _ => {
                let message =
                    format!("an error on the server (\"simulated\") has prevented the request: {reason}");
                Self::of(code, reason, message, Self::details(kind, name))
            }
        }
    }

    /// A refusal by admission: a quota, a policy or a webhook.
    pub(super) fn denied(kind: &Kind, name: &str, code: u16, reason: &str, words: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {words}", kind.plural);
        Self::of(code, reason, message, Self::details(kind, name))
    }

    /// The `Status` object for this refusal.
    pub fn status(&self) -> Value {
        let mut metadata = json!({});
        if let Some(token) = &self.resume {
            metadata["continue"] = json!(token);
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_object_is_reported_in_the_words_of_a_real_server() {
        let status = Refusal::not_found(&Kind::RAY_CLUSTER, "a").status();
        let wanted = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "rayclusters.ray.io \"a\" not found", "reason": "NotFound",
            "details": {"name": "a", "group": "ray.io", "kind": "rayclusters"}, "code": 404,
        });
        assert_eq!(status, wanted);
    }

    #[test]
    fn all_invalid_fields_are_listed() {
        let faults = [FieldError::required("spec.a", ""), FieldError::forbidden("spec.b", "no")];
        let refusal = Refusal::invalid(&Kind::POD, "p", &faults);
        assert_eq!(refusal.message, "Pod \"p\" is invalid: [spec.a: Required value, spec.b: Forbidden: no]");
        assert_eq!(refusal.details["causes"][1]["field"], "spec.b");
    }
}
