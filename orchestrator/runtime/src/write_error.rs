//! Why a write did not happen, and whom that speaks about: the object, or only the moment. Pure.

use std::time::Duration;

/// A write that did not happen, or of which it is not known whether it did.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another replica leads, or may soon.
    #[error("{0}: this replica does not lead")]
    NotLeader(&'static str),
    /// No answer in time.
    #[error("{0}: the API server did not answer within {1:?}")]
    TimedOut(&'static str, Duration),
    /// The API server has taken less than it was sent, without this field: its CRD is not ours.
    #[error("{0}: the API server has dropped {1} from what it was sent")]
    Dropped(&'static str, &'static str),
    /// What came is not what was asked for. It is not quoted.
    #[error("{0}: the answer is not what the API server sends")]
    Unreadable(&'static str),
    /// The API server said no.
    #[error("{0}: {1}")]
    Api(&'static str, #[source] Box<kube::Error>),
}

impl WriteError {
    /// The API server's answer, if it gave one.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Api(_, error) => match &**error {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    /// Another replica may lead: nothing more may be tried.
    pub fn is_not_leader(&self) -> bool {
        matches!(self, Self::NotLeader(_))
    }

    /// The object is of a newer version than was looked at: look again.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409 && !status.is_already_exists())
    }

    /// The object is not there. A kind that the API server does not know is answered with 404, too, in plain text or with words that
    /// name no object: that says nothing about one.
    pub fn is_gone(&self) -> bool {
        let of_a_kind =
            |message: &str| message.starts_with("the server could not find the requested resource");
        self.status().is_some_and(|status| {
            status.code == 404 && status.reason == "NotFound" && !of_a_kind(&status.message)
        })
    }

    /// The API server's reason why the object itself cannot be, whatever else is there: trying again does not help.
    ///
    /// 422 of the schema, 400 of what cannot be read, 413. What an admission policy or a webhook denies comes with any code, and is
    /// about who asks, when and where as much as about the object.
    pub fn about_the_object(&self) -> Option<&str> {
        let status = self.status()?;
        let policy =
            ["denied request", "denied the request"].iter().any(|words| status.message.contains(words));
        (matches!(status.code, 400 | 413 | 422) && !policy).then_some(&*status.message)
    }

    /// Too little is left of a ResourceQuota.
    pub fn is_quota(&self) -> bool {
        self.status().is_some_and(|status| status.code == 403 && status.message.contains("exceeded quota"))
    }

    /// One word for programs.
    pub fn reason(&self) -> &'static str {
        match self.status().map(|status| status.code) {
            Some(403) if self.is_quota() => "QuotaExceeded",
            Some(403) => "Forbidden",
            Some(400 | 413 | 422) => "Invalid",
            _ => "WriteFailed",
        }
    }

    /// What was said, and what helps.
    pub fn words(&self) -> String {
        let said = self.status().map_or_else(|| self.to_string(), |status| status.message.clone());
        let cure = match self.reason() {
            "QuotaExceeded" => "raise the quota or free some of it",
            "Forbidden" => "allow it in RBAC or in the policy that refuses it",
            "Invalid" => "correct what is named",
            _ if self.status().is_some_and(|status| status.code == 404) => {
                "its kind, or its namespace, is not there: is the CustomResourceDefinition installed?"
            }
            _ => "nothing but waiting helps if the API server is busy",
        };
        format!("{said}: {cure}; it is tried again at least once a minute")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, reason: &str, message: &str) -> WriteError {
        let status = kube::core::Status::failure(message, reason).with_code(code);
        WriteError::Api("create RayCluster", Box::new(kube::Error::Api(Box::new(status))))
    }

    #[test]
    fn only_what_names_the_object_speaks_about_it() {
        let quota =
            "rayclusters.ray.io \"f\" is forbidden: exceeded quota: q, requested: count/rayclusters.ray.io=1";
        let policy = "rayclusters.ray.io \"f\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied \
                      request: label team is missing";
        let webhook = "admission webhook \"v.example\" denied the request: no";
        let schema = "RayCluster.ray.io \"f\" is invalid: spec.headGroupSpec.template: Required value";
        for (code, reason, message, about_the_object, is_quota) in [
            (422, "Invalid", schema, true, false),
            (400, "BadRequest", "json: cannot unmarshal string into Go struct field", true, false),
            (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", true, false),
            (422, "Invalid", policy, false, false),
            (403, "Forbidden", policy, false, false),
            (400, "BadRequest", webhook, false, false),
            (403, "Forbidden", quota, false, true),
            (
                403,
                "Forbidden",
                "rayclusters.ray.io is forbidden: User \"x\" cannot create resource",
                false,
                false,
            ),
            (429, "TooManyRequests", "too many requests", false, false),
            (500, "InternalError", "failed calling webhook: connection refused", false, false),
            (404, "", "404 page not found", false, false),
        ] {
            let error = answer(code, reason, message);
            assert_eq!(error.about_the_object().is_some(), about_the_object, "{message}");
            assert_eq!(error.is_quota(), is_quota, "{message}");
            assert!(error.words().contains(message) && error.words().contains("; it is tried again"));
        }
        let late = WriteError::TimedOut("create RayCluster", Duration::from_secs(10));
        assert_eq!((late.about_the_object(), late.reason()), (None, "WriteFailed"));
        assert!(late.words().starts_with("create RayCluster: the API server did not answer within 10s"));
    }

    #[test]
    fn a_kind_that_is_not_known_says_nothing_about_an_object() {
        assert!(answer(404, "NotFound", "rayclusters.ray.io \"f\" not found").is_gone());
        assert!(!answer(404, "NotFound", "the server could not find the requested resource").is_gone());
        assert!(!answer(404, "", "404 page not found").is_gone());
        assert!(!answer(404, "Failed to parse error data", "404 page not found").is_gone());
        assert!(!answer(409, "Conflict", "changed").is_gone());
    }
}
