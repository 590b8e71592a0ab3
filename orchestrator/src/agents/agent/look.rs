//! One look at a group: what is asked of its dashboard and its engine, and what stands for an answer where one of them gives none.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::join;
use ray_bridge::engine::Health;
use ray_bridge::observe::{Depth, ObserveOptions, RayState};
use ray_bridge::{CallError, CallErrorKind, Target};
use rayfleet_core::observed::RayReport;
use tracing::warn;

use super::{Agent, JOB, LOOK, attend};
use crate::agents::assignment::{Assignment, Engine, PollInterval, Submission};
use crate::agents::brief::brief;
use crate::agents::engine_watch::Port;
use crate::clock;

/// Ray nodes that may be alive beside those of the group's pods: of pods that were killed Ray says so for some twenty seconds.
const MORE_NODES: usize = 32;
/// A look at which Ray was not asked.
const UNREAD: RayState = RayState { cluster: None, engine: None };
/// Time between looks at everything of an engine that starts: its log, its ranks and all nodes. It grows by this share of the time waited; every
/// `DEEP` there is one anyway.
const STARTING: Duration = Duration::from_secs(2);
const FULL_SHARE: u32 = 8;

impl Agent {
    /// `port` is what the engine's port is known to answer; without it, it is asked. An engine that has begun to serve is not reported by a look
    /// that has not read its ranks: `true`, it is to be looked at in full.
    pub(super) async fn look(
        &mut self,
        assignment: &Assignment,
        target: &Target,
        deep: bool,
        port: Option<Port>,
    ) -> bool {
        let (started, watched) = (clock::monotonic(), port.is_some());
        let served = self.serves(assignment);
        let depth = if deep { Depth::Full } else { self.depth(assignment, started) };
        let most_nodes = 2 * assignment.pods.ips.len() + MORE_NODES;
        let options = ObserveOptions { deadline: LOOK, depth, gpu_use: false, most_nodes };
        let observed = match &assignment.engine {
            Engine::Launched { submission, .. } => {
                self.look_at_launched(assignment, target, submission, options, port).boxed().await
            }
            Engine::Own { .. } => self.look_at_own(assignment, target, options).boxed().await,
        };
        if depth != Depth::Full && !served && self.serves(assignment) {
            return true;
        }
        self.last_look = Some(started);
        self.called &= !deep;
        self.absent = match (&assignment.engine, &observed) {
            (Engine::Launched { submission, .. }, Ok(alive)) if alive.engine.job.is_none() => {
                Some(submission.clone())
            }
            _ => None,
        };
        if depth != Depth::Brief {
            self.last_full = observed.is_ok().then_some(started);
        }
        self.resting = match (&assignment.engine, &observed) {
            (Engine::Launched { submission, .. }, Ok(alive)) if attend::is_well(&alive.engine) => {
                Some(submission.clone())
            }
            _ => None,
        };
        // What the engine alone confirms is no look at the cluster: until the dashboard answers, that is still to be taken.
        if deep && observed.as_ref().is_ok_and(|alive| alive.engine.unverified.is_none()) {
            self.last_deep = Some(started);
        }
        let took = clock::monotonic().saturating_duration_since(started);
        self.shared.metrics.observed(took.as_secs_f64(), observed.is_ok());
        self.slow = observed.as_ref().is_err_and(is_costly);
        if let Ok(alive) = &observed {
            self.measure(assignment, alive);
        }
        // Where a line of the watch stands for the port and the dashboard did not answer, nothing was received by this look. What was, may have
        // been so at its beginning, or in the last round of a look at which nothing was missing: a reply that is missing makes no sign of life.
        let whole = observed.as_ref().is_ok_and(|alive| alive.engine.unverified.is_none());
        if whole || !watched {
            let last_round = clock::monotonic().checked_sub(LOOK / 3).filter(|_| whole);
            let answered = !observed.as_ref().is_err_and(is_silence);
            let at = last_round.map_or(started, |round| round.max(started));
            self.shared.reachability.record_answer(&assignment.group, answered, at);
        }
        self.report(assignment, observed.map_err(|error| brief(&error.to_string())));
        false
    }

    async fn look_at_launched(
        &mut self,
        assignment: &Assignment,
        target: &Target,
        submission: &Submission,
        options: ObserveOptions,
        port: Option<Port>,
    ) -> Result<RayReport, CallError> {
        // Where nothing was launched nobody need be asked how it is.
        let port =
            port.or_else(|| (self.absent.as_ref() == Some(submission)).then_some((Health::NotYet, None)));
        if port.is_none() && options.depth == Depth::Brief && self.still_starts(target).await {
            let known = self.memory.goes_on(submission, None, clock::now());
            if let Some(known) = known {
                return Ok(known);
            }
        }
        self.last_job = Some(clock::monotonic());
        let (bridge, id) = (&self.shared.bridge, &submission.id);
        let observed = match port.clone() {
            Some(port) => bridge.observe_watched(target, id, options, port).await,
            None => bridge.observe(target, Some(id), options).await,
        };
        match observed {
            Ok(state) => Ok(self.memory.launched(state, submission, clock::now())),
            Err(error) => {
                self.doubt_token(&error);
                self.without_dashboard(assignment, target, submission, port, error).await
            }
        }
    }

