//! Client of the engine's HTTP port: health, load, probe, draining. The Ray token goes to the paths of the
//! launcher's middleware, and to no other.

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
/// Prefix of the path at which the middleware sends the probe that it was launched with.
const PROBE: &str = "/rayfleet/v1/probe";

/// The result of `/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// 200.
    Serving,
    /// Nothing listens on the port: the engine has not started yet, or has ended.
    NotYet,
    /// Another status; vLLM answers 503 when its engine has died.
    Unhealthy(u16),
    /// No reply; the text says why.
    Unreachable(String),
}

/// The load of an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Requests that were accepted and have not ended, streams included.
    pub in_flight: u64,
    /// Requests that have ended since the start; `None` without the middleware.
    pub served: Option<u64>,
    /// Whether it drains; `None` without the middleware.
    pub draining: Option<bool>,
    /// Time since a request last started or ended; `None` before the first request, or without the
    /// middleware.
    pub idle: Option<Duration>,
    /// Requests that wait for the engine: fully read, and not delayed by a client that reads slowly. Without
    /// the middleware this is `in_flight`.
    pub awaiting: u64,
    /// A fingerprint that changes with every step of the engine; its size has no meaning. `None` if the
    /// engine has no such counters, or if no request waits: then they are not read. See
    /// [`StallDetector`](super::StallDetector).
    pub progress: Option<u64>,
    /// Requests that the engine has deferred until something other than a step has happened (a grammar is
    /// compiled, an adapter slot is free), if it has no other requests; otherwise 0, also if the engine does
    /// not report it. Read together with `progress`.
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

    /// Reads the engine's health. Never an error: an unhealthy engine is a result.
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

    /// Reads the health of a server that need not be vLLM. One without `/health`, or that wants a key for it,
    /// is healthy if it lists its models or wants a key for the list. Never an error.
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

    /// Names of the models it serves.
    pub async fn models(&self) -> Result<Vec<String>, CallError> {
        let models: Models = self.endpoint.anonymous().get(self.engine.models(), longest::ANSWER).await?;
        Ok(models.data.into_iter().map(|m| m.id).collect())
    }

    /// Reads the load from the middleware, else from vLLM's metrics. Progress is read only while requests
    /// wait, so an idle engine costs one call. A draining engine without open requests is also asked for work
    /// without one, such as a response in the background.
    pub async fn load(&self) -> Result<Load, CallError> {
        match self.endpoint.get::<State>(STATE, longest::WORD).await {
            Ok(state) => {
                let mut load = Load::from(state);
                if load.awaiting > 0 {
                    // The counters are optional: the load is known without them.
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

    /// Adds the requests that the engine itself reports, if it does. No reply does not prove that it has
    /// none.
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
            // It has no metrics, or none that can be parsed.
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

    /// With `true`, every later response asks its client to close the connection; requests are still
    /// answered.
    ///
    /// [`CallErrorKind::NotFound`] from an engine without the middleware.
    pub async fn set_draining(&self, draining: bool) -> Result<(), CallError> {
        let method = if draining { Method::POST } else { Method::DELETE };
        let limit = self.endpoint.limits.call;
        self.endpoint.send(method, DRAIN, Payload::Nothing, limit, longest::WORD).await.map(|_| ())
    }

    /// Sends the probe to the first path that suits the model and checks the answer; returns its text, or an
    /// empty one.
    ///
    /// If the engine wants a key of its own, the launcher's middleware sends the same request with it, inside
    /// the engine's process: the key is not known here, and the Ray token never goes to the engine itself.
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
            // vLLM checks the key before the path, so only the middleware reports a path that does not exist.
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

/// The refusal comes from the middleware and not from the engine behind it: no token, or no such probe.
/// Without the middleware the engine answers 401.
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
