//! `watch`: prints a line for every change of an engine and for every fault, until interrupted.

use std::time::Duration;

use jiff::Timestamp;
use ray_bridge::diagnose::{Diagnosis, History, Observation as Seen, StallThresholds, diagnose};
use ray_bridge::observe::{Placed, RayState};
use ray_bridge::placement::RayNode;
use ray_bridge::{CallError, Target};
use rayfleet_cli_kit::age::between;
use rayfleet_cli_kit::table::one_line;
use rayfleet_cli_kit::{CliError, Terminal, clock};
use serde_json::json;
use tokio::time::sleep;

use crate::Answer;
use crate::args::WatchArgs;
use crate::connect::{Found, Session};
use crate::view::{self, Engine};

/// A watched engine is observed more often than one that a command only waits for.
const LOOKS_A_PACE: u32 = 2;
/// Interval of reading ranks and nodes of an engine that serves; of one that does not, they are always read.
/// A rank may die while `/health` stays 200: vLLM notices it with its next step.
const DEEP: Duration = Duration::from_secs(1);

/// One observation: the engine, or why there is none.
pub(crate) type Look = Result<Engine, String>;

/// State kept between observations.
struct Watched {
    found: Found,
    history: History,
    started: Option<Timestamp>,
    nodes: Vec<RayNode>,
    placed: Option<Placed>,
    looked_deep: Option<Timestamp>,
}

pub(crate) async fn run(
    args: &WatchArgs,
    session: &Session,
    terminal: &Terminal,
) -> Result<Answer, CliError> {
    // An unknown name or an unreachable cluster ends the command at its start; later both may come back.
    let mut watched = Watched::new(session.find(&args.name).await?);
    let patience = StallThresholds::new(args.hung_after);
    let mut before: Option<Look> = None;
    let mut trouble: Option<Diagnosis> = None;
    loop {
        let (now, diagnosis) = watched.look(session, patience).await?;
        let at = clock::now();
        let mut lines = troubles(trouble.as_ref(), diagnosis.as_ref());
        lines.extend(changes(before.as_ref(), &now));
        for change in lines {
            let entry = json!({"time": at, "name": args.name, "change": change, "diagnosis": diagnosis});
            terminal.entry(&entry, &format!("{at:.0}  {change}\n"))?;
        }
        (before, trouble) = (Some(now), diagnosis);
        sleep(session.pace / LOOKS_A_PACE).await;
    }
}

impl Watched {
    fn new(found: Found) -> Self {
        Self {
            found,
            history: History::default(),
            started: None,
            nodes: Vec::new(),
            placed: None,
            looked_deep: None,
        }
    }

    /// Observes once; fails only if the address or token is wrong.
    async fn look(
        &mut self,
        session: &Session,
        patience: StallThresholds,
    ) -> Result<(Look, Option<Diagnosis>), CliError> {
        let target = session.target(self.found.engine.clone());
        let deep = self.looked_deep.is_none_or(|last| between(last, clock::now()) >= DEEP);
        let seen = session.bridge.observe(&target, Some(&self.found.id), session.depth(deep)).await;
        Ok(match seen {
            Ok(state) => self.take(state, session, patience),
            Err(error) => self.miss(&error, &target, session, patience).await,
        })
    }

    fn take(
        &mut self,
        mut state: RayState,
        session: &Session,
        patience: StallThresholds,
    ) -> (Look, Option<Diagnosis>) {
        let now = clock::now();
        let id = &self.found.id;
        if let Some(started) = state.engine.as_ref().and_then(|engine| engine.started)
            && self.started.replace(started).is_some_and(|before| before != started)
        {
            (self.history, self.placed) = (History::default(), None);
        }
        self.history.learn(now, &state);
        let diagnosis = diagnose(now, Seen::Ray(&state), &self.history, patience);
        if let Some(cluster) = state.cluster.take() {
            (self.nodes, self.looked_deep) = (cluster.nodes, Some(now));
        }
        let Some(mut engine) = state.engine else {
            return (Err(format!("engine {id}: Ray has no job of this name")), diagnosis);
        };
        if let Some((record, plan)) = self.found.record.as_ref().zip(engine.plan.as_ref())
            && let Some(url) = session.engine_url(record, plan, &self.nodes)
        {
            self.found.engine = Some(url);
        }
        match &engine.placed {
            Some(placed) => self.placed = Some(placed.clone()),
            None if !engine.has_ended() => engine.placed.clone_from(&self.placed),
            None => {}
        }
        (Ok(view::engine(&self.found, &engine, &self.nodes)), diagnosis)
    }

    async fn miss(
        &mut self,
        error: &CallError,
        target: &Target,
        session: &Session,
        patience: StallThresholds,
    ) -> (Look, Option<Diagnosis>) {
        // The next observation is compared as a whole.
        self.looked_deep = None;
        let around = session.bridge.look_around(target, &self.history).await;
        let diagnosis = diagnose(clock::now(), Seen::Nothing(error, &around), &self.history, patience);
        (Err(error.to_string()), diagnosis)
    }
}

/// A fault is reported when it begins, when it changes, and when it ends.
fn troubles(before: Option<&Diagnosis>, now: Option<&Diagnosis>) -> Vec<String> {
    match (before, now) {
        (Some(before), Some(now)) if before.trouble == now.trouble => Vec::new(),
        (_, Some(now)) => vec![one_line(&format!("TROUBLE {now}"))],
        (Some(before), None) => vec![format!("no more: {}", before.trouble)],
        (None, None) => Vec::new(),
    }
}

/// The changes between two observations; for the first one, its state.
pub(crate) fn changes(before: Option<&Look>, now: &Look) -> Vec<String> {
    let before_engine = before.and_then(|look| look.as_ref().ok());
    let engine = match now {
        Ok(engine) => engine,
        Err(_) if before == Some(now) => return Vec::new(),
        Err(why) => return vec![why.clone()],
    };
    let mut lines = Vec::new();
    if matches!(before, Some(Err(_))) {
        lines.push("Ray answers again".to_owned());
    }
    if before_engine.map(|b| (&b.state, b.since)) != Some((&engine.state, engine.since)) {
        let cause = engine.cause.as_ref().map(|cause| format!(": {}", one_line(cause)));
        lines.push(format!("{}{}", engine.state, cause.unwrap_or_default()));
    }
    let alive = |engine: &Engine| {
        let alive = engine.ranks.iter().filter(|rank| matches!(rank.state, "alive" | "elsewhere")).count();
        (alive, engine.ranks.len())
    };
    if engine.as_planned.is_some() && before_engine.map(alive) != Some(alive(engine)) {
        let (alive, all) = alive(engine);
        lines.push(format!("{alive}/{all} ranks alive"));
    }
    let known = before_engine.map(|b| b.differences.as_slice()).unwrap_or_default();
    // While ranks start, each of them differs; the count above covers that.
    let telling = |line: &&String| !line.ends_with("is starting") && !line.ends_with("has no actor");
    lines.extend(engine.differences.iter().filter(|line| !known.contains(line)).filter(telling).cloned());
    if engine.as_planned == Some(true) && before_engine.is_none_or(|b| b.as_planned != Some(true)) {
        lines.push("all ranks are as planned".to_owned());
    }
    lines
}
