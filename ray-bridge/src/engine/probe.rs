//! The probe: requests that show that an engine answers, and what counts as an answer. Which paths an engine
//! serves depends on its model, so they are tried in turn. No I/O here; `client` sends the requests.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess};
use serde_json::{Value, json};

use crate::http::{CallError, CallErrorKind};
use crate::lean::{self, Pick, Picked};

/// A prompt that an engine must answer before it may take traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The model's name in requests.
    pub model: String,
    /// The prompt.
    pub prompt: String,
    /// The most tokens to generate.
    pub max_tokens: u32,
    /// A text that the answer must contain. Without one any answer passes, even an empty text: a model may
    /// begin with its end-of-sequence token.
    pub expect: Option<String>,
    /// Time limit of the answer.
    pub timeout: Duration,
}

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer lacks the expected text.
    #[error("the probe's answer {got:?} does not contain {expected:?}")]
    Unexpected {
        /// The expected text.
        expected: String,
        /// The beginning of the answer.
        got: String,
    },
    /// A text is expected of a model that generates none.
    #[error(
        "probe.expect is {expected:?}, but the model answers {path} alone, which gives no text: leave probe.expect out"
    )]
    NoText {
        /// The path that answered.
        path: &'static str,
        /// The expected text.
        expected: String,
    },
    /// The status is 200 and the answer is empty.
    #[error("POST {path} answers 200 with an empty answer: {got}")]
    Empty {
        /// The path that answered.
        path: &'static str,
        /// What the answer lacks.
        got: &'static str,
    },
    /// No path answers.
    #[error("the engine answers none of the probe's requests: {0}")]
    NoWay(Tried),
    /// The engine wants a key, and the launcher's middleware, which has it, does not send the probe.
    #[error(
        "POST {path} wants an API key (401), and the launcher's middleware, which could add VLLM_API_KEY of the head's container, \
         says: {why}; a custom engine must put the middleware in front of its server, and check the key of VLLM_API_KEY"
    )]
    Locked {
        /// The path.
        path: &'static str,
        /// The middleware's message.
        why: Box<CallError>,
    },
}

/// The paths that were tried, and how each failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried(pub Vec<(&'static str, CallErrorKind)>);

impl fmt::Display for Tried {
    /// Joins the paths that do not exist; of another failed path it adds the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut missing = Vec::new();
        for (path, kind) in &self.0 {
            match kind {
                CallErrorKind::NotFound { message } if message.is_empty() || message == "Not Found" => {
                    missing.push(*path);
                }
                kind => write!(f, "{path}: {kind}; ")?,
            }
        }
        match missing.as_slice() {
            [] => f.write_str("no other path is known"),
            missing => write!(f, "404 not found: {}", missing.join(", ")),
        }
    }
}

/// Paths in the order in which they are tried: models that generate, that embed, that classify. Speech models
/// serve none of them.
pub(super) const PATHS: [&str; 7] = [
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/classify",
    "/score",
    "/rerank",
    "/pooling",
];

impl Probe {
    /// The request body for a path.
    pub(super) fn body(&self, path: &str) -> Value {
        let (model, prompt) = (&self.model, &self.prompt);
        match path {
            "/v1/completions" => {
                json!({"model": model, "prompt": prompt, "max_tokens": self.max_tokens, "temperature": 0})
            }
            "/v1/chat/completions" => {
                let messages = [json!({"role": "user", "content": prompt})];
                json!({"model": model, "messages": messages, "max_tokens": self.max_tokens, "temperature": 0})
            }
            "/score" => json!({"model": model, "text_1": prompt, "text_2": prompt}),
            "/rerank" => json!({"model": model, "query": prompt, "documents": [prompt]}),
            _ => json!({"model": model, "input": prompt}),
        }
    }

