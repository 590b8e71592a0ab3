//! The engine's HTTP port: is it well, how busy is it, does it answer a prompt, will it take more requests. The Ray token goes to
//! the paths of the launcher's middleware, and to no other.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use url::Url;

use super::kind::Engine;
use super::metrics;
use super::probe::{self, Answer, PATHS, Probe, ProbeError, Tried};
use super::spec::EngineKind;
use crate::http::{CallError, CallErrorKind, Endpoint, Keep, Limits, Payload, Share, Token, Wire, longest};
use crate::lean;

const STATE: &str = "/rayfleet/v1/state";
const DRAIN: &str = "/rayfleet/v1/drain";
/// Behind it the path to which the middleware sends the probe that it was launched with.
const PROBE: &str = "/rayfleet/v1/probe";

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
    /// if nobody waits for it: then they are not asked for. See [`StallDetector`](super::StallDetector).
    pub progress: Option<u64>,
    /// Requests that the engine has put aside until something else than a step of it has happened (a grammar is compiled, a slot of an adapter is
    /// free), if all that it has are such; else 0, also where it does not say so. Looked at as `progress` is.
    #[serde(default)]
    pub deferred: u64,
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
struct Models {
    #[serde(deserialize_with = "lean::list::<_, _, 1000>")]
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(deserialize_with = "lean::text::<_, 512>")]
    id: String,
}

impl EngineClient {
    pub(crate) fn over(
        wire: Arc<dyn Wire>,
        cluster: String,
        base: Url,
        token: Option<Token>,
        limits: Limits,
        memory: Arc<Share>,
    ) -> Self {
        let endpoint = Endpoint { wire, base, cluster, server: "engine", token, limits, memory };
        Self { endpoint, engine: EngineKind::Vllm.engine() }
    }