    /// Whether nobody listens at the port of an engine whose job was seen a moment ago.
    async fn still_starts(&mut self, target: &Target) -> bool {
        let now = clock::monotonic();
        let is_known = self.last_job.is_some_and(|last| now.saturating_duration_since(last) < JOB);
        match self.shared.bridge.engine(target).filter(|_| is_known) {
            Some(engine) => engine.health().await == Health::NotYet,
            None => false,
        }
    }

    /// How much to read of an engine where nothing asks for all of it: of one that starts little, but now and then.
    fn depth(&self, assignment: &Assignment, now: Instant) -> Depth {
        let Engine::Launched { submission, .. } = &assignment.engine else { return Depth::UntilServing };
        let waited = now.saturating_duration_since(self.changed);
        let between = STARTING.max(waited / FULL_SHARE);
        let is_over = self.last_full.is_none_or(|last| now.saturating_duration_since(last) >= between);
        let brief = assignment.pace != PollInterval::Steady && self.memory.starts(submission) && !is_over;
        if brief { Depth::Brief } else { Depth::UntilServing }
    }

    /// A token that Ray refuses is read again.
    fn doubt_token(&mut self, error: &CallError) {
        if matches!(error.kind, CallErrorKind::Unauthorized | CallErrorKind::Forbidden) {
            self.token.forget();
        }
    }

    /// A dashboard that does not answer is no reason to doubt an engine that does, if it served before: by what was observed, or by
    /// the ledger, when this replica has not observed it yet.
    async fn without_dashboard(
        &mut self,
        assignment: &Assignment,
        target: &Target,
        submission: &Submission,
        port: Option<Port>,
        error: CallError,
    ) -> Result<RayReport, CallError> {
        // Nothing drains that has not served.
        let served = self.memory.was_healthy(Some(submission)) || assignment.pace != PollInterval::Starting;
        let Some(engine) = self.shared.bridge.engine(target).filter(|_| served) else {
            return Err(error);
        };
        let port = if let Some(port) = port {
            port
        } else {
            let (health, load) = join(engine.health(), engine.load()).await;
            (health, load.ok())
        };
        match port {
            (Health::Serving, load) => {
                warn!(%error, "the dashboard does not answer; the engine does");
                let pods = &assignment.pods.ips;
                Ok(self.memory.still_serves(Some(submission), pods, load.as_ref(), &error, clock::now()))
            }
            _ => Err(error),
        }
    }

    async fn look_at_own(
        &mut self,
        assignment: &Assignment,
        target: &Target,
        options: ObserveOptions,
    ) -> Result<RayReport, CallError> {
        let engine = async {
            let engine = self.shared.bridge.engine(target)?;
            let (health, load) = join(engine.own_health(), engine.load()).await;
            Some((health, load.ok()))
        };
        let served = self.memory.was_healthy(None) || assignment.pace != PollInterval::Starting;
        // While the engine serves, its nodes are read as often as those of an engine that was launched.
        let rests = self.memory.was_healthy(None) && assignment.pace == PollInterval::Steady;
        let (state, engine) = if rests && options.depth != Depth::Full {
            let engine = engine.await;
            if engine.as_ref().is_some_and(|(health, _)| *health == Health::Serving) {
                return Ok(self.memory.own(&UNREAD, engine.as_ref(), clock::now()));
            }
            (self.shared.bridge.observe(target, None, options).await, engine)
        } else {
            join(self.shared.bridge.observe(target, None, options), engine).await
        };
        let error = match state {
            Ok(state) => return Ok(self.memory.own(&state, engine.as_ref(), clock::now())),
            Err(error) => error,
        };
        self.doubt_token(&error);
        // Where no engine's port is known, nothing but the dashboard has changed: its containers are judged by Kubernetes.
        let answers = engine.as_ref().is_none_or(|(health, _)| *health == Health::Serving);
        if !answers || !served {
            return Err(error);
        }
        warn!(%error, "the dashboard does not answer; the engine does");
        let load = engine.and_then(|(_, load)| load);
        Ok(self.memory.still_serves(None, &assignment.pods.ips, load.as_ref(), &error, clock::now()))
    }
}

/// A reply that took memory or time for nothing, as those of a hostile dashboard do.
fn is_costly(error: &CallError) -> bool {
    matches!(
        error.kind,
        CallErrorKind::TooLarge { .. } | CallErrorKind::Malformed { .. } | CallErrorKind::Busy
    )
}

/// Nothing came back at all, or nothing was sent.
fn is_silence(error: &CallError) -> bool {
    matches!(
        error.kind,
        CallErrorKind::Unreachable { refused: false, .. }
            | CallErrorKind::TimedOut { .. }
            | CallErrorKind::Token { .. }
            | CallErrorKind::Busy
    )
}