    /// All bodies, by path: the launcher's middleware sends nothing else.
    pub(super) fn bodies(&self) -> Value {
        PATHS
            .iter()
            .map(|path| ((*path).to_owned(), self.body(path)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Checks an answer; returns its text, empty if the answer has none.
    pub(super) fn judge(&self, path: &'static str, answer: Answer) -> Result<String, ProbeError> {
        let text = match answer.choices.into_iter().next() {
            Some(choice) => choice.text.0.0 + &choice.message.content,
            None if path.ends_with("/completions") => {
                return Err(ProbeError::Empty { path, got: "its `choices` are empty or missing" });
            }
            None if !answer.data.0.0 && !answer.results.0.0 => {
                return Err(ProbeError::Empty { path, got: "its `data` and `results` are empty or missing" });
            }
            None => match &self.expect {
                Some(expected) => return Err(ProbeError::NoText { path, expected: expected.clone() }),
                None => return Ok(String::new()),
            },
        };
        match self.expect.as_ref().filter(|expected| !text.contains(expected.as_str())) {
            Some(expected) => Err(ProbeError::Unexpected {
                expected: expected.clone(),
                got: text.chars().take(200).collect(),
            }),
            None => Ok(text),
        }
    }
}

/// Whether a refusal means that the model is served at another path.
pub(super) fn is_elsewhere(kind: &CallErrorKind) -> bool {
    matches!(
        kind,
        CallErrorKind::NotFound { .. } | CallErrorKind::Rejected { status: 400 | 405 | 415 | 422 | 501, .. }
    )
}

/// The parts of an answer that are checked.
#[derive(Deserialize)]
pub(super) struct Answer {
    #[serde(default, deserialize_with = "lean::first::<_, _, 1>")]
    choices: Vec<Choice>,
    #[serde(default)]
    data: Picked<Filled>,
    #[serde(default)]
    results: Picked<Filled>,
}

/// Longest text that is searched for the expected one, in bytes.
const LONGEST: usize = 64 << 10;

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    text: Picked<lean::Text<LONGEST>>,
    #[serde(default, deserialize_with = "lean::or_default")]
    message: Message,
}

#[derive(Default, Deserialize)]
struct Message {
    #[serde(default, deserialize_with = "lean::text::<_, LONGEST>")]
    content: String,
}

/// Whether a list has an entry.
#[derive(Default)]
struct Filled(bool);

impl Pick for Filled {
    fn list<'de, A: SeqAccess<'de>>(&mut self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {
            self.0 = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(expect: Option<&str>) -> Probe {
        Probe {
            model: "m".to_owned(),
            prompt: "The capital of France is".to_owned(),
            max_tokens: 4,
            expect: expect.map(str::to_owned),
            timeout: Duration::from_secs(1),
        }
    }

    fn judged(expect: Option<&str>, path: &'static str, answer: &Value) -> Result<String, ProbeError> {
        probe(expect).judge(path, serde_json::from_value(answer.clone()).unwrap())
    }

    #[test]
    fn an_empty_text_is_an_answer_unless_a_text_is_expected() {
        let empty = json!({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]});
        assert_eq!(judged(None, "/v1/completions", &empty).as_deref(), Ok(""));
        assert!(matches!(
            judged(Some("Paris"), "/v1/completions", &empty),
            Err(ProbeError::Unexpected { .. })
        ));
        let thought = json!({"choices": [{"message": {"role": "assistant", "content": null}}]});
        assert_eq!(judged(None, "/v1/chat/completions", &thought).as_deref(), Ok(""));
    }

    #[test]
    fn an_answer_without_choices_is_refused() {
        for answer in [json!({"choices": []}), json!({}), json!({"data": [1]})] {
            assert!(
                matches!(judged(None, "/v1/completions", &answer), Err(ProbeError::Empty { .. })),
                "{answer}"
            );
        }
    }

    #[test]
    fn vectors_labels_and_scores_are_accepted_without_a_text() {
        for (path, answer) in [
            ("/v1/embeddings", json!({"data": [{"embedding": [0.5, -1.0]}]})),
            ("/classify", json!({"data": [{"label": "A", "probs": [1.0]}]})),
            ("/score", json!({"data": [{"score": 0.5}]})),
            ("/rerank", json!({"results": [{"relevance_score": 0.5}]})),
            ("/pooling", json!({"data": [{"data": [[0.5]]}]})),
        ] {
            assert_eq!(judged(None, path, &answer).as_deref(), Ok(""), "{path}");
            let error = judged(Some("Paris"), path, &answer).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains("leave probe.expect out"), "{error}");
        }
        assert!(matches!(judged(None, "/pooling", &json!({"data": []})), Err(ProbeError::Empty { .. })));
    }

    #[test]
    fn every_path_has_a_body_that_names_the_model() {
        let bodies = probe(None).bodies();
        for path in PATHS {
            assert_eq!(bodies[path]["model"], "m", "{path}");
            assert!(bodies[path].to_string().contains("France"), "{path}");
        }
    }

    #[test]
    fn tried_paths_are_reported_once() {
        let gone = || CallErrorKind::NotFound { message: "Not Found".to_owned() };
        let tried = Tried(vec![
            ("/v1/completions", gone()),
            ("/score", CallErrorKind::Rejected { status: 400, message: "no score".to_owned() }),
            ("/pooling", gone()),
        ]);
        assert_eq!(tried.to_string(), "/score: 400: no score; 404 not found: /v1/completions, /pooling");
    }
}
