//! Client of the engine's HTTP port: health, load, probe, draining. The Ray token goes to the paths of the
//! launcher's middleware, and to no other.

use std::time::Duration;

use rayfleet_telemetry::vllm::{RUNNING, Reading, WAITING};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::probe::{self, Answer, PATHS, Probe, ProbeError, Tried};
use super::vllm::{HEALTH, METRICS, MODELS};
use crate::http::{CallError, CallErrorKind, Endpoint, Keep, Payload, found, longest};
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
    /// Connections on which a client may send its next request, as their last response left them open: none came since, and the
    /// server has not closed them yet. 0 without the middleware.
    #[serde(default)]
    pub kept_connections: u64,
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
pub struct EngineClient(pub(crate) Endpoint);

/// What the middleware says; without it all but the first is unknown.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    in_flight: u64,
    awaiting: Option<u64>,
    served: Option<u64>,
    draining: Option<bool>,
    kept_connections: Option<u64>,
    idle_seconds: Option<f64>,
    pub(super) rank_changes: Option<u64>,
    /// Only in a line of a watch.
    pub(super) health: Option<u16>,
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
    /// Reads the engine's health. Never an error: an unhealthy engine is a result.
    pub async fn health(&self) -> Health {
        let engine = self.0.anonymous();
        match engine.get_bytes(HEALTH, Keep::Nothing(longest::WORD)).await {
            Ok(_) => Health::Serving,
            Err(error) => match error.kind {
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
        let engine = self.0.anonymous();
        match engine.get_bytes(MODELS, Keep::Nothing(longest::ANSWER)).await {
            Ok(_) | Err(CallError { kind: CallErrorKind::Unauthorized | CallErrorKind::Forbidden, .. }) => {
                Health::Serving
            }
            Err(_) => health,
        }
    }

    /// Names of the models it serves.
    pub async fn models(&self) -> Result<Vec<String>, CallError> {
        let models: Models = self.0.anonymous().get(MODELS, longest::ANSWER).await?;
        Ok(models.data.into_iter().map(|m| m.id).collect())
    }

    /// Reads the load from the middleware, else from vLLM's metrics. Progress is read only while requests
    /// wait, so an idle engine costs one call. A draining engine without open requests is also asked for work
    /// without one, such as a response in the background.
    pub async fn load(&self) -> Result<Load, CallError> {
        let Some(state) = found(self.0.get::<State>(STATE, longest::WORD).await)? else {
            let reading = self.metrics().await?;
            let none = || self.0.malformed(METRICS, format!("no {RUNNING} or {WAITING}"));
            let in_flight = reading.in_flight.ok_or_else(none)?;
            return Ok(Load::from(State { in_flight, ..State::default() }).with(reading));
        };
        self.with_progress(Load::from(state)).await
    }

    /// Adds the engine's own counters to what the middleware said, in one call if requests wait, else in none.
    pub async fn with_progress(&self, load: Load) -> Result<Load, CallError> {
        let may_have_background = load.draining == Some(true) && load.in_flight == 0;
        if load.awaiting == 0 && !may_have_background {
            return Ok(load);
        }
        match self.metrics().await {
            Ok(reading) if load.awaiting > 0 => Ok(load.with(reading)),
            Ok(reading) => Ok(match reading.in_flight {
                Some(left) if left > 0 => Load { in_flight: left, awaiting: left, ..load }.with(reading),
                _ => load,
            }),
            // No reply does not prove that a draining engine has no work left.
            Err(error) if load.awaiting == 0 && error.kind.is_silence() => Err(error),
            // The counters are optional: the load is known without them.
            Err(_) => Ok(load),
        }
    }

    async fn metrics(&self) -> Result<Reading, CallError> {
        let longest = longest::LIST.min(self.0.limits.reply_bytes);
        let kept = self.0.anonymous().get_bytes(METRICS, Keep::Whole(longest)).await?;
        Ok(Reading::of(&kept.bytes))
    }

    /// With `true`, every later response asks its client to close the connection; requests are still
    /// answered.
    ///
    /// [`CallErrorKind::NotFound`] from an engine without the middleware.
    pub async fn set_draining(&self, draining: bool) -> Result<(), CallError> {
        let method = if draining { Method::POST } else { Method::DELETE };
        self.0.send_bare(method, DRAIN).await.map(|_| ())
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
                Err(ProbeError::Call(CallError { kind, .. })) if probe::is_elsewhere(&kind) => {
                    tried.push((path, kind));
                }
                Err(error) => return Err(error),
            }
        }
        Err(ProbeError::NoWay(Tried(tried)))
    }

    async fn ask(&self, probe: &Probe, path: &'static str) -> Result<Answer, ProbeError> {
        let payload = Payload::Json(probe.body(path).to_string().into_bytes());
        let engine = self.0.anonymous();
        let sent = engine.send(Method::POST, path, payload, probe.timeout, longest::LIST).await;
        let locked = matches!(
            &sent,
            Err(CallError { kind: CallErrorKind::Unauthorized | CallErrorKind::Forbidden, .. })
        );
        if !locked {
            return Ok(engine.parse(&Method::POST, path, &sent?).await?);
        }
        let within = format!("{PROBE}{path}");
        match self.0.send(Method::POST, &within, Payload::Nothing, probe.timeout, longest::LIST).await {
            Ok(kept) => Ok(self.0.parse(&Method::POST, &within, &kept).await?),
            // vLLM checks the key before the path, so only the middleware reports a path that does not exist.
            Err(why) if is_no_probe(&why.kind) => Err(ProbeError::Locked { path, why: Box::new(why) }),
            Err(CallError { call, kind: CallErrorKind::NotFound { .. } }) => {
                let message =
                    "401 without an API key, and not found behind the launcher's middleware".to_owned();
                Err(CallError { call, kind: CallErrorKind::NotFound { message } }.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The refusal comes from the middleware and not from the engine behind it: no token, or no such probe.
/// Without the middleware the engine answers 401.
fn is_no_probe(kind: &CallErrorKind) -> bool {
    match kind {
        CallErrorKind::Unauthorized | CallErrorKind::Forbidden => true,
        CallErrorKind::NotFound { message } => message.contains("/rayfleet/"),
        _ => false,
    }
}

impl Load {
    /// The same with the engine's own counters.
    fn with(self, Reading { progress, deferred, .. }: Reading) -> Self {
        Self { progress, deferred, ..self }
    }
}

impl From<State> for Load {
    fn from(state: State) -> Self {
        Self {
            in_flight: state.in_flight,
            served: state.served,
            draining: state.draining,
            kept_connections: state.kept_connections.unwrap_or_default(),
            idle: state.idle_seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()),
            awaiting: state.awaiting.unwrap_or(state.in_flight),
            progress: None,
            deferred: 0,
        }
    }
}