    /// Never an error: what is wrong with it is a state.
    pub async fn health(&self) -> Health {
        let engine = self.endpoint.anonymous();
        match engine.get_bytes(self.engine.health(), Keep::Nothing(longest::WORD)).await {
            Ok(_) => Health::Serving,
            Err(error) => match error.fault {
                CallErrorKind::Unreachable { refused: true, .. } => Health::NotYet,
                CallErrorKind::Rejected { status, .. } => Health::Unhealthy(status),
                CallErrorKind::NotFound { .. } => Health::Unhealthy(404),
                CallErrorKind::Unauthorized => Health::Unhealthy(401),
                CallErrorKind::Forbidden => Health::Unhealthy(403),
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
        let engine = self.endpoint.anonymous();
        match engine.get_bytes(self.engine.models(), Keep::Nothing(longest::ANSWER)).await {
            Ok(_) | Err(CallError { fault: CallErrorKind::Unauthorized | CallErrorKind::Forbidden, .. }) => {
                Health::Serving
            }
            Err(_) => health,
        }
    }

    /// Names of the models served.
    pub async fn models(&self) -> Result<Vec<String>, CallError> {
        let models: Models = self.endpoint.anonymous().get(self.engine.models(), longest::ANSWER).await?;
        Ok(models.data.into_iter().map(|m| m.id).collect())
    }

    /// How busy it is; from the middleware, else from vLLM's metrics. While somebody waits for the engine, also its
    /// progress: an engine at rest costs one call. One that drains and has no request left is asked for work that no open request
    /// speaks of, such as a response in the background.
    pub async fn load(&self) -> Result<Load, CallError> {
        match self.endpoint.get::<State>(STATE, longest::WORD).await {
            Ok(state) => {
                let mut load = Load::from(state);
                if load.awaiting > 0 {
                    // Counters are a help; how busy it is is known without them.
                    if let Ok(text) = self.metrics().await {
                        load.progress = metrics::progress(self.engine, &text);
                        load.deferred = metrics::deferred(self.engine, &text);
                    }
                } else if load.draining == Some(true) && load.in_flight == 0 {
                    self.add_background(&mut load).await?;
                }
                Ok(load)
            }
            Err(CallError { fault: CallErrorKind::NotFound { .. }, .. }) => self.load_from_metrics().await,
            Err(e) => Err(e),
        }
    }

    /// Counts what the engine itself says that it has, where it says so. No answer at all is no proof that it has nothing.
    async fn add_background(&self, load: &mut Load) -> Result<(), CallError> {
        let text = match self.metrics().await {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.fault,
                    CallErrorKind::Unreachable { .. } | CallErrorKind::TimedOut { .. }
                ) =>
            {
                return Err(error);
            }
            // It shows no metrics, or none that can be read.
            Err(_) => return Ok(()),
        };
        if let Some(left) = metrics::in_flight(self.engine, &text).filter(|left| *left > 0) {
            (load.in_flight, load.awaiting) = (left, left);
            load.progress = metrics::progress(self.engine, &text);
            load.deferred = metrics::deferred(self.engine, &text);
        }
        Ok(())
    }

    async fn load_from_metrics(&self) -> Result<Load, CallError> {
        let text = self.metrics().await?;
        let in_flight = metrics::in_flight(self.engine, &text).ok_or_else(|| {
            let what = "no vllm:num_requests_running or vllm:num_requests_waiting".to_owned();
            self.endpoint.fail(&Method::GET, self.engine.metrics(), CallErrorKind::Malformed { what })
        })?;
        let progress = metrics::progress(self.engine, &text);
        let deferred = metrics::deferred(self.engine, &text);
        Ok(Load {
            in_flight,
            served: None,
            draining: None,
            idle: None,
            awaiting: in_flight,
            progress,
            deferred,
        })
    }

    async fn metrics(&self) -> Result<String, CallError> {
        let longest = longest::LIST.min(self.endpoint.limits.reply_bytes);
        let kept = self.endpoint.anonymous().get_bytes(self.engine.metrics(), Keep::Whole(longest)).await?;
        Ok(String::from_utf8_lossy(&kept.bytes).into_owned())
    }

    /// `true`: from now on every answer asks its client to close the connection; requests are still answered.
    ///
    /// An engine without the middleware answers [`Fault::NotFound`].
    pub async fn set_draining(&self, draining: bool) -> Result<(), CallError> {
        let method = if draining { Method::POST } else { Method::DELETE };
        let limit = self.endpoint.limits.call;
        self.endpoint.send(method, DRAIN, Payload::Nothing, limit, longest::WORD).await.map(|_| ())
    }

    /// Sends the prompt, to the first path that is for this model, and looks at the answer; gives its text, empty where it has none.
    ///
    /// Where the engine wants a key of its own, the launcher's middleware sends the same request with it, within the engine's own
    /// process: the key is neither known here nor needed, and the Ray token never goes to the engine itself.
    pub async fn probe(&self, probe: &Probe) -> Result<String, ProbeError> {
        let mut tried = Vec::new();
        for path in PATHS {
            match self.ask(probe, path).await {
                Ok(answer) => return probe.judge(path, answer),
                Err(ProbeError::Call(CallError { fault, .. })) if probe::is_elsewhere(&fault) => {
                    tried.push((path, fault));
                }
                Err(error) => return Err(error),
            }
        }
        Err(ProbeError::NoWay(Tried(tried)))
    }

    async fn ask(&self, probe: &Probe, path: &'static str) -> Result<Answer, ProbeError> {
        let payload = Payload::Json(probe.body(path).to_string().into_bytes());
        let engine = self.endpoint.anonymous();
        let sent = engine.send(Method::POST, path, payload, probe.timeout, longest::LIST).await;
        let locked = matches!(
            &sent,
            Err(CallError { fault: CallErrorKind::Unauthorized | CallErrorKind::Forbidden, .. })
        );
        if !locked {
            return Ok(engine.parse(&Method::POST, path, &sent?).await?);
        }
        let within = format!("{PROBE}{path}");
        match self.endpoint.send(Method::POST, &within, Payload::Nothing, probe.timeout, longest::LIST).await
        {
            Ok(kept) => Ok(self.endpoint.parse(&Method::POST, &within, &kept).await?),
            // vLLM asks for the key before it looks for the path, so a path that is not there is only reported behind the middleware.
            Err(why) if is_no_probe(&why.fault) => Err(ProbeError::Locked { path, why: Box::new(why) }),
            Err(CallError { call, fault: CallErrorKind::NotFound { .. } }) => {
                let message =
                    "401 without an API key, and not found behind the launcher's middleware".to_owned();
                Err(CallError { call, fault: CallErrorKind::NotFound { message } }.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The middleware's own words, not the engine's behind it: no token, or no such probe. Without a middleware the engine says 401.
fn is_no_probe(fault: &CallErrorKind) -> bool {
    match fault {
        CallErrorKind::Unauthorized | CallErrorKind::Forbidden => true,
        CallErrorKind::NotFound { message } => message.contains("/rayfleet/"),
        _ => false,
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
            deferred: 0,
        }
    }
}
