//! Every fault of an engine or its cluster: is it diagnosed correctly, how soon, does the engine recover, and
//! is nothing left over.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use ray_bridge::engine::Probe;
use serde_json::Value;

use crate::cluster::{Cluster, HEAD_IP, RANK};
use crate::node::Node;
use crate::processes::Process;
use crate::tool::{self, Watch};
use crate::world::{BRIDGE, ip};
use crate::{clock, engine, say, until};

const HUNG_AFTER: Duration = Duration::from_secs(5);
/// Longest wait for any diagnosis; the limit of each is in [`FAULTS`].
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    RankKilled,
    CoreKilled,
    ApiServerKilled,
    RankStopped,
    DashboardStopped,
    PathCut,
    RayletKilled,
    NodeLost,
    HeadLost,
}

/// A fault, the diagnosis that must come first, and the seconds within which it must be reported and the
/// recovery started. The targets are 3 s for a dead rank and `hungAfter` + 3 s for a hung one; a dead node is
/// known after three missed health checks of 1 s.
const FAULTS: [(Fault, &str, &str, f64); 9] = [
    (Fault::RankKilled, "SIGKILL of a rank", "RankDied", 3.0),
    (Fault::CoreKilled, "SIGKILL of the engine core", "EngineDied", 3.0),
    (Fault::ApiServerKilled, "SIGKILL of the API server", "EngineDied", 3.0),
    (Fault::RankStopped, "SIGSTOP of a rank, under a request", "Hung", 8.0),
    (Fault::DashboardStopped, "SIGSTOP of the dashboard", "DashboardUnreachable", 12.0),
    (Fault::PathCut, "network cut to the head", "DashboardUnreachable", 12.0),
    (Fault::RayletKilled, "SIGKILL of a raylet", "NodeLost", 8.0),
    (Fault::NodeLost, "power loss of a node", "NodeLost", 10.0),
    (Fault::HeadLost, "power loss of the head", "HeadLost", 12.0),
];

/// One line of the table, in seconds since the fault.
struct Row {
    fault: &'static str,
    reported: String,
    after: f64,
    recovery: Option<Recovery>,
    well: f64,
}

/// The recovery from a fault that ends the engine, in seconds since the fault.
struct Recovery {
    /// Its first action: the stop of the rest of the engine was requested, or for a lost head its nodes were
    /// taken down.
    started: f64,
    /// The job of the next engine was submitted, by Ray's clock. Before that the old job must end, and Ray
    /// must report its GPUs as free.
    launched: f64,
}

pub(crate) async fn all(cluster: &mut Cluster) -> anyhow::Result<()> {
    let file = engine::file(&cluster.settings, 2, 2)?;
    let start = clock::instant();
    engine::deploy(&file).await?;
    say(&format!("  TP2×PP2 deployed, verified and answering in {:.1} s", clock::seconds_since(start)));

    let (mut rows, mut late) = (Vec::new(), Vec::new());
    for (fault, name, wanted, limit) in FAULTS {
        let row = one(cluster, fault, name, wanted, &file).await.context(name)?;
        say(&row.line());
        let started = row.recovery.as_ref().map_or(row.after, |recovery| recovery.started);
        if started > limit {
            late.push(format!(
                "{name}: reported after {:.2} s and acted on after {started:.2} s, {limit} s allowed",
                row.after
            ));
        }
        rows.push(row);
    }
    tool::done(&["stop", "light"], Duration::from_mins(1)).await?;
    cluster.nothing_left("light", &engine::PROCESSES).await?;

    say(&format!(
        "\n  {:<36} {:<30} {:>8} {:>9} {:>9} {:>9}",
        "FAULT", "REPORTED AS", "REPORTED", "RECOVERY", "NEXT", "ENGINE"
    ));
    say(&format!("  {:<36} {:<30} {:>8} {:>9} {:>9} {:>9}", "", "", "", "STARTED", "LAUNCH", "HEALTHY"));
    for row in &rows {
        say(&row.line());
    }
    ensure!(late.is_empty(), "too late: {late:?}");
    Ok(())
}

