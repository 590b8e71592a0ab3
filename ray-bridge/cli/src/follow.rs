//! Follows a start, from the launch to the answer of the probe: what to report on the way, and how it ends.

use std::time::Duration;

use jiff::Timestamp;
use ray_bridge::dashboard::JobStatus;
use ray_bridge::engine::{Health, Phase, PhaseKind, Probe, parse_phases, this_launch};
use ray_bridge::observe::EngineState;
use rayfleet_cli_kit::age::between;
use rayfleet_cli_kit::{CliError, Kind, Terminal, clock};
use tokio::time::{sleep, timeout};

use crate::connect::{Found, Session};
use crate::status::{self, look};
use crate::view::trimmed;
use crate::{Answer, error};

/// How long Ray may be unreachable while an engine starts.
const AWAY: Duration = Duration::from_secs(30);
/// Longest time without a line of progress.
const QUIET: Duration = Duration::from_secs(30);

/// How far a start is.
#[derive(Debug, PartialEq, Eq)]
enum StartState {
    Goes,
    Healthy,
    Failed(String),
    /// The launcher reports that the engine serves, but it is not reachable from here.
    Hidden(String),
}

/// What has been reported so far.
#[derive(Debug)]
struct StartProgress {
    began: Timestamp,
    reported: Timestamp,
    last: String,
    phases: f64,
    alive: usize,
    serving_since: Option<Timestamp>,
}

/// Follows an engine until it is healthy and has answered the probe, with a time limit from a given time on.
pub(crate) async fn until_answered(
    found: &Found,
    probe: &Probe,
    (began, limit): (Timestamp, Duration),
    session: &Session,
    terminal: &Terminal,
) -> Result<Answer, CliError> {
    let engine = found.engine()?;
    let mut progress = StartProgress::new(began);
    let mut reached = began;
    terminal.progress(&progress.line(clock::now(), &format!("launched {}", found.id)));
    loop {
        let look = session.look(Some(&found.id), Some(engine)).await;
        let log = session.dashboard().log_tail(&found.id).await.unwrap_or_default();
        let now = clock::now();
        match look {
            Ok(state) => {
                reached = now;
                let Some(state) = state.engine else {
                    return Err(CliError::plain(format!("engine {}: Ray has lost its job", found.id)));
                };
                let (lines, step) =
                    progress.update(&state, &parse_phases(this_launch(&log, &found.id, state.started)), now);
                for line in &lines {
                    terminal.progress(line);
                }
                match step {
                    StartState::Healthy => break,
                    StartState::Goes => {}
                    StartState::Failed(cause) => return Err(failed(found, &cause)),
                    StartState::Hidden(why) => return Err(hidden(found, engine.as_str(), &why)),
                }
            }
            Err(fault) if fault.kind == Kind::Unreachable && between(reached, now) < AWAY => {
                terminal.progress(&progress.line(now, &fault.message));
            }
            Err(fault) => return Err(fault),
        }
        if between(began, now) >= limit {
            return Err(CliError::failed(
                format!(
                    "engine {} is not healthy {} s after its launch: {}",
                    found.id,
                    limit.as_secs(),
                    progress.last
                ),
                format!("it continues: ray-bridge watch {0}; or end it: ray-bridge stop {0}", found.id),
            ));
        }
        sleep(session.pace).await;
    }
    terminal.progress(&progress.line(clock::now(), &format!("healthy at {}", trimmed(engine.as_str()))));
    let asked = clock::now();
    let left = limit.saturating_sub(between(began, asked)).max(Duration::from_secs(5));
    let answer = match timeout(left, session.engine(engine)?.probe(probe)).await {
        Ok(answer) => answer.map_err(error::probe)?,
        Err(_) => {
            return Err(CliError::failed(
                format!(
                    "engine {} is healthy but did not answer the probe in {} s",
                    found.id,
                    left.as_secs()
                ),
                format!("read its log: ray-bridge logs {}", found.id),
            ));
        }
    };
    let took = between(asked, clock::now()).as_secs_f64();
    let said: String = answer.chars().take(60).collect();
    terminal.progress(&progress.line(clock::now(), &format!("probe answered in {took:.2} s: {said:?}")));

    let engine = look(found, session).await?;
    terminal.result(&engine, &status::text(&engine, clock::now()))?;
    Ok(if engine.as_planned == Some(true) { Answer::Yes } else { Answer::No })
}

