//! The engine's HTTP port: is it well, how busy is it, does it answer a prompt, will it take more requests.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::kind::Engine;
use super::metrics;
use super::spec::EngineKind;
use crate::http::{CallError, Endpoint, Fault, Keep, Limits, Payload, Token, Wire};

const STATE: &str = "/rayfleet/v1/state";
const DRAIN: &str = "/rayfleet/v1/drain";

/// What `/health` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// 200.
    Serving,
    /// Nothing listens on the port: not started yet, or ended.
    NotYet,
    /// Another status; vLLM answers 503 when its engine has died.
    Unhealthy(u16),
    /// No answer, in words.
    Unreachable(String),
}

/// How busy an engine is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Requests that were taken and have not ended, streams included.
    pub in_flight: u64,
    /// Requests that have ended since the start; `None` without the middleware.
    pub served: Option<u64>,
    /// It was told to drain; `None` without the middleware.
    pub draining: Option<bool>,
    /// Time since a request last began or ended; `None` if there was none yet, or without the middleware.
    pub idle: Option<Duration>,
    /// Requests whose answer the engine owes: read whole, and not held up by a client that reads slowly. Without the
    /// middleware all that are in flight.
    pub awaiting: u64,
    /// Another number after every step of the engine; its size means nothing. `None` if the engine shows no counters, or
    /// if nobody waits for it: then they are not asked for. See [`Stall`](super::Stall).
    pub progress: Option<u64>,
}

/// A prompt that an engine must answer before it may take traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The model as requests call it.
    pub model: String,
    /// The prompt.
    pub prompt: String,
    /// Tokens to ask for.
    pub max_tokens: u32,
    /// A text that the answer must hold.
    pub expect: Option<String>,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// A probe that did not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer is empty or without the expected text.
    #[error("the probe's answer {got:?} does not hold {expected:?}")]
    Unexpected {
        /// The text that was to be there; empty if any would have done.
        expected: String,
        /// The beginning of the answer.
        got: String,
    },
}

/// Client of one engine.
#[derive(Debug, Clone)]
pub struct EngineClient {
    endpoint: Endpoint,
    engine: &'static dyn Engine,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    in_flight: u64,
    #[serde(default)]
    awaiting: Option<u64>,
    #[serde(default)]
    served: Option<u64>,
    #[serde(default)]
    draining: Option<bool>,
    #[serde(default)]
    idle_seconds: Option<f64>,
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

impl EngineClient {
    pub(crate) fn over(
        wire: Arc<dyn Wire>,
        cluster: String,
        base: Url,
        token: Option<Token>,
        limits: Limits,
    ) -> Self {
        let endpoint = Endpoint { wire, base, cluster, server: "engine", token, limits };
        Self { endpoint, engine: EngineKind::Vllm.engine() }
    }

    /// Never an error: what is wrong with it is a state.
    pub async fn health(&self) -> Health {
        match self.endpoint.get_bytes(self.engine.health(), Keep::Tail(0)).await {
            Ok(_) => Health::Serving,
            Err(error) => match error.fault {
                Fault::Unreachable { refused: true, .. } => Health::NotYet,
                Fault::Rejected { status, .. } => Health::Unhealthy(status),
                Fault::NotFound { .. } => Health::Unhealthy(404),
                Fault::Unauthorized => Health::Unhealthy(401),
                Fault::Forbidden => Health::Unhealthy(403),
                other => Health::Unreachable(other.to_string()),
            },
        }
    }

    /// Of a server that need not be vLLM. One without `/health`, or that wants a key for it, is well if it lists its
    /// models or wants a key for them. Never an error, too.
    pub async fn own_health(&self) -> Health {
        let health = self.health().await;
        if !matches!(health, Health::Unhealthy(401 | 403 | 404 | 405)) {
            return health;
        }
        match self.endpoint.get_bytes(self.engine.models(), Keep::Tail(0)).await {
            Ok(_) | Err(CallError { fault: Fault::Unauthorized | Fault::Forbidden, .. }) => Health::Serving,
            Err(_) => health,
        }
    }

    /// Names of the models served.
    pub async fn models(&self) -> Result<Vec<String>, CallError> {
        let models: Models = self.endpoint.get(self.engine.models()).await?;
        Ok(models.data.into_iter().map(|m| m.id).collect())
    }

    /// How busy it is; from the middleware, else from vLLM's metrics. While somebody waits for the engine, also its
    /// progress: an engine at rest costs one call.
    pub async fn load(&self) -> Result<Load, CallError> {
        match self.endpoint.get::<State>(STATE).await {
            Ok(state) => {
                let mut load = Load::from(state);
                if load.awaiting > 0 {
                    // Counters are a help; how busy it is is known without them.
                    load.progress =
                        self.metrics().await.ok().and_then(|text| metrics::progress(self.engine, &text));
                }
                Ok(load)
            }
            Err(CallError { fault: Fault::NotFound { .. }, .. }) => self.load_from_metrics().await,
            Err(e) => Err(e),
        }
    }

    async fn load_from_metrics(&self) -> Result<Load, CallError> {
        let text = self.metrics().await?;
        let in_flight = metrics::in_flight(self.engine, &text).ok_or_else(|| {
            let what = "no vllm:num_requests_running or vllm:num_requests_waiting".to_owned();
            self.endpoint.fail(&Method::GET, self.engine.metrics(), Fault::Malformed { what })
        })?;
        let progress = metrics::progress(self.engine, &text);
        Ok(Load { in_flight, served: None, draining: None, idle: None, awaiting: in_flight, progress })
    }

    async fn metrics(&self) -> Result<String, CallError> {
        let kept = self
            .endpoint
            .get_bytes(self.engine.metrics(), Keep::Whole(self.endpoint.limits.reply_bytes))
            .await?;
        Ok(String::from_utf8_lossy(&kept.bytes).into_owned())
    }

    /// `true`: from now on every answer asks its client to close the connection; requests are still answered.
    ///
    /// An engine without the middleware answers [`Fault::NotFound`].
    pub async fn set_draining(&self, draining: bool) -> Result<(), CallError> {
        let method = if draining { Method::POST } else { Method::DELETE };
        self.endpoint.send(method, DRAIN, Payload::Nothing, self.endpoint.limits.call).await.map(|_| ())
    }

    /// Sends the prompt and looks at the answer; gives its text.
    pub async fn probe(&self, probe: &Probe) -> Result<String, ProbeError> {
        let path = self.engine.completions();
        let body = json!({
            "model": probe.model, "prompt": probe.prompt, "max_tokens": probe.max_tokens, "temperature": 0,
        });
        let payload = Payload::Json(body.to_string().into_bytes());
        let kept = self.endpoint.send(Method::POST, path, payload, probe.timeout).await?;
        let reply: Completion = self.endpoint.parse(&Method::POST, path, &kept.bytes)?;
        let text = reply.choices.into_iter().find_map(|c| c.text).unwrap_or_default();
        let expected = probe.expect.clone().unwrap_or_default();
        if text.is_empty() || !text.contains(&expected) {
            return Err(ProbeError::Unexpected { expected, got: text.chars().take(200).collect() });
        }
        Ok(text)
    }
}

impl From<State> for Load {
    fn from(state: State) -> Self {
        Self {
            in_flight: state.in_flight,
            served: state.served,
            draining: state.draining,
            idle: state.idle_seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()),
            awaiting: state.awaiting.unwrap_or(state.in_flight),
            progress: None,
        }
    }
}
