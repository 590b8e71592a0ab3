//! `status`: the engines of a cluster, or one engine.

use std::time::Duration;

use futures::future::try_join;
use jiff::Timestamp;
use ray_bridge::SubmissionId;
use ray_bridge::diagnose::{History, Observation, StallThresholds, diagnose};
use ray_bridge::observe::ClusterState;
use rayfleet_cli_kit::age::{between, span};
use rayfleet_cli_kit::table::{Table, one_line};
use rayfleet_cli_kit::{CliError, Terminal, clock};
use serde::Serialize;

use crate::args::StatusArgs;
use crate::connect::{Found, Session};
use crate::render::ranks;
use crate::view::{self, Engine, listed};
use crate::{Answer, error};

/// One observation cannot show that an engine is hung, whatever the limit.
const ONE_LOOK: Duration = Duration::from_mins(1);

/// All engines.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cluster {
    ray_version: String,
    nodes_alive: usize,
    gpus: u64,
    gpus_free: u64,
    engines: Vec<Engine>,
}

pub(crate) async fn run(
    args: &StatusArgs,
    session: &Session,
    terminal: &Terminal,
) -> Result<Answer, CliError> {
    match &args.name {
        Some(name) => one(name, session, terminal).await,
        None => all(session, terminal).await,
    }
}

async fn one(name: &SubmissionId, session: &Session, terminal: &Terminal) -> Result<Answer, CliError> {
    let found = session.find(name).await?;
    let engine = look(&found, session).await?;
    terminal.result(&engine, &text(&engine, clock::now()))?;
    Ok(Answer::Yes)
}

async fn all(session: &Session, terminal: &Terminal) -> Result<Answer, CliError> {
    let dashboard = session.dashboard();
    let jobs = async { dashboard.jobs().await.map_err(error::call) };
    let (jobs, state) = try_join(jobs, session.look(None, None)).await?;
    let mut engines: Vec<Engine> =
        jobs.iter().map(|(id, job)| listed(id, job)).filter(|engine| engine.shape.is_some()).collect();
    engines.sort_by(|a, b| a.name.cmp(&b.name));
    let cluster = state.cluster.ok_or_else(|| CliError::plain("Ray did not describe the cluster"))?;
    let document = document(&cluster, engines);
    terminal.result(&document, &list(&document, clock::now()))?;
    Ok(Answer::Yes)
}

fn document(cluster: &ClusterState, engines: Vec<Engine>) -> Cluster {
    let alive = || cluster.nodes.iter().filter(|node| node.alive);
    Cluster {
        ray_version: cluster.version.clone(),
        nodes_alive: alive().count(),
        gpus: alive().map(|node| u64::from(node.gpus_total)).sum(),
        gpus_free: alive().map(|node| u64::from(node.gpus_free)).sum(),
        engines,
    }
}

/// Observes an engine.
pub(crate) async fn look(found: &Found, session: &Session) -> Result<Engine, CliError> {
    let state = session.look(Some(&found.id), found.engine.as_ref()).await?;
    let (now, mut history) = (clock::now(), History::default());
    history.learn(now, &state);
    let diagnosis = diagnose(now, Observation::Ray(&state), &history, StallThresholds::new(ONE_LOOK));
    let nodes = state.cluster.map(|cluster| cluster.nodes).unwrap_or_default();
    let engine = state.engine.ok_or_else(|| {
        CliError::failed(
            format!("engine {}: Ray has just lost its job", found.id),
            "see what is left: ray-bridge status",
        )
    })?;
    Ok(Engine { diagnosis, ..view::engine(found, &engine, &nodes) })
}

/// The text form of one engine.
pub(crate) fn text(engine: &Engine, now: Timestamp) -> String {
    let mut lines = vec![format!("{}: {}", engine.name, engine.state)];
    let mut field = |name: &str, value: String| lines.push(format!("  {name:<10} {value}"));
    if let (Some(model), Some(shape)) = (&engine.model, &engine.shape) {
        field("model", format!("{model}, {shape}"));
    }
    if let Some(since) = engine.since {
        field("job", format!("submitted {since:.0}, {} ago", span(between(since, now))));
    }
    if let Some(address) = &engine.address {
        let load = engine.in_flight.map(|n| format!(", {n} in flight")).unwrap_or_default();
        field("engine", format!("{address}{load}"));
    }
    if let Some(as_planned) = engine.as_planned {
        let alive = engine.ranks.iter().filter(|rank| matches!(rank.state, "alive" | "elsewhere")).count();
        let verdict = if as_planned { "as planned" } else { "not as planned" };
        field("placement", format!("{alive}/{} ranks alive, {verdict}", engine.ranks.len()));
    }
    for difference in &engine.differences {
        field("", difference.clone());
    }
    if let Some(diagnosis) = &engine.diagnosis {
        field("trouble", one_line(&diagnosis.to_string()));
        field("cure", diagnosis.trouble.cure().to_owned());
    }
    if let Some(cause) = &engine.cause {
        field("cause", cause.replace('\n', "\n             "));
    }
    let ranks =
        if engine.ranks.is_empty() { String::new() } else { format!("\n{}", ranks::text(&engine.ranks)) };
    format!("{}\n{ranks}", lines.join("\n"))
}

fn list(cluster: &Cluster, now: Timestamp) -> String {
    let head = format!(
        "Ray {}: {} nodes, {} of {} GPUs free",
        cluster.ray_version, cluster.nodes_alive, cluster.gpus_free, cluster.gpus
    );
    if cluster.engines.is_empty() {
        return format!("{head}\nNo engines; start one: ray-bridge deploy -f model.yaml\n");
    }
    let mut table = Table::new(["NAME", "MODEL", "SHAPE", "STATE", "AGE"]);
    for engine in &cluster.engines {
        let age = engine.since.map(|since| span(between(since, now)));
        let [model, shape, age] =
            [&engine.model, &engine.shape, &age].map(|text| text.as_deref().unwrap_or("-"));
        table.push([&*engine.name, model, shape, &*engine.state, age]);
    }
    format!("{head}\n\n{}", table.render(false))
}
