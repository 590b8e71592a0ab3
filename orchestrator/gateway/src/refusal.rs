//! Answers of the gateway itself, in the form of `OpenAI`'s and Anthropic's APIs: what is wrong, whose fault it is, and what to do.

use http::{HeaderName, HeaderValue, StatusCode, header};
use rayfleet_routing::UnknownStrategy;
use serde_json::json;

/// Models that are named to somebody who asks for another.
const NAMED: usize = 20;
/// Longest name that is repeated to its sender.
const LONGEST: usize = 120;

/// Why a request gets no answer of an engine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no such path; requests go to {paths} by POST, GET /v1/models lists the models", paths = crate::question::PATHS.join(", "))]
    Path,
    #[error("only POST is answered here")]
    Method,
    #[error("header routing-strategy: {0}")]
    Strategy(#[from] UnknownStrategy),
    #[error("the body is not a JSON object")]
    Json,
    #[error("the body names no model: set \"model\" to one of GET /v1/models")]
    NoModel,
    #[error("the body is larger than {0} bytes, the most that this gateway takes (--max-body)")]
    TooLarge(usize),
    #[error("the body did not arrive within {0} s")]
    Slow(u64),
    #[error("the body broke off")]
    BrokeOff,
    #[error("the gateway holds as many bodies of requests as it may (--max-bodies); try again")]
    Full,
    #[error("the model '{model}' is not served here; there {}", named(.served), model = cut(.model))]
    Model { model: String, served: Vec<String> },
    #[error("no group of '{0}' is ready; kubectl rayfleet diagnose says why")]
    NoGroup(String),
    #[error("no ready group of '{0}' is among the endpoints that the proxy allows ({subset})", subset = crate::picker::SUBSET)]
    NoneAllowed(String),
    #[error("the gateway has just started and does not know all models yet; try again")]
    NotYet,
    #[error("no group could be reached; try again")]
    Unreachable,
    #[error(
        "the group that had the request ended without an answer; it may have begun it, so it was not sent again"
    )]
    Lost,
    #[error("the gateway has no descriptors, ports or memory for another connection; try again")]
    Exhausted,
    #[error("the answer did not begin in time (--answer-timeout)")]
    Late,
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Path | Self::Model { .. } => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Strategy(_) | Self::Json | Self::NoModel | Self::BrokeOff => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Full | Self::NoGroup(_) | Self::NoneAllowed(_) | Self::NotYet | Self::Exhausted => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Unreachable | Self::Lost => StatusCode::BAD_GATEWAY,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Path => "not_found",
            Self::Method => "method_not_allowed",
            Self::Strategy(_) => "unknown_routing_strategy",
            Self::Json => "invalid_json",
            Self::NoModel => "missing_model",
            Self::TooLarge(_) => "request_too_large",
            Self::Slow(_) => "request_timeout",
            Self::BrokeOff => "request_incomplete",
            Self::Full | Self::Exhausted => "gateway_full",
            Self::Model { .. } => "model_not_found",
            Self::NoGroup(_) | Self::NoneAllowed(_) => "no_group_ready",
            Self::NotYet => "gateway_starting",
            Self::Unreachable => "group_unreachable",
            Self::Lost => "answer_lost",
            Self::Late => "answer_timeout",
        }
    }

    /// Seconds after which it is worth trying again.
    fn retry_after(&self) -> Option<u8> {
        match self {
            Self::Full | Self::NotYet | Self::Unreachable | Self::Exhausted => Some(1),
            Self::NoGroup(_) | Self::NoneAllowed(_) => Some(5),
            _ => None,
        }
    }

    /// The answer's headers. Whether its connection ends with it is for whoever holds the connection to say.
    pub(crate) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        if let Some(seconds) = self.retry_after() {
            headers.push((header::RETRY_AFTER, HeaderValue::from(u16::from(seconds))));
        }
        if matches!(self, Self::Lost) {
            // OpenAI's clients retry a 502 unless the answer has this header.
            let name = HeaderName::from_static("x-should-retry");
            headers.push((name, HeaderValue::from_static("false")));
        }
        headers
    }

    /// The answer's body.
    pub(crate) fn body(&self) -> String {
        let kind = if self.status().is_server_error() { "server_error" } else { "invalid_request_error" };
        let error = json!({"message": self.to_string(), "type": kind, "param": null, "code": self.code()});
        json!({"type": "error", "error": error}).to_string()
    }

    /// Whether the rest of the request's body is not waited for.
    pub(crate) fn leaves_body(&self) -> bool {
        matches!(self, Self::TooLarge(_) | Self::Slow(_) | Self::BrokeOff | Self::Full)
    }
}

fn cut(name: &str) -> String {
    rayfleet_text::cut(name, LONGEST)
}

fn named(models: &[String]) -> String {
    let named = models.iter().take(NAMED).map(|name| cut(name)).collect::<Vec<_>>().join(", ");
    match models.len() {
        0 => "are none".to_owned(),
        1 => format!("is {named}"),
        all if all > NAMED => format!("are {named} and {} more", all - NAMED),
        _ => format!("are {named}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(model: &str, served: usize) -> String {
        let served = (0..served).map(|number| format!("m{number}")).collect();
        Refusal::Model { model: model.to_owned(), served }.to_string()
    }

    #[test]
    fn whoever_asks_for_another_model_is_told_which_there_are() {
        assert_eq!(unknown("gpt", 0), "the model 'gpt' is not served here; there are none");
        assert_eq!(unknown("gpt", 1), "the model 'gpt' is not served here; there is m0");
        assert_eq!(unknown("gpt", 2), "the model 'gpt' is not served here; there are m0, m1");
        assert!(unknown(&"x".repeat(1 << 20), 1000).len() < 500);
    }

    #[test]
    fn a_refusal_has_the_form_that_clients_of_both_apis_read() {
        let refusal = Refusal::NoGroup("llama".to_owned());
        assert_eq!(refusal.status(), 503);
        assert!(refusal.headers().contains(&(header::RETRY_AFTER, HeaderValue::from_static("5"))));
        let body: serde_json::Value = serde_json::from_str(&refusal.body()).unwrap();
        assert_eq!(body["type"], "error");
        assert_eq!(body["error"]["code"], "no_group_ready");
        assert_eq!(
            body["error"]["message"],
            "no group of 'llama' is ready; kubectl rayfleet diagnose says why"
        );
    }
}