impl Row {
    fn line(&self) -> String {
        let seconds = |of: fn(&Recovery) -> f64| {
            self.recovery.as_ref().map_or_else(|| "-".to_owned(), |recovery| format!("{:.2} s", of(recovery)))
        };
        let (started, launched) =
            (seconds(|recovery| recovery.started), seconds(|recovery| recovery.launched));
        let Self { fault, reported, after, well, .. } = self;
        format!("  {fault:<36} {reported:<30} {after:>6.2} s {started:>9} {launched:>9} {well:>7.1} s")
    }
}

async fn one(
    cluster: &mut Cluster,
    fault: Fault,
    name: &'static str,
    wanted: &str,
    file: &str,
) -> anyhow::Result<Row> {
    let hung_after = format!("{}s", HUNG_AFTER.as_secs());
    let mut watch = Watch::of("light", &hung_after).await?;
    let (start, how) = inflict(cluster, fault).await?;
    let troubled = |value: &Value| {
        let kind = value["diagnosis"]["kind"].as_str();
        kind.is_some() && kind != not_yet(wanted)
    };
    let (when, line) = watch.until(wanted, PATIENCE, troubled).await?;
    let after = when.saturating_duration_since(start).as_secs_f64();
    let reported = &line["diagnosis"];
    ensure!(reported["kind"] == wanted, "reported as {reported}");
    say(&format!("    {}", line["change"].as_str().unwrap_or_default()));
    check(fault, reported)?;
    let recovery = self::undo(how, cluster, &mut watch, (file, start)).await?;
    let because = reported["because"].as_str().map(|because| format!(" ({because})")).unwrap_or_default();
    Ok(Row {
        fault: name,
        reported: format!("{wanted}{because}"),
        after,
        recovery,
        well: clock::seconds_since(start),
    })
}

/// A diagnosis that may come first: a hung engine is slow before, and an engine whose node is lost dies
/// seconds before Ray gives up the node.
fn not_yet(wanted: &str) -> Option<&'static str> {
    match wanted {
        "Hung" => Some("Slow"),
        "NodeLost" => Some("EngineDied"),
        _ => None,
    }
}

/// Checks the details of the diagnosis.
fn check(fault: Fault, reported: &Value) -> anyhow::Result<()> {
    let right = match fault {
        Fault::RankKilled => reported["ranks"].as_array().is_some_and(|ranks| ranks.len() == 1),
        Fault::DashboardStopped => reported["because"] == "process",
        Fault::PathCut => reported["because"] == "network",
        Fault::RayletKilled | Fault::NodeLost => {
            reported["nodes"].as_array().is_some_and(|nodes| nodes.len() == 1)
        }
        Fault::CoreKilled | Fault::ApiServerKilled | Fault::RankStopped | Fault::HeadLost => true,
    };
    ensure!(right, "the details are wrong: {reported}");
    Ok(())
}

/// How the cluster recovers.
enum Undo {
    /// All nodes live: the engine is deployed again.
    Deploy,
    /// The engine was not affected; this ends the fault.
    Resume(Box<dyn FnOnce() -> anyhow::Result<()>>),
    /// The engine is deployed on the remaining nodes; the lost one stays away.
    DeployOnTheRest,
    /// The lost node comes back, then the engine is deployed.
    DeployOnAll,
    /// The head comes back, and everything else with it.
    StartAnew,
}

