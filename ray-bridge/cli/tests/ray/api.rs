//! Every call of the dashboard's client on a real Ray of any version, and an engine that is placed, verified
//! and stopped on it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use ray_bridge::dashboard::{
    Authentication, Dashboard, Filter, Job, JobRequest, JobStatus, LogEvent, Package,
};
use ray_bridge::{CallErrorKind, NodeId, SubmissionId};

use crate::cluster::Cluster;
use crate::{clock, engine, say, tool, until};

/// Time limit of a job from submit to end, on a busy machine.
const JOB: Duration = Duration::from_mins(1);
/// Seconds after which Ray kills a job that was asked to stop.
const BY_FORCE: f64 = 3.0;
/// Lines of the log that is too long to be read whole: 60 MB.
const LINES: u32 = 1_000_000;

pub(crate) async fn every_call(cluster: &mut Cluster) -> anyhow::Result<()> {
    let cluster = &*cluster;
    let dashboard = cluster.bridge.dashboard(&cluster.target);
    let version = dashboard.version().await?;
    say(&format!("  Ray {}, session {}", version.ray_version, version.session_name));
    whole(cluster, &dashboard).await?;
    let worker = worker(&dashboard).await?;
    jobs(&dashboard, &worker).await?;
    long_log(&dashboard, &worker).await?;
    placed(cluster, &dashboard).await
}

/// State of the whole cluster.
async fn whole(cluster: &Cluster, dashboard: &Dashboard) -> anyhow::Result<()> {
    let authentication = dashboard.authentication().await?;
    ensure!(dashboard.gcs_health().await?.is_none(), "the GCS is not healthy");
    let nodes = dashboard.nodes().await?;
    let workers = cluster.workers.len();
    ensure!(
        nodes.len() == workers + 1 && nodes.iter().filter(|node| node.is_head_node).count() == 1,
        "{nodes:?}"
    );
    // The report of GPUs comes some seconds after the nodes.
    until("the use of all GPUs to be reported", Duration::from_secs(30), async || {
        let used = dashboard.gpu_use().await?;
        let total: f64 = used.values().map(|gpus| gpus.total).sum();
        Ok(((total - f64::from(cluster.gpus())).abs() < 1e-6 && used.len() == workers).then_some(()))
    })
    .await?;
    let machines = until("all nodes' agents to report", Duration::from_secs(30), async || {
        let machines = dashboard.node_summaries().await?;
        let whole =
            machines.iter().all(|m| m.memory_total.is_some() && m.load.is_some() && !m.hostname.is_empty());
        Ok((machines.len() == workers + 1 && whole).then_some(machines))
    })
    .await?;
    for machine in &machines {
        let sick = dashboard.raylet_health(machine).await?;
        ensure!(sick.is_none(), "the raylet of {}: {sick:?}", machine.hostname);
    }
    let targets = until("metrics targets of all nodes", Duration::from_secs(30), async || {
        let targets: Vec<String> =
            dashboard.metrics_targets().await?.into_iter().flat_map(|t| t.targets).collect();
        let has = |ip: &str| targets.contains(&format!("{ip}:8080"));
        Ok(machines.iter().all(|machine| has(&machine.ip)).then_some(targets))
    })
    .await?;
    say(&format!("  {authentication:?} to callers; all raylets are well; metrics at {targets:?}"));
    if authentication == Authentication::Token {
        let stranger =
            cluster.bridge.dashboard(&ray_bridge::Target { token: None, ..cluster.target.clone() });
        let refused = stranger.version().await.err().context("a stranger was let in")?;
        ensure!(refused.kind == CallErrorKind::Unauthorized, "{refused}");
        ensure!(stranger.gcs_health().await?.is_none(), "health needs no token");
    }
    Ok(())
}

/// A node that is not the head.
async fn worker(dashboard: &Dashboard) -> anyhow::Result<NodeId> {
    let nodes = dashboard.nodes().await?;
    nodes.into_iter().find(|node| !node.is_head_node).map(|node| node.node_id).context("no worker")
}

