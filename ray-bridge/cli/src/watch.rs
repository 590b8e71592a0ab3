//! `watch`: a line for every change of an engine, until interrupted.

use ray_bridge::SubmissionId;
use serde_json::json;
use tokio::time::sleep;

use crate::connect::Session;
use crate::fault::{Fault, Kind};
use crate::status::look;
use crate::terminal::Terminal;
use crate::view::Engine;
use crate::{Answer, clock};

/// One look: the engine, or why there was nothing to see.
pub(crate) type Look = Result<Engine, String>;

/// Runs the command.
pub(crate) async fn run(
    name: &SubmissionId,
    session: &Session,
    terminal: &Terminal,
) -> Result<Answer, Fault> {
    // A name that nobody knows, or a cluster that is not there, ends it at once; later both may come back.
    session.find(name).await?;
    let mut before: Option<Look> = None;
    loop {
        let now = match session.find(name).await {
            Ok(found) => look(&found, session).await,
            Err(fault) => Err(fault),
        };
        let now = match now {
            Ok(engine) => Ok(engine),
            Err(Fault::Said { kind: Kind::Failed | Kind::Unreachable, message, .. }) => Err(message),
            Err(fault) => return Err(fault),
        };
        let at = clock::now();
        for change in changes(before.as_ref(), &now) {
            terminal
                .entry(&json!({"time": at, "name": name, "change": change}), &format!("{at:.0}  {change}"))?;
        }
        before = Some(now);
        sleep(session.pace).await;
    }
}

/// What differs between two looks; of the first look what it saw.
pub(crate) fn changes(before: Option<&Look>, now: &Look) -> Vec<String> {
    let before_engine = before.and_then(|look| look.as_ref().ok());
    let engine = match now {
        Ok(engine) => engine,
        Err(why) if before == Some(now) => {
            debug_assert!(!why.is_empty());
            return Vec::new();
        }
        Err(why) => return vec![why.clone()],
    };
    let mut lines = Vec::new();
    if matches!(before, Some(Err(_))) {
        lines.push("Ray answers again".to_owned());
    }
    if before_engine.map(|b| (&b.state, b.since)) != Some((&engine.state, engine.since)) {
        let cause = engine.cause.as_ref().map(|cause| format!(": {}", crate::render::table::one_line(cause)));
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
    // While ranks start, every one of them differs; the count above says it.
    let telling = |line: &&String| !line.ends_with("is starting") && !line.ends_with("has no actor");
    lines.extend(engine.differences.iter().filter(|line| !known.contains(line)).filter(telling).cloned());
    if engine.as_planned == Some(true) && before_engine.is_none_or(|b| b.as_planned != Some(true)) {
        lines.push("all ranks are as planned".to_owned());
    }
    lines
}