/// Injects it. Returns the time, and how the cluster recovers.
async fn inflict(cluster: &mut Cluster, fault: Fault) -> anyhow::Result<(Instant, Undo)> {
    let done = |undo| Ok((clock::instant(), undo));
    match fault {
        Fault::RankKilled => {
            first(cluster.worker_with_rank()?, RANK)?.signal("KILL")?;
            done(Undo::Deploy)
        }
        Fault::CoreKilled => {
            first(&cluster.head, "light_engine.core")?.signal("KILL")?;
            done(Undo::Deploy)
        }
        Fault::ApiServerKilled => {
            first(&cluster.head, "ray::ApiServer")?.signal("KILL")?;
            done(Undo::Deploy)
        }
        Fault::RankStopped => {
            begin_request(cluster, "light", 2000).await?;
            first(cluster.worker_with_rank()?, RANK)?.signal("STOP")?;
            done(Undo::Deploy)
        }
        Fault::DashboardStopped => {
            let dashboard = first(&cluster.head, "dashboard/dashboard.py")?;
            dashboard.signal("STOP")?;
            done(Undo::Resume(Box::new(move || dashboard.signal("CONT"))))
        }
        Fault::PathCut => {
            // Frames to it are dropped silently; the other nodes still reach each other.
            let nobody = "02:00:00:00:00:fe";
            ip(&["neigh", "replace", HEAD_IP, "lladdr", nobody, "dev", BRIDGE, "nud", "permanent"])?;
            done(Undo::Resume(Box::new(|| ip(&["neigh", "delete", HEAD_IP, "dev", BRIDGE]))))
        }
        Fault::RayletKilled => {
            let node = cluster.worker_with_rank()?;
            first(node, "/raylet/raylet ")?.signal("KILL")?;
            let when = clock::instant();
            node.ended(Duration::from_secs(20)).await?;
            Ok((when, Undo::DeployOnTheRest))
        }
        Fault::NodeLost => {
            cluster.worker_with_rank()?.cut_power().await?;
            done(Undo::DeployOnAll)
        }
        Fault::HeadLost => {
            cluster.head.cut_power().await?;
            done(Undo::StartAnew)
        }
    }
}

pub(crate) fn first(node: &Node, part: &str) -> anyhow::Result<Process> {
    let found = node.processes(part)?;
    found.into_iter().next().with_context(|| format!("no process {part:?} on {}", node.kind.name))
}

/// Starts a long request, and returns once it waits for the engine.
pub(crate) async fn begin_request(cluster: &Cluster, model: &str, tokens: u32) -> anyhow::Result<()> {
    let engine = cluster.engine()?;
    let asking = engine.clone();
    let probe = Probe {
        model: model.to_owned(),
        prompt: "a long story".to_owned(),
        max_tokens: tokens,
        expect: None,
        timeout: Duration::from_mins(3),
    };
    tokio::spawn(async move { asking.probe(&probe).await });
    until("the request to be under way", Duration::from_secs(10), async || {
        let load = engine.load().await?;
        Ok((load.awaiting == 1 && load.progress.is_some()).then_some(()))
    })
    .await
}

async fn undo(
    undo: Undo,
    cluster: &mut Cluster,
    watch: &mut Watch,
    (file, start): (&str, Instant),
) -> anyhow::Result<Option<Recovery>> {
    let started = clock::seconds_since(start);
    let stop = async || tool::done(&["stop", "light"], Duration::from_mins(1)).await;
    match undo {
        Undo::Deploy => {
            stop().await?;
            cluster.nothing_left("light", &engine::PROCESSES).await?;
        }
        Undo::Resume(resume) => {
            resume()?;
            let well = |value: &Value| value["diagnosis"].is_null();
            watch.until("the end of the trouble", PATIENCE, well).await?;
            let verdict = tool::done(&["verify", "light"], Duration::from_secs(30)).await?;
            ensure!(verdict["asPlanned"] == true, "{verdict}");
            return Ok(None);
        }
        Undo::DeployOnTheRest => {
            stop().await?;
            cluster.workers.retain(Node::runs);
        }
        Undo::DeployOnAll => {
            stop().await?;
            cluster.start_missing().await?;
        }
        Undo::StartAnew => {
            cluster.cut_power().await?;
            cluster.start_missing().await?;
        }
    }
    let engine = engine::deploy(file).await?;
    let submitted: Timestamp = engine["since"].as_str().context("since when it runs")?.parse()?;
    let launched = clock::seconds_since(start) - clock::seconds_since_time(submitted);
    Ok(Some(Recovery { started, launched }))
}