fn request(name: &SubmissionId, entrypoint: &str, node: &NodeId) -> JobRequest {
    JobRequest {
        submission_id: name.clone(),
        entrypoint: entrypoint.to_owned(),
        working_dir: None,
        env_vars: BTreeMap::from([("WORD".to_owned(), "größe".to_owned())]),
        node: Some(node.clone()),
        metadata: BTreeMap::from([("rayfleet.io/owner".to_owned(), "tests".to_owned())]),
    }
}

async fn ended(dashboard: &Dashboard, name: &SubmissionId) -> anyhow::Result<Job> {
    until(&format!("job {name} to end"), JOB, async || {
        Ok(Some(dashboard.job(name).await?).filter(|job| job.status.has_ended()))
    })
    .await
}

/// The life of a job: its log while it grows, and an end that lasts.
async fn jobs(dashboard: &Dashboard, worker: &NodeId) -> anyhow::Result<()> {
    let name = SubmissionId::new("life")?;
    let wait = request(&name, "bash -c 'echo $WORD; echo first; sleep 2; echo second; sleep 600'", worker);
    dashboard.submit(&wait).await?;
    let again = dashboard.submit(&wait).await.err().context("the same id was taken twice")?;
    ensure!(again.kind == CallErrorKind::Conflict, "{again}");

    let mut log = dashboard.log_stream(&name, 0).await?;
    let mut text = String::new();
    while !text.contains("second\n") {
        match log.next(JOB).await? {
            LogEvent::Text(more) => text.push_str(&more),
            other => bail!("the log's stream: {other:?} after {text:?}"),
        }
    }
    // Ray's own line may come after the first line of the job.
    let own: Vec<&str> = text.lines().filter(|line| !line.starts_with("Running entrypoint")).collect();
    ensure!(own.ends_with(&["größe", "first", "second"]), "{text:?}");
    let job = dashboard.job(&name).await?;
    ensure!(
        job.status == JobStatus::Running
            && job.metadata.get("rayfleet.io/owner").is_some_and(|owner| owner == "tests"),
        "{job:?}"
    );
    ensure!(job.driver_node_id.as_ref() == Some(worker), "{job:?} was to run on {worker}");
    ensure!(dashboard.jobs().await?.iter().any(|(id, _)| *id == name), "the list lacks it");
    ensure!(dashboard.log_tail_of(&name, &job).await?.ends_with("second\n"), "the end of its log");
    let from = log.position();
    let mut rest = dashboard.log_stream(&name, from).await?;
    ensure!(rest.next(Duration::from_secs(3)).await? == LogEvent::Quiet, "received text came again");

    let running = dashboard.delete(&name).await.err().context("a running job was deleted")?;
    ensure!(running.to_string().contains("non-terminal state RUNNING"), "{running}");
    ensure!(dashboard.stop(&name).await?, "it had ended");
    let job = ended(dashboard, &name).await?;
    ensure!(job.status == JobStatus::Stopped, "{job:?}");
    // For a moment Ray still accepts another one.
    let refused = async || Ok((!dashboard.stop(&name).await?).then_some(()));
    until("a stop of an ended job to be refused", JOB, refused).await?;
    let start = clock::instant();
    let times = dashboard.delete_until_gone(&name, Duration::from_secs(7), Duration::from_mins(1)).await?;
    say(&format!(
        "  a stopped job was deleted {times} time(s) until it stayed away, {:.1} s",
        clock::seconds_since(start)
    ));
    let gone = dashboard.job(&name).await.err().context("the deleted job is there")?;
    ensure!(matches!(gone.kind, CallErrorKind::NotFound { .. }), "{gone}");

    let fails = SubmissionId::new("fails")?;
    dashboard.submit(&request(&fails, "bash -c 'echo no; exit 7'", worker)).await?;
    let job = ended(dashboard, &fails).await?;
    ensure!(job.status == JobStatus::Failed && job.driver_exit_code == Some(7), "{job:?}");
    log_tells(dashboard, &fails, "no").await?;
    ensure!(
        dashboard.actors(&[Filter { key: "name", value: "_ray_internal_job_actor_fails" }]).await?.len() == 1,
        "its actor"
    );
    let unknown = dashboard.log_tail(&SubmissionId::new("nobody")?).await.err().context("nobody's log")?;
    ensure!(matches!(unknown.kind, CallErrorKind::NotFound { .. }), "{unknown}");
    let bad =
        dashboard.actors(&[Filter { key: "nonsense", value: "x" }]).await.err().context("a bad filter")?;
    ensure!(bad.to_string().contains("nonsense"), "{bad}");

    let package = Package::of(&[("a.py", b"print('from the package')")])?;
    dashboard.ensure_package(&package).await?;
    dashboard.ensure_package(&package).await?;
    let packed = SubmissionId::new("packed")?;
    let run = JobRequest { working_dir: Some(package.uri()), ..request(&packed, "python -u a.py", worker) };
    dashboard.submit(&run).await?;
    let job = ended(dashboard, &packed).await?;
    ensure!(job.status == JobStatus::Succeeded, "{job:?}");
    log_tells(dashboard, &packed, "from the package").await
}

