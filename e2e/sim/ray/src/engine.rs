//! Engines that serve: requests in flight and tokens made. Tokens are not made one by one: how many there are follows from
//! the time at which the engine last made steps.

use std::collections::BTreeMap;
use std::time::Duration;

use super::behaviour::EngineBehaviour;
use super::ids::JobKey;

/// What an engine's port does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    /// It answers.
    Serving,
    /// Its core is dead: it answers 503.
    Dead,
    /// Nothing listens.
    Closed,
    /// Its machine has no power: nothing answers, nothing is refused.
    Vanished,
}

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) life: u64,
    pub(super) cluster: String,
    /// The job that runs it; `None` if a pod's own command runs it.
    pub(super) job: Option<JobKey>,
    pub(super) name: String,
    /// The model name that requests must give; `None` accepts any.
    pub(super) model: Option<String>,
    pub(super) source: String,
    pub(super) token: Option<String>,
    /// Whether the launcher's middleware is in front of it.
    pub(super) counts: bool,
    pub(super) behaviour: EngineBehaviour,
    pub(super) port: Port,
    /// Since when `port` has its value.
    pub(super) since: Duration,
    /// Since when it has made no steps.
    pub(super) still: Option<Duration>,
    /// Whether a fault has hit it.
    pub(super) fault: bool,
    pub(super) requests: BTreeMap<u64, Request>,
    pub(super) served: u64,
    /// When a request last began or ended.
    pub(super) last: Option<Duration>,
    pub(super) draining: bool,
    /// Tokens of requests that have ended.
    pub(super) tokens: u64,
    pub(super) prompts: u64,
}

/// A request in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    began: Duration,
    wanted: u32,
}

/// Progress of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// All tokens are generated.
    Whole,
    /// It was cut off before its last token.
    Cut { tokens: u32, death: bool },
    /// Check again at this time, or when something changes.
    Wait(Option<Duration>),
}

/// How long requests to an engine that a fault has ended are attributed to that fault. Later, nothing
/// should send it any.
const BLAMED: Duration = Duration::from_mins(1);
/// How long a client waits for a machine that has lost power.
const PATIENCE: Duration = Duration::from_mins(1);

impl Engine {
    /// Until when it has made steps.
    fn stepped(&self, now: Duration) -> Duration {
        let ended = if self.port == Port::Serving { now } else { self.since };
        self.still.map_or(ended, |still| still.min(ended))
    }

    fn tokens_of(&self, request: &Request, now: Duration) -> u32 {
        let worked = self.stepped(now).saturating_sub(request.began);
        let made = worked.as_nanos().checked_div(self.behaviour.token_time.as_nanos());
        made.and_then(|made| u32::try_from(made).ok()).map_or(request.wanted, |made| made.min(request.wanted))
    }

    /// All tokens that it has ever generated.
    pub(super) fn all_tokens(&self, now: Duration) -> u64 {
        let open: u64 = self.requests.values().map(|request| u64::from(self.tokens_of(request, now))).sum();
        self.tokens + open
    }

    pub(super) fn begin(&mut self, id: u64, wanted: u32, now: Duration) {
        self.requests.insert(id, Request { began: now, wanted });
        self.last = Some(now);
        self.prompts += 1;
    }

    pub(super) fn finish(&mut self, id: u64, now: Duration) {
        if let Some(request) = self.requests.remove(&id) {
            self.tokens += u64::from(self.tokens_of(&request, now));
            self.touched(now);
        }
    }

    /// Records that a request has ended.
    pub(super) fn touched(&mut self, now: Duration) {
        self.served += 1;
        self.last = Some(now);
    }

    pub(super) fn progress(&self, id: u64, now: Duration) -> Progress {
        let Some(request) = self.requests.get(&id) else {
            return Progress::Cut { tokens: 0, death: self.fault };
        };
        let tokens = self.tokens_of(request, now);
        let cut = Progress::Cut { tokens, death: self.fault };
        match self.port {
            Port::Dead | Port::Closed => cut,
            Port::Vanished if now >= self.since + PATIENCE => cut,
            Port::Vanished => Progress::Wait(Some(self.since + PATIENCE)),
            Port::Serving if tokens >= request.wanted => Progress::Whole,
            Port::Serving if self.still.is_some() => Progress::Wait(None),
            Port::Serving => {
                Progress::Wait(Some(request.began + self.behaviour.token_time.saturating_mul(request.wanted)))
            }
        }
    }

    /// Whether a fault has ended it less than [`BLAMED`] ago.
    pub(super) fn blamed(&self, now: Duration) -> bool {
        self.fault && self.port != Port::Serving && now < self.since + BLAMED
    }

    pub(super) fn listens(&self) -> bool {
        matches!(self.port, Port::Serving | Port::Dead)
    }

    pub(super) fn becomes(&mut self, port: Port, now: Duration) {
        if !matches!(self.port, Port::Closed | Port::Vanished) {
            (self.port, self.since) = (port, now);
        }
    }
}

/// The arguments that an engine was started with.
#[derive(Debug, Clone, Default)]
pub(super) struct EngineArguments {
    pub(super) name: String,
    pub(super) model: Option<String>,
    pub(super) source: String,
}