fn failed(found: &Found, cause: &str) -> CliError {
    CliError::failed(
        format!("engine {} did not start: {cause}", found.id),
        format!(
            "its whole log: ray-bridge logs {}; after a change deploy again under the same name",
            found.id
        ),
    )
}

fn hidden(found: &Found, address: &str, why: &str) -> CliError {
    CliError::failed(
        format!("engine {} serves, but {} is not reached from here: {why}", found.id, trimmed(address)),
        "forward its port and give --engine-address URL, or leave --wait out",
    )
}

impl StartProgress {
    fn new(began: Timestamp) -> Self {
        let last = "not started".to_owned();
        Self { began, reported: began, last, phases: -1.0, alive: 0, serving_since: None }
    }

    fn line(&mut self, now: Timestamp, text: &str) -> String {
        self.reported = now;
        format!("{:>7.1}s  {text}", between(self.began, now).as_secs_f64())
    }

    /// The new lines, and how far the start is. `phases` are those in the end of the log, oldest first.
    fn update(&mut self, state: &EngineState, phases: &[Phase], now: Timestamp) -> (Vec<String>, StartState) {
        let mut lines = Vec::new();
        for phase in phases {
            if phase.seconds > self.phases && phase.kind != PhaseKind::Failed {
                self.phases = phase.seconds;
                words(phase.kind).clone_into(&mut self.last);
                lines.push(
                    self.line(now, &format!("{} (launcher {:.1} s)", words(phase.kind), phase.seconds)),
                );
            }
        }
        let wanted = state.plan.as_ref().map_or(0, |plan| plan.ranks.len());
        let alive = state.placed.as_ref().map_or(0, |p| p.ranks.iter().filter(|rank| rank.alive).count());
        if alive != self.alive {
            self.alive = alive;
            lines.push(self.line(now, &format!("{alive} of {wanted} ranks alive")));
        }
        if state.status == JobStatus::Pending {
            "pending: Ray has not started the job".clone_into(&mut self.last);
        }
        if lines.is_empty() && between(self.reported, now) >= QUIET {
            let message = state.message.as_deref().filter(|_| state.status == JobStatus::Pending);
            let still = message.map_or_else(|| self.last.clone(), |m| format!("{} ({m})", self.last));
            lines.push(self.line(now, &format!("still {still}")));
        }
        (lines, self.step(state, phases, now))
    }

    fn step(&mut self, state: &EngineState, phases: &[Phase], now: Timestamp) -> StartState {
        if state.has_ended() {
            return StartState::Failed(
                state.cause.clone().unwrap_or_else(|| "Ray gives no cause".to_owned()),
            );
        }
        let health = match &state.health {
            Some(Health::Serving) => return StartState::Healthy,
            Some(Health::Unreachable(why)) => why.clone(),
            Some(Health::Unhealthy(status)) => format!("GET /health answers {status}"),
            Some(Health::NotYet) | None => "nothing listens there".to_owned(),
        };
        if phases.last().is_some_and(|phase| phase.kind == PhaseKind::Serving) {
            let since = *self.serving_since.get_or_insert(now);
            if between(since, now) >= AWAY {
                return StartState::Hidden(health);
            }
        }
        StartState::Goes
    }
}

fn words(phase: PhaseKind) -> &'static str {
    match phase {
        PhaseKind::PlacementGroup => "placing",
        PhaseKind::Ranks => "starting ranks",
        PhaseKind::Loading => "loading the model",
        PhaseKind::Serving => "serving",
        PhaseKind::Failed => "failed",
        PhaseKind::Unknown => "in a phase that a newer launcher reports",
    }
}