/// On a busy machine, Ray may report a job's end before its log can be read to the end; and Ray starts a job
/// before it writes its own line, so the output of a short job may come first.
async fn log_tells(dashboard: &Dashboard, name: &SubmissionId, words: &str) -> anyhow::Result<()> {
    until(&format!("the log of {name} to have the line {words:?}"), Duration::from_secs(10), async || {
        let log = dashboard.log_tail(name).await?;
        ensure!(log.lines().any(|line| line == words), "{log:?}");
        Ok(Some(()))
    })
    .await
}

/// Reads the end of a log that is too long to be read whole.
async fn long_log(dashboard: &Dashboard, worker: &NodeId) -> anyhow::Result<()> {
    let name = SubmissionId::new("long")?;
    let print = format!("seq -f 'line %.0f of a log that is much longer than anybody reads it' 1 {LINES}");
    dashboard.submit(&request(&name, &print, worker)).await?;
    let job = ended(dashboard, &name).await?;
    ensure!(job.status == JobStatus::Succeeded, "{job:?}");
    let start = clock::instant();
    let tail = dashboard.log_tail_of(&name, &job).await?;
    say(&format!(
        "  {} bytes from the end of a log of {LINES} lines in {:.2} s",
        tail.len(),
        clock::seconds_since(start)
    ));
    ensure!((32 << 10..=64 << 10).contains(&tail.len()), "{} bytes", tail.len());
    let last = format!("line {LINES} of a log that is much longer than anybody reads it\n");
    ensure!(tail.ends_with(&last) && tail.starts_with("line "), "not its end");
    Ok(())
}

/// An engine is placed exactly as planned, twice under one name.
async fn placed(cluster: &Cluster, dashboard: &Dashboard) -> anyhow::Result<()> {
    let file = engine::file(&cluster.settings, 2, 2)?;
    for round in ["first", "second"] {
        let start = clock::instant();
        engine::deploy(&file).await.with_context(|| format!("the {round} launch"))?;
        say(&format!(
            "  {round} launch: TP2×PP2 deployed and verified in {:.1} s",
            clock::seconds_since(start)
        ));
        let groups = dashboard.placement_groups(&[Filter { key: "name", value: "light" }]).await?;
        ensure!(!groups.is_empty(), "Ray lists no placement group of it");
        let log = tool::done(&["logs", "light", "--tail", "10000"], Duration::from_secs(30)).await?;
        let lines: Vec<&str> =
            log["lines"].as_array().into_iter().flatten().filter_map(|line| line.as_str()).collect();
        let launches = lines.iter().filter(|line| line.contains("RAYFLEET_LAUNCH")).count();
        ensure!(launches == 1, "{launches} launches in the log of the {round} one: {lines:#?}");
        for line in lines.iter().filter(|line| line.contains("bundle_label_selector")) {
            say(&format!("  the launcher: {line}"));
        }
        let stopped = tool::done(&["stop", "light"], Duration::from_mins(1)).await?;
        let seconds = stopped["seconds"].as_f64().context("how long the stop took")?;
        ensure!(seconds < BY_FORCE, "it was stopped after {seconds:.2} s, by force");
        say(&format!("  stopped in {seconds:.2} s"));
        cluster.nothing_left("light", &engine::PROCESSES).await?;
    }
    Ok(())
}
